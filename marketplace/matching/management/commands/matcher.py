"""`manage.py matcher`: the process that runs the rounds."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, connection

from marketplace.common import clock
from marketplace.common.hints import Bell, ring
from marketplace.leases.services.advancing import start_reserved_leases
from marketplace.matching.rounds import run_due_round

log = logging.getLogger(__name__)
AWAY_SECONDS = 1.0


class Command(BaseCommand):
    """Runs until SIGTERM. Several may run: an advisory lock lets one write at a time."""

    help = "Match orders with supply, round by round."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        with Bell("inbox", "supply") as bell:
            while not stop.is_set():
                try:
                    work()
                except Error as error:
                    log.warning("PostgreSQL is away: %s", error)
                    connection.close()
                    stop.wait(AWAY_SECONDS)
                else:
                    bell.wait(settings.MATCH_INTERVAL_MS / 1000)


def work() -> None:
    """One turn: a round when one is due, and what it reserved is started."""
    now = clock.now()
    if run_due_round(now=now) is not None:
        start_reserved_leases(now=now)
        ring("orders")
