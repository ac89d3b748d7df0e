"""Buyers of the demo that rent through the API like anybody else, and an operator who confirms deposits.

Run as `-m marketplace.demo.traders PEOPLE_FILE`. Both are labelled as demo: the buyer is its own firm, the deposits are
confirmed by the demo's operator within five seconds.
"""

from __future__ import annotations

import http.client
import json
import logging
import random
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import django

log = logging.getLogger(__name__)
STEP_SECONDS = 3.0
ORDER_CHANCE = 0.15
DURATIONS = (60, 90, 120, 300)
LIVE_MAX = 4
# Nobody has the private half: the bot rents to trade, not to work.
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl demo-bot"


class Bot:
    """A buyer with an API key."""

    def __init__(self, url: str, key: str, dice: random.Random) -> None:
        self.url, self.key, self.dice = url, key, dice

    def step(self) -> None:
        """Now and then take one of the offers, for a minute or a few."""
        if self.dice.random() > ORDER_CHANCE or self._live() >= LIVE_MAX:
            return
        offers = self._call("GET", "/api/v1/offers/")["data"]
        if not offers:
            return
        offer = self.dice.choice(offers)
        body = {
            "offer": offer["id"],
            "count": self.dice.randint(1, min(2, offer["count"])),
            "duration_seconds": max(self.dice.choice(DURATIONS), offer["min_duration_seconds"]),
            "max_price_per_gpu_hour": offer["price_per_gpu_hour"]["amount"],
            "image": "fallow/demo",
            "ssh_public_key": PUBLIC_KEY,
        }
        order = self._call("POST", "/api/v1/orders/", body)
        log.info("order %s of %s × %s: %s", order.get("id"), body["count"], offer["gpu"], order.get("state", order))

    def _live(self) -> int:
        leases = self._call("GET", "/api/v1/leases/?side=buyer&limit=20")["data"]
        return sum(lease["state"] in {"reserved", "starting", "active"} for lease in leases)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own URL
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as refusal:
            found = json.load(refusal)
        return found


def confirm_deposits(operator_email: str) -> None:
    """What an operator does by hand when the money has arrived; in the demo it always has."""
    from marketplace.accounts.models import User  # noqa: PLC0415 - only after django.setup()
    from marketplace.common import clock  # noqa: PLC0415
    from marketplace.common.errors import DomainError  # noqa: PLC0415
    from marketplace.payments.selectors import waiting_deposits  # noqa: PLC0415
    from marketplace.payments.services import confirm_deposit  # noqa: PLC0415

    operator = User.objects.get(email=operator_email)
    for deposit_id in waiting_deposits().values_list("public_id", flat=True):
        try:
            confirm_deposit(operator=operator, deposit_id=deposit_id, now=clock.now())
            log.info("the demo's operator confirmed %s", deposit_id)
        except DomainError as refusal:  # its own firm's, or too much for one operator
            log.info("the demo's operator left %s: %s", deposit_id, refusal)


def main(url: str, people: dict[str, dict[str, str]]) -> None:
    """Until it is stopped."""
    bot = Bot(url, people["bot"]["api_key"], random.Random())
    while True:
        confirm_deposits(people["operator"]["email"])
        try:
            bot.step()
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            log.warning("the exchange did not answer: %r", error)
        time.sleep(STEP_SECONDS)


if __name__ == "__main__":
    django.setup()
    logging.basicConfig(level=logging.INFO)
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
