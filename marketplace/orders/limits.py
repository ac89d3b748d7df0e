"""How much one firm may have in the book."""

from __future__ import annotations

from django.conf import settings

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict
from marketplace.orders.models import Order
from marketplace.orders.states import OrderState


def refuse_too_many_orders(firm: Firm) -> None:
    """Conflict when the firm has as many open orders as it may; call it in the transaction that adds one."""
    lock_firm(firm)
    if Order.objects.filter(firm=firm, state=OrderState.OPEN).count() >= settings.OPEN_ORDERS_MAX:
        raise Conflict(
            f"at most {settings.OPEN_ORDERS_MAX} orders are open at a time: cancel one", code="too_many_orders"
        )
