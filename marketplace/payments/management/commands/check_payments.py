"""Whether what payments set aside, wait for and believe of the gateways is so."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.common import clock
from marketplace.payments.reconciliation.checks import troubles

LINES_MAX = 50


class Command(BaseCommand):
    """`manage.py check_payments`: exit status 1 when anything is not in order."""

    help = "Compare set-aside money with open rows, look for rows that wait unseen, and say what reconciliation found."

    def handle(self, *args: Any, **options: Any) -> None:
        found = troubles(clock.now())
        for line in found[:LINES_MAX]:
            self.stdout.write(line)
        if found:
            raise CommandError(f"payments: {len(found)} things are not in order")
        self.stdout.write("payments are in order")
