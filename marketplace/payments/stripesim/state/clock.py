"""The simulator's time: it runs with the real one, ahead of it by what somebody added, or stands still."""

from __future__ import annotations

import time
from datetime import UTC, datetime

HOUR_S = 3600
DAY_S = 86_400


class Clock:
    """Whole seconds since 1970, as Stripe writes times. It never goes back."""

    def __init__(self) -> None:
        self._ahead = 0
        self._stands_at: int | None = None

    def now(self) -> int:
        """Seconds since 1970."""
        return self._stands_at if self._stands_at is not None else int(time.time()) + self._ahead

    def iso(self, seconds: int | None = None) -> str:
        """The same as version 2 of the API writes it."""
        moment = datetime.fromtimestamp(self.now() if seconds is None else seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def advance(self, seconds: int) -> None:
        """Jumps ahead; `seconds` may not be negative."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._set(self.now() + seconds)

    def stand_still(self, still: bool) -> None:
        """Stops the clock where it is, or lets it run on from there."""
        now = self.now()
        self._stands_at = now if still else None
        self._set(now)

    def _set(self, moment: int) -> None:
        if self._stands_at is not None:
            self._stands_at = moment
        else:
            self._ahead = moment - int(time.time())

    def dump(self) -> dict[str, int | None]:
        """What a restart has to know."""
        return {"ahead": self._ahead, "stands_at": self._stands_at}

    def load(self, state: dict[str, int | None]) -> None:
        """Goes on from a dump."""
        self._ahead, self._stands_at = state["ahead"] or 0, state["stands_at"]
