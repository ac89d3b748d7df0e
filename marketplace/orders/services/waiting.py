"""Waiting for a round's outcome, outside any transaction and with the connection given back."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connection

from marketplace.common.hints import Bell
from marketplace.orders.models import Order
from marketplace.orders.states import OrderState

LOOK_AGAIN_SECONDS = 0.5


def was_seen(order: Order) -> bool:
    """Whether a round has taken it in."""
    return order.state != OrderState.OPEN or order.seq is not None


def is_closed(order: Order) -> bool:
    """Whether it has left the book."""
    return order.state != OrderState.OPEN


def wait_until(order: Order, done: Callable[[Order], bool], *, seconds: float) -> Order:
    """The order as soon as it is `done`, and at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    with Bell("orders") as bell:
        while True:
            order.refresh_from_db()
            left = deadline - time.monotonic()
            if done(order) or left <= 0:
                return order
            if not connection.in_atomic_block:
                connection.close()
            bell.wait(min(left, LOOK_AGAIN_SECONDS))
