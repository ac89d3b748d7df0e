"""Earnings on their way to a firm's bank account."""
