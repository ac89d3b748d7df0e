"""Ending orders and returning their money. The matcher alone takes orders out of the book."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef

from marketplace.accounts.models import Firm
from marketplace.book.models import InboxMessage, MessageKind
from marketplace.book.services import send
from marketplace.common.errors import Conflict
from marketplace.events.services import once
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, lock_accounts
from marketplace.ledger.services import Leg, post
from marketplace.orders.models import Order
from marketplace.orders.selectors import order_for_update, order_of
from marketplace.orders.states import OrderReason, OrderState
from marketplace.payments.selectors import disputed_before

PAYERS_BANK = "payers_bank"  # who cancels an order whose payment is disputed


@transaction.atomic
def request_cancel(*, firm: Firm, public_id: str, actor: str, now: datetime) -> Order:
    """Ask the matcher to take the order out; a cancelled one stays as it is. Conflict when it ended otherwise."""
    order = order_of(firm, public_id)
    if order.state == OrderState.CANCELLED:
        return order
    if order.state != OrderState.OPEN:
        raise Conflict(f"this order is {order.state}", code="order_not_open")
    send(kind=MessageKind.CANCEL, subject=order.public_id, actor=actor, now=now)
    return order


@transaction.atomic
def cancel_disputed_orders(*, now: datetime) -> int:
    """Ask the matcher to take out what a disputed payment pays for; returns how many orders those are.

    They are the payer's from before the dispute, and all of them while it owes a part of it.
    """
    asked = InboxMessage.objects.filter(kind=MessageKind.CANCEL, seq=None, subject=OuterRef("public_id"))
    found = 0
    for payer, before in disputed_before(now).items():
        orders = Order.objects.filter(~Exists(asked), firm=payer, state=OrderState.OPEN, created_at__lte=before)
        for public_id in orders.order_by("pk").values_list("public_id", flat=True):
            send(kind=MessageKind.CANCEL, subject=public_id, actor=PAYERS_BANK, now=now)
            found += 1
    return found


def request_cancel_once(*, firm: Firm, public_id: str, actor: str, key: str | None, now: datetime) -> Order:
    """`request_cancel`, with the memory of the idempotency key."""
    once(
        firm_id=firm.pk,
        key=key,
        body={"cancel": public_id},
        now=now,
        make=lambda: str(request_cancel(firm=firm, public_id=public_id, actor=actor, now=now).public_id),
    )
    return order_of(firm, public_id)


@transaction.atomic
def close_order(*, order: Order, to: OrderState, reason: OrderReason, now: datetime, actor: str = "system") -> None:
    """End an OPEN order without a lease; everything in its escrow returns to the wallet."""
    transition(order, to, now=now, reason=reason, actor=actor, end_reason=reason, closed_at=now, registry_auth=None)
    return_surplus(order=order, needed_micros=0, ref=f"surplus:{order.public_id}:{to}", now=now)


def forget_order_secrets(*, order: Order) -> None:
    """The registry's password is not kept for longer than somebody may have to pull."""
    Order.objects.filter(pk=order.pk).exclude(registry_auth=None).update(registry_auth=None)


@transaction.atomic
def fill_order(*, order: Order, now: datetime) -> None:
    """OPEN → FILLED; its leases exist in the same transaction."""
    transition(order, OrderState.FILLED, now=now, closed_at=now)


@transaction.atomic
def reopen_order(*, order: Order, without_nodes: Iterable[str], now: datetime) -> None:
    """Put an order back into the book whose leases all failed without the buyer's doing; their nodes are excluded.

    An order of one round has its second chance; a pinned one can't go elsewhere and ends.
    """
    order = order_for_update(order.pk)
    exclude = sorted({*order.exclude_nodes, *without_nodes})
    transition(order, OrderState.OPEN, now=now, reason="lease_failed", closed_at=None, exclude_nodes=exclude)
    if order.pinned_node or order.expires_at <= now:
        to, reason = OrderState.CANCELLED, OrderReason.OFFER_GONE
        if not order.pinned_node:
            to, reason = OrderState.EXPIRED, OrderReason.TIME_OVER
        close_order(order=order, to=to, reason=reason, now=now)
    else:
        send(kind=MessageKind.ORDER, subject=order.public_id, now=now)


@transaction.atomic
def return_surplus(*, order: Order, needed_micros: int, ref: str, now: datetime) -> None:
    """Return to the wallet what the order's escrow holds beyond `needed_micros`. Repeating this changes nothing."""
    wallet = account_for(firm=order.firm, kind=AccountKind.WALLET, currency=order.currency)
    escrow = account_for(firm=order.firm, kind=AccountKind.ESCROW, currency=order.currency, ref=order.public_id)
    lock_accounts([wallet.pk, escrow.pk])
    escrow.refresh_from_db()
    surplus = escrow.balance_micros - needed_micros
    if surplus > 0:
        legs = [Leg(escrow, -surplus), Leg(wallet, surplus)]
        post(ref=ref, code=Code.ESCROW_RELEASE, legs=legs, subject=order.public_id, now=now)
