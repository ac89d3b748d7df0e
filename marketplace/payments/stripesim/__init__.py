"""A stand-in for Stripe: its own process with its own state, that speaks the part of Stripe's protocol Fallow uses.

It imports nothing of Fallow and Fallow imports nothing of it. docs/stripesim.md says what it does and what it doesn't.
"""
