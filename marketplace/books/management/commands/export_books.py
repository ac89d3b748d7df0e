"""`manage.py export_books hledger --firm firm_… --output books.journal`: the books for another program."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.accounts.models import Firm
from marketplace.books.exporting import write_books
from marketplace.books.statements import period_of
from marketplace.books.syntax import SYNTAXES
from marketplace.common import clock


class Command(BaseCommand):
    """Everybody's books, or one firm's, as text."""

    help = "Write the books for beancount or hledger."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("syntax", choices=sorted(SYNTAXES))
        parser.add_argument("--firm", help="the id of the firm; everybody's books without it")
        parser.add_argument("--since", type=date.fromisoformat, help="the first day, as 2026-11-01")
        parser.add_argument("--until", type=date.fromisoformat, help="the day after the last one")
        parser.add_argument("--output", help="a file; to the terminal without it")

    def handle(self, *args: Any, **options: Any) -> None:
        now, firm, period = clock.now(), None, None
        if options["firm"]:
            firm = Firm.objects.filter(public_id=options["firm"]).first()
            if firm is None:
                raise CommandError(f"there is no firm {options['firm']}")
        if options["since"] or options["until"]:
            period = period_of(options["since"], options["until"], now)
        given = {"syntax": options["syntax"], "firm": firm, "period": period, "now": now}
        if not options["output"]:
            write_books(out=sys.stdout, **given)
            return
        with Path(options["output"]).open("w", encoding="utf-8") as out:
            self.stdout.write(f"{write_books(out=out, **given)} transactions")
