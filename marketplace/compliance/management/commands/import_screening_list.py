"""Import a screening list: `manage.py import_screening_list consolidated.csv --published 2026-11-24`."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.common import clock
from marketplace.common.errors import Conflict
from marketplace.compliance.listfile import ListFileError
from marketplace.compliance.services.screening import import_list

BYTES_MAX = 150 * 1024 * 1024  # several times the whole list; reading it takes about five times its size


class Command(BaseCommand):
    """Replaces the list; a malformed file, or one that lost half of its entries, changes nothing."""

    help = "Import a screening list in the form of the US Consolidated Screening List, CSV or JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--published", type=date.fromisoformat, help="day of the list; without it that of the file")
        parser.add_argument("--may-be-older", action="store_true", help="take a list older than the one in force")
        parser.add_argument("--may-shrink", action="store_true", help="take a list with less than half of the entries")

    def handle(self, *args: Any, **options: Any) -> None:
        now, file = clock.now(), options["file"]
        published = options["published"] or min(_day_of(file), now.astimezone(UTC).date())
        if published > now.astimezone(UTC).date():
            raise CommandError(f"{published} is yet to come")
        try:
            made = import_list(
                text=_text_of(file),
                file_name=file.name,
                published_on=published,
                actor="system",
                now=now,
                may_shrink=options["may_shrink"],
                may_be_older=options["may_be_older"],
            )
        except (ListFileError, Conflict) as error:
            raise CommandError(f"{file} is refused, the list stays as it was: {error}") from error
        self.stdout.write(f"{made.public_id}: {made.entries_count} entries of {made.published_on}")


def _day_of(file: Path) -> date:
    """When it was last written: what lay on a disk for a month is not today's list."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error}") from error


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > BYTES_MAX:
            raise CommandError(f"{file} is larger than {BYTES_MAX} bytes")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} can't be read: {error}") from error
