"""Passports of cards: what a measurement says about a card. Pure: no database, no clock."""
