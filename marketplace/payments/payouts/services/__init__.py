"""Asking for payouts, approving them, and what the bank made of them."""
