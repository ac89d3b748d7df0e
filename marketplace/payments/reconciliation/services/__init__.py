"""Reading a gateway's books, comparing them with the ledger, and what operators say about the differences."""
