"""Every test of the books may have the month of trade."""

from __future__ import annotations

import pytest

from tests.marketplace.books.trade import Trade


@pytest.fixture
def trade(db, frozen) -> Trade:
    return Trade(frozen)
