"""Faults on demand: what goes wrong between the application and Stripe, by chance from a seed or on the next call."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

REQUEST_FAULTS = {
    "reply_lost": "the work is done, the connection breaks before the answer",
    "error_after": "the work is done, the answer is a 500 (and stays one for that idempotency key)",
    "error": "a 500 before anything is done",
    "rate_limit": "a 429 before anything is done",
    "conflict": "a 409 before anything is done",
    "slow": "the answer takes `slow_seconds`",
}
EVENT_FAULTS = {
    "duplicate": "delivered twice",
    "reorder": "held back for up to `reorder_seconds` of real time",
    "drop": "never delivered, though it is in the list of events",
    "late": "delivered after `late_seconds` of the simulator's time",
    "forge": "a false one is sent before it",
}


@dataclass
class Once:
    """A fault that strikes the next `times` calls of an operation, or events of a type; an empty text means any."""

    fault: str
    operation: str = ""
    event: str = ""
    times: int = 1


@dataclass
class Faults:
    """Rates are shares between 0 and 1. At most one fault strikes a request; any number strike an event."""

    seed: int = 0
    requests: dict[str, float] = field(default_factory=dict)
    events: dict[str, float] = field(default_factory=dict)
    next: list[Once] = field(default_factory=list)
    slow_seconds: float = 0.5
    late_seconds: int = 600
    reorder_seconds: float = 0.3
    struck: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        unknown = (set(self.requests) - set(REQUEST_FAULTS)) | (set(self.events) - set(EVENT_FAULTS))
        unknown |= {each.fault for each in self.next} - set(REQUEST_FAULTS) - set(EVENT_FAULTS)
        if unknown:
            raise ValueError(f"unknown faults: {', '.join(sorted(unknown))}")
        self._random = random.Random(self.seed)  # noqa: S311 - a seed makes a run repeatable
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Faults:
        """Out of the JSON of /_sim/faults; raises ValueError or TypeError for what it does not know."""
        settings = dict(given)
        settings["next"] = [Once(**each) for each in settings.get("next", [])]
        return cls(**settings)

    def shown(self) -> dict[str, Any]:
        """The settings and how often each fault has struck."""
        names = ("seed", "requests", "events", "slow_seconds", "late_seconds", "reorder_seconds")
        settings = {name: getattr(self, name) for name in names}
        waiting = [vars(each) for each in self.next]
        return settings | {"next": waiting, "struck": dict(self.struck), "known": {**REQUEST_FAULTS, **EVENT_FAULTS}}

    def for_request(self, operation: str) -> str | None:
        """What goes wrong with this request."""
        with self._lock:
            fault = self._planned(REQUEST_FAULTS, operation=operation)
            if fault is None and self.requests:
                point = self._random.random()
                for name, rate in self.requests.items():
                    point -= rate
                    if point < 0:
                        fault = name
                        break
            if fault:
                self.struck[fault] += 1
            return fault

    def for_event(self, kind: str) -> set[str]:
        """What goes wrong with the delivery of this event."""
        with self._lock:
            found = {name for name, rate in self.events.items() if self._random.random() < rate}
            while planned := self._planned(EVENT_FAULTS, event=kind):
                found.add(planned)
            self.struck.update(found)
            return found

    def between(self, low: float, high: float) -> float:
        """A number by chance."""
        with self._lock:
            return self._random.uniform(low, high)

    def _planned(self, among: dict[str, str], *, operation: str = "", event: str = "") -> str | None:
        for once in self.next:
            if once.fault in among and once.operation in {"", operation} and once.event in {"", event}:
                once.times -= 1
                if once.times <= 0:
                    self.next.remove(once)
                return once.fault
        return None
