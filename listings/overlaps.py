"""A card is in the book once: named, or in one pool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from django.db.models import Q, QuerySet

from listings.models import CapacityListing, ListingCard
from marketplace.common.errors import Conflict
from nodes.models import Card


def refuse_overlap(listing: CapacityListing, cards: Iterable[Card], others: QuerySet[CapacityListing]) -> None:
    """Conflict when one of `others`, the firm's open listings, has a card that this one names or takes in."""
    named = ListingCard.objects.filter(listing__in=others).select_related("card", "listing")
    if listing.pool_model_id is None:
        first = named.filter(card__in=cards).first()
        if first:
            _refuse(first.card.public_id, first.listing)
        _refuse_cards_in_pools(cards, others)
        return
    nodes = Q(card__node__in=listing.pool_node_ids) if listing.pool_node_ids else Q()
    first = named.filter(nodes, card__gpu_model=listing.pool_model_id).first()
    if first:
        _refuse(first.card.public_id, first.listing)
    overlapping = Q(pool_node_ids=[]) | Q(pool_node_ids__overlap=listing.pool_node_ids)
    pools = others.filter(overlapping if listing.pool_node_ids else Q(), pool_model=listing.pool_model_id)
    if pool := pools.first():
        _refuse("every card of this model on these nodes", pool)


def _refuse_cards_in_pools(cards: Iterable[Card], others: QuerySet[CapacityListing]) -> None:
    pools = list(others.exclude(pool_model=None))
    for card in cards:
        for pool in pools:
            everywhere = not pool.pool_node_ids or card.node_id in pool.pool_node_ids
            if pool.pool_model_id == card.gpu_model_id and everywhere:
                _refuse(card.public_id, pool)


def _refuse(what: str, other: CapacityListing) -> NoReturn:
    raise Conflict(f"{what} is listed in {other.public_id}: pause or close that first", code="card_already_listed")
