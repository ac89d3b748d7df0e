"""Clocks of bids and sales."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.sales.services.bidding import expire_bids
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.silences import advance_sales, ask_rules_again, collect_credits


@shared_task(name="sales.match_cards")
def match_cards_task() -> None:
    expire_bids(now=clock.now())
    match_cards(now=clock.now())


@shared_task(name="sales.advance_sales")
def advance_sales_task() -> None:
    consider_passports(now=clock.now())
    advance_sales(now=clock.now())


@shared_task(name="sales.ask_rules_again")
def ask_rules_again_task() -> None:
    ask_rules_again(now=clock.now())
    collect_credits(now=clock.now())
