"""Sends events to their endpoints, again when they are not taken, and with the faults that were asked for.

https://docs.stripe.com/webhooks: no order is promised, an event may come twice, and in a sandbox a refused one is tried
three more times over some hours. The hours are the simulator's.
"""

from __future__ import annotations

import heapq
import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

import msgspec

from marketplace.payments.stripesim.faults import Faults
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.webhooks.signing import signature
from marketplace.payments.stripesim.world import World

RETRY_AFTER_S = (60, 1_800, 7_200)
TIMEOUT_S = 10
POLL_S = 0.05
STALE_S = 900
THREADS = 4


@dataclass(order=True)
class _Waiting:
    """A delivery in line: `due` by the simulator's clock, and not before a moment of the real one."""

    due: int
    not_before: float
    number: int
    kind: str = field(compare=False)
    delivery: Object = field(compare=False)


class Deliveries:
    """The line of deliveries and the threads that work on it. `counts` tells what became of them."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self._world = world
        self._numbers = count()
        self._wake = threading.Condition()
        self._line: list[_Waiting] = []
        self._busy = 0
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        self._plan(list(world.store.of_kind("_delivery")))
        world.listeners.append(self._plan)

    def start(self) -> None:
        """Begins to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after what is being sent; the rest is sent after a restart."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def idle(self) -> bool:
        """Whether nothing is due or being sent."""
        with self._wake:
            return not self._busy and not any(each.due <= self._world.clock.now() for each in self._line)

    def poke(self) -> None:
        """Has the line looked at: the clock was changed."""
        with self._wake:
            self._wake.notify_all()

    def _plan(self, touched: list[Object]) -> None:
        for each in touched:
            if each["object"] == "_delivery" and not each.get("_gone") and not each.get("planned"):
                each["planned"] = True  # in memory alone: after a restart it is planned anew
                self._plan_one(each)

    def _plan_one(self, delivery: Object) -> None:
        event = self._world.store.find(delivery["event"])
        first = delivery["attempt"] == 0
        faults = self.faults.for_event(event["type"]) if event and first else set()
        due, not_before = delivery["due"], 0.0
        if "late" in faults:
            due += self.faults.late_seconds
        if "reorder" in faults:
            not_before = time.monotonic() + self.faults.between(0, self.faults.reorder_seconds)
        kinds = ["drop"] if "drop" in faults else ["send", *sorted(faults & {"duplicate", "forge"})]
        for kind in kinds:
            self._enter(_Waiting(due, not_before, next(self._numbers), kind, delivery))

    def _enter(self, waiting: _Waiting) -> None:
        with self._wake:
            heapq.heappush(self._line, waiting)
            self._wake.notify()

    def _next(self) -> _Waiting | None:
        """Waits for a delivery that is due; None when it is time to stop."""
        with self._wake:
            while not self._stopping:
                now, held = self._world.clock.now(), []
                found = None
                while self._line and self._line[0].due <= now and found is None:
                    first = heapq.heappop(self._line)
                    if first.not_before <= time.monotonic():
                        found = first
                    else:
                        held.append(first)
                for each in held:
                    heapq.heappush(self._line, each)
                if found:
                    self._busy += 1
                    return found
                self._wake.wait(POLL_S if self._line else None)
        return None

    def _work(self) -> None:
        connections: dict[str, http.client.HTTPConnection] = {}
        while waiting := self._next():
            try:
                if waiting.kind in {"duplicate", "forge"}:
                    self._side_show(connections, waiting.kind, waiting.delivery)
                else:
                    self._deliver(connections, waiting.delivery, dropped=waiting.kind == "drop")
            finally:
                with self._wake:
                    self._busy -= 1
        for connection in connections.values():
            connection.close()

    def _message(self, delivery: Object) -> tuple[bytes, str, str] | None:
        """Body, address and secret; None when the endpoint or the event is gone."""
        with self._world.lock:
            endpoint, event = self._world.store.find(delivery["endpoint"]), self._world.store.find(delivery["event"])
            if not endpoint or not event:
                return None
            return msgspec.json.encode(shown(self._world, event)), endpoint["url"], endpoint["_secret"]

    def _deliver(self, connections: dict[str, http.client.HTTPConnection], delivery: Object, *, dropped: bool) -> None:
        message = self._message(delivery)
        outcome = "dropped" if dropped or message is None else "refused"
        if message and not dropped:
            body, url, secret = message
            if 200 <= self._post(connections, url, body, signature(body, secret, int(time.time()))) < 300:
                outcome = "delivered"
        self.counts[outcome] += 1
        with self._world.transaction():
            self._world.store.remove(delivery["id"])
            if outcome == "delivered":
                self._world.store.edit(delivery["event"])["pending_webhooks"] -= 1
            elif outcome == "refused":
                self._again(delivery)

    def _again(self, delivery: Object) -> None:
        attempt = delivery["attempt"]
        if attempt >= len(RETRY_AFTER_S):
            self.counts["given_up"] += 1
            return
        due = self._world.clock.now() + RETRY_AFTER_S[attempt]
        fresh = {name: delivery[name] for name in ("object", "event", "endpoint")}
        self._world.store.add({**fresh, "id": new_id("dlv"), "attempt": attempt + 1, "due": due})

    def _side_show(self, connections: dict[str, http.client.HTTPConnection], kind: str, delivery: Object) -> None:
        """The second copy of an event, or the false one: each has to leave the receiver as it was."""
        message = self._message(delivery)
        if message is None:
            return
        body, url, secret = message
        now = int(time.time())
        header = signature(body, secret, now)
        if kind == "forge":
            variant = int(self.faults.between(0, 2.999))
            header = [signature(body, "whsec_somebody_elses", now), header, signature(body, secret, now - STALE_S)][
                variant
            ]
            body = body.replace(b'"livemode":false', b'"livemode":true ') if variant == 1 else body
        status = self._post(connections, url, body, header)
        self.counts[f"{'forged' if kind == 'forge' else 'copies'}_{'taken' if 200 <= status < 300 else 'refused'}"] += 1

    def _post(self, connections: dict[str, http.client.HTTPConnection], url: str, body: bytes, header: str) -> int:
        """The receiver's status, 0 when it could not be reached in time."""
        parts = urlsplit(url)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": header,
            "User-Agent": "Stripe/1.0",
        }
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        for fresh in (parts.netloc not in connections, True):
            if fresh:
                connections[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
            connection = connections[parts.netloc]
            try:
                connection.request("POST", path or "/", body, headers)
                answer = connection.getresponse()
                answer.read()
                return answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
                connections.pop(parts.netloc, None)
                if fresh:
                    return 0
        return 0
