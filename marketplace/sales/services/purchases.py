"""Cards paid by card: a payment page for what the wallet lacks, and the purchase itself once the money is there.

Nothing is held for the buyer meanwhile, for nobody may keep a card from others without paying. What can't be bought any
more when the money comes leaves the money in the wallet, from where it can go back to the card.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from typing import Any

from django.db import transaction

from listings.cards.selectors import visible_card_listing
from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict, DomainError, NotFound
from marketplace.events.services import is_remembered, once, record_event
from marketplace.events.transitions import WrongState, transition
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.selectors import STRIPE, refuse_debtors
from marketplace.payments.services import begin_deposit, check_taken
from marketplace.payments.states import DepositState
from marketplace.sales.models import CardPurchase
from marketplace.sales.selectors import purchase_of
from marketplace.sales.services.bidding import Quote, Take, buy_once, quote, require_may_buy
from marketplace.sales.states import PurchaseState

AT_ONCE = 200  # per tick
log = logging.getLogger(__name__)


def buy_by_card_once(
    *, firm: Firm, actor: str, take: Take, key: str | None, body: Any, now: datetime
) -> tuple[CardPurchase, bool]:
    """Have a page opened on which the buyer pays what the wallet lacks; returns the purchase and whether it is new.

    Raises what `quote` raises, Invalid where no cards are taken in this currency, and Conflict: `wallet_has_it` when
    nothing lacks, `quote_stale`, `debt_owed`.
    """
    if not is_remembered(firm_id=firm.pk, key=key):
        require_may_buy(firm, take, now)

    def make() -> str:
        return str(_begin(firm, actor, take, now).public_id)

    public_id, is_new = once(firm_id=firm.pk, key=key, body=body, now=now, make=make)
    return purchase_of(firm, public_id), is_new


def lacking_micros(firm: Firm, quoted: Quote, count: int) -> int:
    """What the wallet lacks for `count` cards at this price, in whole coins; 0 at least."""
    has = balance_micros(firm=firm, kind=AccountKind.WALLET, currency=quoted.currency)
    lacks = quoted.price.total_micros * count - has
    tick = STRIPE.capabilities().ticks_micros.get(quoted.currency, 1)
    return max(0, -(-lacks // tick) * tick)


def _begin(firm: Firm, actor: str, take: Take, now: datetime) -> CardPurchase:
    refuse_debtors(firm)
    quoted = quote(firm=firm, take=take, now=now)
    total = quoted.price.total_micros
    if take.most_micros is not None and total > take.most_micros:
        raise Conflict("the price has changed: look at it again", code="quote_stale")
    lacks = lacking_micros(firm, quoted, take.count)
    if not lacks:
        raise Conflict("the wallet has enough for this: buy from it", code="wallet_has_it")
    check_taken(STRIPE.name, quoted.currency, lacks)
    purchase = CardPurchase.objects.create(
        firm=firm,
        actor=actor,
        listing=visible_card_listing(firm, take.listing),
        card=take.card or "",
        count=take.count,
        most_micros=total,
        ships_to=take.ships_to,
        address=take.address,
        route=take.route,
        deposit=begin_deposit(firm, STRIPE.name, quoted.currency, lacks, actor, now),
        created_at=now,
    )
    data = {"listing": take.listing, "deposit": purchase.deposit.public_id, "amount_micros": lacks}
    record_event(
        firm_id=firm.pk, type="card_purchase.waiting", subject=purchase.public_id, actor=actor, data=data, now=now
    )
    return purchase


def finish_purchases(*, now: datetime) -> int:
    """Buy what is paid, and end what nobody pays; returns how many purchases ended."""
    due = CardPurchase.objects.filter(state=PurchaseState.WAITING).exclude(deposit__state=DepositState.CREATED)
    ended = 0
    for purchase in due.select_related("firm", "listing", "deposit").order_by("pk")[:AT_ONCE]:
        try:
            ended += _finish(purchase, now)
        except Exception:  # one purchase that can't be carried out must not keep the others from theirs
            log.exception("%s can't be carried out now", purchase.public_id)
    return ended


def _finish(purchase: CardPurchase, now: datetime) -> bool:
    if purchase.deposit.state != DepositState.CONFIRMED:
        return _end(purchase, PurchaseState.NOT_BOUGHT, "not_paid", now)
    take = Take(
        listing=purchase.listing.public_id,
        count=purchase.count,
        ships_to=purchase.ships_to,
        address=purchase.address,
        route=purchase.route,
        card=purchase.card or None,
        most_micros=purchase.most_micros,
    )
    body, key = {"purchase": purchase.public_id}, f"paid:{purchase.public_id}"
    try:
        purchase.bid = buy_once(firm=purchase.firm, actor=purchase.actor, take=take, key=key, body=body, now=now)
    except DomainError as refusal:
        reason = "offer_gone" if isinstance(refusal, NotFound) else refusal.code
        return _end(purchase, PurchaseState.NOT_BOUGHT, reason, now)
    return _end(purchase, PurchaseState.BOUGHT, "", now)


@transaction.atomic
def _end(purchase: CardPurchase, to: str, reason: str, now: datetime) -> bool:
    """False when another worker was first."""
    with contextlib.suppress(WrongState):
        data = {"bid": purchase.bid.public_id} if purchase.bid else {}
        transition(purchase, to, now=now, reason=reason, data=data, bid=purchase.bid, end_reason=reason, closed_at=now)
        return True
    return False
