"""A round of the matcher (`MATCHER=db`): everything is read from the tables, matched by the pure engine and written in
one transaction, which is undone as a whole when the database refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Max, Q

from listings.models import CapacityListing
from listings.supply import AskSupply, open_supply
from marketplace.accounts.models import Firm
from marketplace.book.models import InboxMessage, MessageKind, Round, Trade
from marketplace.common.errors import Conflict
from marketplace.compliance.services import decide_lease, may_lease
from marketplace.leases.services.reserving import Terms, reserve_lease
from marketplace.matching.engine import clear
from marketplace.matching.hashes import input_hash, output_hash, round_hash
from marketplace.matching.translation import ask_from, bid_from, rules
from marketplace.matching.values import Ask, Bid, RoundResult
from marketplace.orders.models import Order
from marketplace.orders.services.closing import PAYERS_BANK, close_order, fill_order
from marketplace.orders.states import ONE_ROUND, OrderReason, OrderState
from nodes.models import Node

log = logging.getLogger(__name__)
MESSAGES_PER_ROUND_MAX = 256
REFUSED = (Conflict, IntegrityError, DataError)  # what one order can bring upon a whole round
ROUND_LOCK = 0x46414C4C4F57  # one matcher writes at a time, wherever it runs


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a round has read."""

    messages: list[InboxMessage]
    orders: dict[str, Order]
    supply: dict[str, AskSupply]
    bids: list[Bid]
    asks: list[Ask]
    fingerprint: str


def run_due_round(*, now: datetime) -> Round | None:
    """Run a round when a message waits, an order's time is over, or the supply changed while orders wait."""
    waiting = InboxMessage.objects.filter(seq=None).exists()
    open_orders = Order.objects.filter(state=OrderState.OPEN)
    if not waiting and not open_orders.exists():
        return None
    if not waiting and not open_orders.filter(expires_at__lte=now).exists():
        last = Round.objects.order_by("-pk").values_list("supply_fingerprint", flat=True).first()
        if last == supply_fingerprint(open_supply(now=now, gpus=_asked_for(open_orders.only("gpus")))):
            return None
    return run_round(now=now)


def run_round(*, now: datetime) -> Round:
    """One round. When the database refuses it twice, it goes bid by bid and the culprits are rejected."""
    for _ in range(2):
        try:
            return _round(now=now, only=None)
        except REFUSED as error:
            log.warning("round undone: %s", error)
    for order in Order.objects.filter(state=OrderState.OPEN).order_by("pk"):
        try:
            _round(now=now, only=order.public_id)
        except REFUSED as error:
            log.error("order %s rejected: %s", order.public_id, error)
            close_order(order=order, to=OrderState.REJECTED, reason=OrderReason.NOT_MATCHABLE, now=now)
    return _round(now=now, only=None)


def supply_fingerprint(supply: Sequence[AskSupply]) -> str:
    """Changes when an ask, a card or a price in the book does; not with a card's age."""
    seen = sorted(
        [ask.key, ask.price_micros_per_gpu_hour, ask.duration_seconds_min, ask.duration_seconds_max]
        + [[card.id, card.version] for card in ask.cards]
        for ask in supply
    )
    return round_hash(seen)


@transaction.atomic
def _round(*, now: datetime, only: str | None) -> Round:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ROUND_LOCK])
    inputs = _read(now, only)
    result = clear(bids=inputs.bids, asks=inputs.asks, now=int(now.timestamp()), rules=rules())
    row = _record(inputs, result, now)
    _write_fills(inputs, result, row, now)
    _close_one_round_orders(inputs, result, now)
    return row


def _read(now: datetime, only: str | None) -> Inputs:
    messages, new = _number_messages(only)
    _cancel_and_expire(messages, now)
    orders = _allowed_orders(only, now)
    supply = open_supply(now=now, gpus=_asked_for(orders.values()))
    sellers = Firm.objects.in_bulk({ask.seller_pk for ask in supply})
    allowed = {pk for pk, firm in sellers.items() if may_lease(firm, now=now)}
    return Inputs(
        messages=messages,
        orders=orders,
        supply={ask.key: ask for ask in supply},
        bids=[bid_from(order, new=new) for order in orders.values()],
        asks=[ask_from(ask, new=new) for ask in supply if ask.seller_pk in allowed],
        fingerprint=supply_fingerprint(supply),
    )


def _asked_for(orders: Iterable[Order]) -> set[str]:
    """The models that any order names, and each names one: no other ask could change what a round decides."""
    return {gpu for order in orders for gpu in order.gpus}


def _allowed_orders(only: str | None, now: datetime) -> dict[str, Order]:
    """The open orders of firms with which the rules of today allow a lease; the others end with their money back."""
    open_orders = Order.objects.filter(state=OrderState.OPEN).exclude(seq=None).select_related("firm").order_by("pk")
    asked = {order.public_id: order for order in open_orders if only in (None, order.public_id)}
    refused = {firm for firm in {order.firm for order in asked.values()} if not may_lease(firm, now=now)}
    for firm in refused:
        decide_lease(firm, now=now)
    for order in asked.values():
        if order.firm in refused:
            close_order(order=order, to=OrderState.REJECTED, reason=OrderReason.NOT_ALLOWED, now=now)
    return {key: order for key, order in asked.items() if order.firm not in refused}


def _number_messages(only: str | None) -> tuple[list[InboxMessage], set[str]]:
    """Give the waiting messages their numbers. Returns them and what is new: a reopened order keeps its age.

    When the round goes bid by bid, only the bid's own: who sees its number knows that it has been tried.
    """
    new: set[str] = set()
    waiting = InboxMessage.objects.filter(seq=None, **({} if only is None else {"subject": only}))
    messages = list(waiting.order_by("pk")[:MESSAGES_PER_ROUND_MAX])
    last = InboxMessage.objects.aggregate(last=Max("seq"))["last"] or 0
    for number, message in enumerate(messages, last + 1):
        message.seq = number
        aged = 0
        if message.kind == MessageKind.ORDER:
            aged = Order.objects.filter(public_id=message.subject, seq=None).update(seq=number)
        elif message.kind == MessageKind.LISTING:
            aged = CapacityListing.objects.filter(public_id=message.subject).update(seq=number)
        if aged:
            new.add(message.subject)
    return messages, new


def _cancel_and_expire(messages: Sequence[InboxMessage], now: datetime) -> None:
    cancelled = {message.subject: message.actor for message in messages if message.kind == MessageKind.CANCEL}
    over = Q(public_id__in=cancelled) | Q(expires_at__lte=now)
    for order in Order.objects.filter(over, state=OrderState.OPEN).select_related("firm").order_by("pk"):
        to, reason, actor = OrderState.EXPIRED, OrderReason.TIME_OVER, "system"
        if order.public_id in cancelled:
            to, reason, actor = OrderState.CANCELLED, OrderReason.BUYER_CANCELLED, cancelled[order.public_id]
        if actor == PAYERS_BANK:
            reason, actor = OrderReason.PAYMENT_DISPUTED, "system"
        close_order(order=order, to=to, reason=reason, actor=actor, now=now)


def _record(inputs: Inputs, result: RoundResult, now: datetime) -> Round:
    row = Round.objects.create(
        at=now,
        message_count=len(inputs.messages),
        bid_count=len(inputs.bids),
        ask_count=len(inputs.asks),
        fill_count=len(result.fills),
        supply_fingerprint=inputs.fingerprint,
        input_hash=input_hash(bids=inputs.bids, asks=inputs.asks, now=int(now.timestamp()), rules=rules()),
        output_hash=output_hash(result),
    )
    for message in inputs.messages:
        message.round = row
    InboxMessage.objects.bulk_update(inputs.messages, ["seq", "round"])
    return row


def _write_fills(inputs: Inputs, result: RoundResult, row: Round, now: datetime) -> None:
    listings = CapacityListing.objects.select_related("firm").in_bulk(
        {inputs.supply[fill.ask].listing_pk for fill in result.fills}
    )
    nodes = Node.objects.in_bulk({inputs.supply[fill.ask].node_pk for fill in result.fills})
    for fill in result.fills:
        supply = inputs.supply[fill.ask]
        order = inputs.orders[fill.bid]
        terms = Terms(
            listing=listings[supply.listing_pk],
            node=nodes[supply.node_pk],
            gpu=supply.gpu,
            card_ids=fill.cards,
            price_micros_per_gpu_hour=fill.price_micros,
            claim_start=now,
            claim_end=datetime.fromtimestamp(fill.end, UTC),
        )
        lease = reserve_lease(order=order, terms=terms, now=now)
        _print_trade(row, order, terms, lease.public_id, supply, now)
    for public_id in {fill.bid for fill in result.fills}:
        fill_order(order=inputs.orders[public_id], now=now)


def _print_trade(row: Round, order: Order, terms: Terms, lease: str, supply: AskSupply, now: datetime) -> None:
    Trade.objects.create(
        round=row,
        at=now,
        gpu=terms.gpu,
        region=supply.region,
        currency=order.currency,
        price_micros_per_gpu_hour=terms.price_micros_per_gpu_hour,
        card_count=len(terms.card_ids),
        duration_seconds=order.duration_seconds,
        order=order.public_id,
        listing=supply.listing,
        lease=lease,
        cards=sorted(terms.card_ids),
        buyer_id=order.firm_id,
        seller_id=supply.seller_pk,
    )


def _close_one_round_orders(inputs: Inputs, result: RoundResult, now: datetime) -> None:
    for public_id in result.unfilled:
        order = inputs.orders[public_id]
        if order.time_in_force in ONE_ROUND:
            reason = OrderReason.OFFER_GONE if order.pinned_listing else OrderReason.NO_MATCH
            close_order(order=order, to=OrderState.CANCELLED, reason=reason, now=now)
