"""Stripe: the only part of Fallow that imports its client. The simulator (`stripesim/`) shares no line with it."""
