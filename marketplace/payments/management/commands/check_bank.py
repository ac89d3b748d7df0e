"""Whether the ledger says what the bank says."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.common.money import format_micros
from marketplace.payments.wire.selectors import differences


class Command(BaseCommand):
    """`manage.py check_bank`: exit status 1 when a balance differs."""

    help = "Compare the clearing account with the newest statement of each currency, and suspense with what waits."

    def handle(self, *args: Any, **options: Any) -> None:
        found = differences()
        for each in found:
            self.stdout.write(
                f"{each.currency}: bank {format_micros(each.bank_micros)} on {each.statement.to_on}, "
                f"ledger {format_micros(each.ledger_micros)}, difference {format_micros(each.balance_micros)} "
                f"(confirmed by hand and on no statement {format_micros(each.by_hand_micros)}); "
                f"suspense {format_micros(each.suspense_micros)}, waiting {format_micros(each.unsettled_micros)}"
            )
        if any(not each.is_clean for each in found):
            raise CommandError("the ledger and the bank differ")
        self.stdout.write("the ledger says what the bank says")
