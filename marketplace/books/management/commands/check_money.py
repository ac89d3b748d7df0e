"""Every check of money that there is, one after the other."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

CHECKS = ("audit_ledger", "audit_escrow", "audit_books", "check_bank", "check_payments")


class Command(BaseCommand):
    """`manage.py check_money`: exit status 1 when any of them says that something is wrong; all of them are run."""

    help = f"Run {', '.join(CHECKS)}."

    def handle(self, *args: Any, **options: Any) -> None:
        failed = []
        for name in CHECKS:
            self.stdout.write(f"== {name}")
            try:
                call_command(name, stdout=self.stdout, stderr=self.stderr)
            except CommandError as error:
                self.stdout.write(str(error))
                failed.append(name)
        if failed:
            raise CommandError(f"not in order: {', '.join(failed)}")
        self.stdout.write("all money is in order")
