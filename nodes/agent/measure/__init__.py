"""Measuring a card for its passport: independent views of it, its health, and timed tests on it."""
