"""The simulated Stripe as a whole: objects, money, time, events, and what falls due later."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from marketplace.payments.stripesim.protocol.errors import ApiError
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.state.books import Books
from marketplace.payments.stripesim.state.clock import Clock
from marketplace.payments.stripesim.state.store import PLATFORM, Object, Store, new_id

Job = Callable[["World", Object], None]

CLOCK_ID = "the_clock"
JOBS: dict[str, Job] = {}


def job(name: str) -> Callable[[Job], Job]:
    """Names what `World.later` asks for."""

    def register(function: Job) -> Job:
        JOBS[name] = function
        return function

    return register


class World:
    """One simulated platform. Everything happens inside `transaction`, one at a time."""

    def __init__(self, path: Path | None, *, api_version: str, public_url: str) -> None:
        self.lock = threading.RLock()
        self.clock = Clock()
        self.store = Store(path)
        remembered = self.store.find(CLOCK_ID)
        if remembered:
            self.clock.load(remembered["state"])
        self.books = Books(self.store, self.clock)
        self.api_version = api_version
        self.public_url = public_url
        self.request: Object = {"id": None, "idempotency_key": None}
        self.judge: Callable[[Object], None] = lambda event: None
        self.listeners: list[Callable[[list[Object]], None]] = []
        self._due = [(each["due"], each["id"]) for each in self.store.of_kind("_job")]
        heapq.heapify(self._due)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes or none; a refusal may say that its changes stay, as a declined charge does."""
        with self.lock:
            try:
                yield
            except ApiError as refusal:
                self._end(keep=refusal.keep)
                raise
            except BaseException:
                self.store.rollback()
                raise
            self._end(keep=True)

    def _end(self, *, keep: bool) -> None:
        if not keep:
            self.store.rollback()
            return
        touched = self.store.commit()
        self.books.learn(touched)
        for each in touched:
            if each["object"] == "_job" and not each.get("_gone"):
                heapq.heappush(self._due, (each["due"], each["id"]))
        for listener in self.listeners:
            listener(touched)

    def later(self, seconds: int, name: str, **about: Any) -> None:
        """Has a job done after so many seconds of the simulator's time; a restart does not forget it."""
        due = self.clock.now() + seconds
        self.store.add({"id": new_id("job"), "object": "_job", "name": name, "due": due, "about": about})

    def run_due(self) -> int:
        """Does what is due, each job in a transaction of its own; gives how many there were."""
        done = 0
        with self.lock:
            while self._due and self._due[0][0] <= self.clock.now():
                _, key = heapq.heappop(self._due)
                self.request = {"id": None, "idempotency_key": None}
                with self.transaction():
                    due = self.store.find(key)
                    if due:
                        self.store.remove(key)
                        JOBS[due["name"]](self, due["about"])
                        done += 1
        return done

    def next_due(self) -> int | None:
        """When the next job falls due, None when there is none."""
        return self._due[0][0] if self._due else None

    def set_clock(self, change: Callable[[Clock], None]) -> None:
        """Changes the time; a restart does not forget it."""
        with self.transaction():
            change(self.clock)
            self.store.add({"id": CLOCK_ID, "object": "_clock", "state": self.clock.dump()})

    def pass_time(self, seconds: int) -> None:
        """Lets time pass and does what falls due on the way, each thing at its time."""
        with self.lock:
            end = self.clock.now() + seconds
            while (due := self.next_due()) is not None and due <= end:
                self.set_clock(partial(Clock.advance, seconds=max(0, due - self.clock.now())))
                self.run_due()
            self.set_clock(partial(Clock.advance, seconds=max(0, end - self.clock.now())))

    def emit(self, kind: str, about: Object, *, account: str = PLATFORM) -> None:
        """Records an event with the object as it is now, and its deliveries."""
        endpoints = [
            each["id"]
            for each in self.store.of_kind("webhook_endpoint")
            if each["status"] == "enabled"
            and each["_connect"] == bool(account)
            and {"*", kind} & set(each["enabled_events"])
        ]
        event: Object = {
            "id": new_id("evt"), "object": "event", "type": kind, "created": self.clock.now(), "livemode": False,
            "api_version": self.api_version, "data": {"object": shown(self, about)}, "request": dict(self.request),
            "pending_webhooks": len(endpoints),
        }  # fmt: skip
        if account:
            event["account"] = account
        self.judge(event)
        self.store.add(event, account=account)
        for endpoint in endpoints:
            self.store.add({
                "id": new_id("dlv"), "object": "_delivery", "event": event["id"], "endpoint": endpoint, "attempt": 0,
                "due": self.clock.now(),
            })  # fmt: skip
