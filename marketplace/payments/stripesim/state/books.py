"""Money: balance transactions, and the balances that they add up to. Nothing else moves money."""

from __future__ import annotations

import heapq
from typing import Any

from marketplace.payments.stripesim.state.clock import Clock
from marketplace.payments.stripesim.state.store import PLATFORM, Object, Store, new_id


class Books:
    """Balances per account and currency, in smallest units. A balance is never stored: it is a sum."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._total: dict[tuple[str, str], int] = {}
        self._pending: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.learn(list(store.of_kind("balance_transaction")))

    def post(
        self, kind: str, amount: int, currency: str, source: str, *,
        account: str = PLATFORM, fee: int = 0, category: str | None = None, available_on: int | None = None,
        description: str | None = None, fee_description: str = "Stripe processing fees",
    ) -> Object:  # fmt: skip
        """A balance transaction; `amount` is negative for money that leaves. Available at once unless told when."""
        now = self._clock.now()
        charged = {
            "amount": fee, "application": None, "currency": currency, "description": fee_description,
            "type": "stripe_fee",
        }  # fmt: skip
        transaction = {
            "id": new_id("txn"), "object": "balance_transaction", "amount": amount, "fee": fee, "net": amount - fee,
            "currency": currency, "created": now, "available_on": max(now, available_on or now), "type": kind,
            "reporting_category": category or kind, "source": source, "balance_type": "payments",
            "fee_details": [charged] if fee else [], "description": description, "exchange_rate": None,
            "status": "pending",
        }  # fmt: skip
        return self._store.add(transaction, account=account)

    def learn(self, touched: list[Object]) -> None:
        """Takes committed balance transactions into the sums; each is told once, for none is ever changed."""
        for each in touched:
            if each["object"] != "balance_transaction":
                continue
            key = (each["_account"], each["currency"])
            self._total[key] = self._total.get(key, 0) + each["net"]
            if each["available_on"] > self._clock.now():
                heapq.heappush(self._pending.setdefault(key, []), (each["available_on"], each["net"]))

    def pending(self, account: str, currency: str) -> int:
        """What is not available yet."""
        waiting = self._pending.get((account, currency), [])
        while waiting and waiting[0][0] <= self._clock.now():
            heapq.heappop(waiting)
        return sum(net for _, net in waiting)

    def available(self, account: str, currency: str) -> int:
        """What can be transferred or paid out; below zero when more was taken than is there."""
        return self.total(account, currency) - self.pending(account, currency)

    def total(self, account: str, currency: str) -> int:
        """Available and pending."""
        return self._total.get((account, currency), 0)

    def currencies(self, account: str) -> list[str]:
        """Those that the account has ever had money in."""
        return sorted({currency for holder, currency in self._total if holder == account})

    def status(self, transaction: dict[str, Any]) -> str:
        """Whether a balance transaction's money is available by now."""
        return "available" if transaction["available_on"] <= self._clock.now() else "pending"
