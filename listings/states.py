"""States of listings."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models

TIERS = ("declared", "measured", "attested")  # what is known of a card, the least first


class ListingState(models.TextChoices):
    """Only an OPEN listing is in the book."""

    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    PAUSED = "paused", "Paused"
    CLOSED = "closed", "Closed"


LISTING_TRANSITIONS: Mapping[str, frozenset[str]] = {
    ListingState.DRAFT: frozenset({ListingState.OPEN, ListingState.CLOSED}),
    ListingState.OPEN: frozenset({ListingState.PAUSED, ListingState.CLOSED}),
    ListingState.PAUSED: frozenset({ListingState.OPEN, ListingState.CLOSED}),
    ListingState.CLOSED: frozenset(),
}
