"""Is what orders, card bids and sales hold in escrow what they can still cost?"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Q

from marketplace.leases.services.escrow import needed_micros
from marketplace.leases.states import LIVE
from marketplace.ledger.models import Account, AccountKind
from marketplace.orders.models import Order
from marketplace.orders.states import OrderState
from marketplace.sales.selectors import escrows_needed


@dataclass(frozen=True, slots=True)
class WrongEscrow:
    """An order that holds more or less than it needs, in micros."""

    order: str
    held_micros: int
    needed_micros: int


@transaction.atomic
def wrong_escrows() -> list[WrongEscrow]:
    """Every order, bid or sale whose escrow is wrong, as of one moment; call it outside of any transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    escrows = Account.objects.filter(kind=AccountKind.ESCROW, balance_micros__gt=0)
    held = dict(escrows.values_list("ref", "balance_micros"))
    may_hold = Q(state=OrderState.OPEN) | Q(leases__state__in=LIVE) | Q(public_id__in=held)
    orders = Order.objects.filter(may_hold).distinct().prefetch_related("leases")
    needed = {order.public_id: needed_micros(order, list(order.leases.all())) for order in orders}
    needed |= escrows_needed()
    return [
        WrongEscrow(order, held.get(order, 0), needed.get(order, 0))
        for order in sorted(held.keys() | needed.keys())
        if held.get(order, 0) != needed.get(order, 0)
    ]
