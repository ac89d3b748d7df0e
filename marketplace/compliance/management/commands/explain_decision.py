"""Print the record of a decision in full: `manage.py explain_decision cmp_…`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.common.errors import NotFound
from marketplace.compliance.explaining import explain
from marketplace.compliance.selectors import any_decision


class Command(BaseCommand):
    """What was asked, what it was compared with, which rows decided, and whether it can be made again."""

    help = "Print the record of a compliance decision in full."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("decision", help="its public id, cmp_…")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(explain(any_decision(options["decision"])))
        except NotFound as error:
            raise CommandError(f"there is no decision {options['decision']}") from error
