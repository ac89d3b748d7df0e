"""Whether the ledger says what a gateway's own books say; what differs stands on suspense until it is explained."""
