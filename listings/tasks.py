"""Clocks of listings."""

from __future__ import annotations

from celery import shared_task

from listings.services import close_ended_listings
from marketplace.common import clock


@shared_task(name="listings.close_ended_listings")
def close_ended_listings_task() -> int:
    return close_ended_listings(now=clock.now())
