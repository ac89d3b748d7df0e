"""`manage.py trial_balance --at 2026-12-01`: what every kind of account held before that day; status 1 unless 0."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.books.selectors import totals, trial_balance
from marketplace.common.money import format_micros


class Command(BaseCommand):
    """One line per currency, kind and gateway, then the sum."""

    help = "Print the trial balance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--at", type=date.fromisoformat, help="up to the beginning of this day; now without it")
        parser.add_argument("--currency")

    def handle(self, *args: Any, **options: Any) -> None:
        at = datetime.combine(options["at"], time(), UTC) if options["at"] else None
        rows = trial_balance(at, options["currency"])
        for row in rows:
            name = f"{row.kind} {row.ref}".strip()
            self.stdout.write(
                f"{row.currency} {name:<24} {row.accounts_count:>6} {format_micros(row.balance_micros):>24}"
            )
        sums = totals(rows)
        for currency, micros in sorted(sums.items()):
            self.stdout.write(f"{currency} sum {format_micros(micros)}")
        if any(sums.values()):
            raise CommandError("the books do not balance")
