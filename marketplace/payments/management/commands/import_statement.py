"""Book a bank's statement from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.payments.wire.services.importing import FILE_BYTES_MAX, import_statement


class Command(BaseCommand):
    """`manage.py import_statement FILE`: camt.053 or a table; exit status 1 and nothing booked when it is wrong."""

    help = "Book a bank statement (camt.053, or CSV by WIRE_CSV_COLUMNS). The same file again books nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
            done = import_statement(data=data, name=path.name, now=clock.now())
        except (OSError, DomainError) as error:
            raise CommandError(f"{path}: {error}") from error
        said = "" if done.is_new else "imported before; "
        self.stdout.write(f"{path.name}: {said}{done.lines_count} entries, {done.new_count} of them new")
