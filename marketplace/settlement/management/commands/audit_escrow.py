"""Say which orders hold money that nothing needs, or need money that they do not hold."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.settlement.audit import wrong_escrows


class Command(BaseCommand):
    """`manage.py audit_escrow`: exit status 1 when an order holds anything but what it can still cost."""

    help = "Compare what every order holds in escrow with what its leases can still cost."

    def handle(self, *args: Any, **options: Any) -> None:
        found = wrong_escrows()
        for each in found[:20]:
            self.stdout.write(f"{each.order} holds {each.held_micros} micros and needs {each.needed_micros}")
        if found:
            raise CommandError(f"{len(found)} orders hold the wrong amount")
        self.stdout.write("every order holds what it can still cost")
