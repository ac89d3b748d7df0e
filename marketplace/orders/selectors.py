"""Reading orders, and the locks on them."""

from __future__ import annotations

from django.db.models import QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import NotFound
from marketplace.orders.models import Order


def orders_of(firm: Firm) -> QuerySet[Order]:
    """The firm's orders with their leases."""
    return Order.objects.filter(firm=firm).prefetch_related("leases")


def order_of(firm: Firm, public_id: str) -> Order:
    """One of them; NotFound for anything else."""
    order = orders_of(firm).filter(public_id=public_id).first()
    if order is None:
        raise NotFound
    return order


def order_for_update(order_id: int) -> Order:
    """The order, locked until the end of the transaction."""
    return Order.objects.select_for_update(of=("self",)).select_related("firm").get(pk=order_id)
