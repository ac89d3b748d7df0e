"""Firms that move money by HTTP without a pause, and repeat what was not answered under the same Idempotency-Key."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from tests.hosts import HOST_KEY
from tests.scenarios.outpost import Outpost
from tests.stripesim import Simulated

UNPAID_MAX = 15
PAUSE_S = 0.05
ACCEPTED = {200, 201, 202}


class Payer(threading.Thread):
    """One firm. `made` has what was accepted, by kind: key → (path, body, the public id that was answered)."""

    def __init__(self, outpost: Outpost, key: str, name: str) -> None:
        super().__init__(daemon=True, name=name)
        self.outpost, self.headers = outpost, {"Authorization": f"Bearer {key}", "Prefer": "wait=0"}
        self.made: dict[str, dict[str, tuple[str, Any, str]]] = {}
        self.seen: Counter[int] = Counter()
        self.ended = threading.Event()
        self.doing = ""
        self.turn = self.asked = 0
        self.wrong: Exception | None = None

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.turn += 1
                self.act()
        except Exception as wrong:
            self.wrong = wrong

    def act(self) -> None:
        """One turn."""
        raise NotImplementedError

    def post(self, kind: str, path: str, body: Any = None, *, may: str = "") -> str | None:
        """The public id that was answered, however often it takes; None for a conflict with a code of `may`."""
        self.asked += 1
        key = f"{self.name}-{kind}-{self.asked}"
        self.doing = kind
        status, answer = self.insist("POST", path, body, Idempotency_Key=key)
        self.doing = ""
        if status not in ACCEPTED:
            assert status == 409, (status, answer)
            assert answer["code"] in may.split(), answer
            return None
        self.made.setdefault(kind, {})[key] = path, body, str(answer["id"])
        return str(answer["id"])

    def insist(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """The first answer that is neither silence nor an honest 503."""
        while True:
            status, answer = self.outpost.ask(method, path, body, **self.headers, **headers)
            self.seen[status] += 1
            if status not in {0, 503}:
                assert status < 500, (status, answer)
                return status, answer
            self.ended.wait(PAUSE_S)


class Depositor(Payer):
    """Pays deposits on the hosted page, and has a part of every second one sent back to the card."""

    def __init__(self, outpost: Outpost, key: str, name: str, sim: Simulated) -> None:
        super().__init__(outpost, key, name)
        self.sim = sim
        self.unpaid: list[str] = []
        self.paid: list[str] = []
        self.confirmed: list[str] = []

    def act(self) -> None:
        if len(self.unpaid) < UNPAID_MAX:
            body = {"gateway": "stripe", "currency": "USD", "amount": "20.00"}
            self.unpaid.append(self.post("deposit", "/api/v1/deposits/", body) or "")
        for public_id in self.unpaid[:3]:
            _, deposit = self.insist("GET", f"/api/v1/deposits/{public_id}/")
            address = (deposit["instructions"] or {}).get("pay_url")
            self.unpaid.remove(public_id)
            if address:
                self.sim.ask("POST", address.removeprefix(self.sim.url), "card=pm_card_bypassPending")
                self.paid.append(public_id)
            else:
                self.unpaid.append(public_id)
        for public_id in self.paid[:3]:
            _, deposit = self.insist("GET", f"/api/v1/deposits/{public_id}/")
            self.paid.remove(public_id)
            (self.confirmed if deposit["state"] == "confirmed" else self.paid).append(public_id)
            if deposit["state"] == "confirmed" and len(self.confirmed) % 2:
                self.post("refund", f"/api/v1/deposits/{public_id}/refund/", {"amount": "5.00"})
        self.ended.wait(PAUSE_S)


class Orderer(Payer):
    """Orders hours, and takes every third order back; its wallet is filled by itself."""

    def act(self) -> None:
        body = {
            "gpu": ["h100-sxm5-80gb"],
            "count": 1,
            "duration_seconds": 36_000,
            "max_price_per_gpu_hour": "0.500",
            "image": "fallow/demo",
            "ssh_public_key": HOST_KEY,
            "time_in_force": "gtc",
        }
        order = self.post("order", "/api/v1/orders/", body, may="insufficient_funds")
        if order and self.turn % 3 == 0:
            self.post("cancel", f"/api/v1/orders/{order}/cancel/", may="order_not_open")
        self.ended.wait(PAUSE_S)


class Payee(Payer):
    """Asks for its earnings, a dollar at a time."""

    def act(self) -> None:
        body = {"currency": "USD", "amount": "1.00"}
        self.post("payout", "/api/v1/payouts/", body, may="insufficient_funds")
        self.ended.wait(PAUSE_S)
