"""Clocks of bids and sales."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.sales.services.answering import answer_for_undelivered
from marketplace.sales.services.arrivals import notice_arrivals
from marketplace.sales.services.bidding import cancel_disputed_bids, expire_bids
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.permission import ask_about_ruled_sales, ask_rules_again
from marketplace.sales.services.purchases import finish_purchases
from marketplace.sales.services.relisting import offer_again
from marketplace.sales.services.silences import advance_sales, collect_credits


@shared_task(name="sales.match_cards")
def match_cards_task() -> None:
    cancel_disputed_bids(now=clock.now())
    expire_bids(now=clock.now())
    match_cards(now=clock.now())


@shared_task(name="sales.finish_purchases")
def finish_purchases_task() -> int:
    return finish_purchases(now=clock.now())


@shared_task(name="sales.advance_sales")
def advance_sales_task() -> None:
    """What is known comes before what a silence means."""
    consider_passports(now=clock.now())
    notice_arrivals(now=clock.now())
    ask_about_ruled_sales(now=clock.now())
    advance_sales(now=clock.now())
    offer_again(now=clock.now())


@shared_task(name="sales.answer_for_undelivered")
def answer_for_undelivered_task() -> None:
    answer_for_undelivered(now=clock.now())


@shared_task(name="sales.ask_rules_again")
def ask_rules_again_task() -> None:
    ask_rules_again(now=clock.now())
    collect_credits(now=clock.now())
