"""Put the facts files of GPU models into the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.catalogue.factsheet import FactsError
from marketplace.catalogue.services import load_facts


class Command(BaseCommand):
    """May be run at any time; a second run changes nothing."""

    help = __doc__ or ""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            loaded = load_facts()
        except FactsError as error:
            raise CommandError(f"the facts files are malformed, nothing was changed: {error}") from error
        self.stdout.write(
            f"{loaded.models} models ({loaded.created} new, {loaded.changed} changed, {loaded.withdrawn} withdrawn), "
            f"{loaded.aliases} aliases"
        )
