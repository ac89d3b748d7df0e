"""Telling the server: a new inventory, the live report, what an outage left (oldest first), acks until answered.

Reports and signed messages go to two services and fail apart: each has its own back-off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from nodes.agent.client import Backoff, Refused, Unreachable
from nodes.agent.leases import Leases
from nodes.agent.link import Link, boot_ms
from nodes.agent.protocol import (
    BODY_BYTES_MAX,
    REPORTS_PER_POST_MAX,
    Inventory,
    LogTail,
    ProtocolError,
    Report,
    ReportReply,
)
from nodes.agent.spool import Spool

log = logging.getLogger(__name__)

INTERVAL_MS = 5_000
INTERVAL_MS_MIN = 1_000
INTERVAL_MS_MAX = 60_000
REPLAYS_PER_ROUND = 5
ACKS_PER_POST_MAX = 100
ACK_POSTS_PER_ROUND = 50
REPORT_BYTES_MAX = BODY_BYTES_MAX - 16 * 1024


class Line:
    """A service of the server that is left alone for a while after each failure."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._open_at = 0
        self.problem: str | None = None

    def attempt(self, talk: Callable[[], None], now: int) -> bool:
        """Run `talk` unless it is too early after a failure; whether it went well."""
        if now < self._open_at:
            return False
        try:
            talk()
        except (Unreachable, Refused, ProtocolError) as error:
            wait = self._backoff.failed(error.retry_after if isinstance(error, Refused) else None)
            self._open_at = now + int(wait * 1000)
            self.problem = str(error)
            log.warning("%s; next try in %.0f s", error, wait)
            return False
        self._backoff.succeeded()
        self.problem = None
        return True


class BatchSize:
    """How many to send at once: half after a refusal, until the one that is refused stands alone, then more again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = most

    def refused(self, count: int) -> bool:
        """Whether it was a single one, which will never be taken."""
        self.now = max(1, count // 2)
        return count == 1

    def taken(self) -> None:
        self.now = min(self._most, self.now * 2)


class Conversation:
    """What has been told and what is still to tell. Times are CLOCK_BOOTTIME in milliseconds."""

    def __init__(
        self,
        link: Link,
        spool: Spool,
        leases: Leases,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        boot: Callable[[], int] = boot_ms,
    ) -> None:
        self._link = link
        self._spool = spool
        self._leases = leases
        self._boot = boot
        self._signed = Line(backoff())
        self._reports = Line(backoff())
        self._known_inventory = ""
        self._inventory_wanted = True
        self._acks = BatchSize(ACKS_PER_POST_MAX)
        self._replays = BatchSize(REPORTS_PER_POST_MAX)
        self._logs: dict[str, LogTail] = {}  # not spooled: they prove nothing, and the next change says all again
        self.interval_ms = INTERVAL_MS

    @property
    def problem(self) -> str | None:
        """Why the last try failed; None when all is well."""
        return self._reports.problem or self._signed.problem

    def tell(self, report: Report, inventory: Inventory, now: int) -> None:
        """One round. What can't be told now is kept for the next."""
        self._signed.attempt(lambda: self._send_inventory(inventory, report.inventory), now)
        # The newest first: after a long outage the server should know at once how things are now.
        if self._reports.attempt(lambda: self._send_now(report), now):
            self._reports.attempt(self._replay, now)
        else:
            self._spool.add(report)
        self._spool.add_acks(self._leases.drain_acks(now))
        self._signed.attempt(self._send_acks, now)
        self._logs |= {tail.assignment: tail for tail in self._leases.drain_logs()}
        self._signed.attempt(self._send_logs, now)

    def _send_inventory(self, inventory: Inventory, digest: str) -> None:
        if not self._inventory_wanted and digest == self._known_inventory:
            return
        try:
            self._link.send_inventory(inventory)
        except Refused as error:
            if not error.is_final:
                raise
            log.error("the server does not take this inventory: %s", error)
        self._known_inventory, self._inventory_wanted = digest, False

    def _send_now(self, report: Report) -> None:
        self._take(self._link.send_reports([report]))

    def _replay(self) -> None:
        for _ in range(REPLAYS_PER_ROUND):
            batch = self._spool.oldest(self._replays.now, REPORT_BYTES_MAX)
            if not batch:
                return
            try:
                reply = self._link.send_reports(batch)
            except Refused as error:
                if not error.is_final:
                    raise
                if self._replays.refused(len(batch)):
                    log.error("the server will never take report %d of run %d: %s", batch[0].seq, batch[0].run, error)
                    self._spool.drop(batch)
            else:
                self._replays.taken()
                self._spool.remove(batch)
                self._take(reply)

    def _take(self, reply: ReportReply) -> None:
        self.interval_ms = min(max(reply.interval_ms, INTERVAL_MS_MIN), INTERVAL_MS_MAX)
        self._inventory_wanted = self._inventory_wanted or reply.inventory_wanted
        self._leases.obey(reply.commands, self._boot())

    def _send_acks(self) -> None:
        for _ in range(ACK_POSTS_PER_ROUND):
            acks, mark = self._spool.acks(self._acks.now)
            if not acks:
                return
            try:
                self._link.send_acks(acks)
            except Refused as error:
                if not error.is_final:
                    raise
                if not self._acks.refused(len(acks)):
                    continue
                log.error("the server will never take the ack %s of %s: %s", acks[0].phase, acks[0].assignment, error)
            else:
                self._acks.taken()
            self._spool.remove_acks(mark)

    def _send_logs(self) -> None:
        for assignment, tail in list(self._logs.items()):
            try:
                self._link.send_log(tail)
            except Refused as error:
                if not error.is_final:
                    raise
                log.error("the server will never take the log of %s: %s", assignment, error)
            del self._logs[assignment]
