"""What a run found becomes rows, and money that nobody can name stands on suspense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection, transaction

from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, Posting, post_many
from marketplace.payments.gateway import Holding
from marketplace.payments.reconciliation.core import Found, Key, Kind, differences
from marketplace.payments.reconciliation.models import Difference, ReconciliationRun
from marketplace.payments.reconciliation.selectors import (
    books_of,
    held_micros,
    in_transit,
    open_differences,
    suspense_of,
)
from marketplace.payments.reconciliation.services.costs import book_costs
from marketplace.payments.reconciliation.services.reading import begin_again
from marketplace.payments.reconciliation.states import DifferenceState, RunState

ONE_AT_A_TIME = 0x66616C63  # an advisory lock: two comparisons never open the same difference
READS_MAX = 3  # a balance that was read in the middle of a second's entries fits the next time


@transaction.atomic
def compare(run: ReconciliationRun, now: datetime) -> bool:
    """Open what differs and close what does not any more; False when the gateway has to be read again first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])
    book_costs(run.gateway, now)
    found = differences(books_of(run))
    if run.reads_count < READS_MAX and any(each.key.kind is Kind.BALANCE for each in found):
        begin_again(run)
        return False
    before = {_key(each): each for each in open_differences().filter(gateway=run.gateway).select_for_update()}
    after = {each.key for each in found}
    _open_or_see_again(run, found, before, now)
    gone = [each for key, each in before.items() if key not in after]
    for each in gone:
        transition(each, DifferenceState.GONE, now=now, data=_told(each), closed_at=now)
    _put_on_suspense(run, gone, now)
    transition(
        run, RunState.DONE, now=now, settled_at=now, found_count=len(found), error="", totals=_totals(run),
        data={"new": run.new_count, "differences": len(found)},
    )  # fmt: skip
    return True


def _key(difference: Difference) -> Key:
    return Key(Kind(difference.kind), difference.subject, difference.currency)


def _open_or_see_again(
    run: ReconciliationRun, found: Sequence[Found], before: Mapping[Key, Difference], now: datetime
) -> None:
    new: list[Difference] = []
    for each in found:
        row = before.get(each.key) or Difference(
            gateway=run.gateway, kind=each.key.kind.value, subject=each.key.subject, currency=each.key.currency,
            opened_at=now,
        )  # fmt: skip
        row.expected_micros, row.found_micros, row.off_micros = (
            each.expected_micros, each.found_micros, each.off_micros,
        )  # fmt: skip
        row.evidence, row.seen_at = dict(each.evidence), now
        new += [] if row.pk else [row]
    Difference.objects.bulk_create(new)
    fields = ["expected_micros", "found_micros", "off_micros", "evidence", "seen_at"]
    seen = [before[each.key] for each in found if each.key in before]
    Difference.objects.bulk_update(seen, fields, batch_size=500)
    for row in new:
        record_event(
            firm_id=None, type="difference.opened", subject=row.public_id, reason=row.kind, data=_told(row), now=now
        )
    _put_on_suspense(run, [*new, *seen], now)


def _told(difference: Difference) -> dict[str, object]:
    return {
        "gateway": difference.gateway,
        "subject": difference.subject,
        "currency": difference.currency,
        "expected_micros": difference.expected_micros,
        "found_micros": difference.found_micros,
        "off_micros": difference.off_micros,
    }


def _put_on_suspense(run: ReconciliationRun, rows: Sequence[Difference], now: datetime) -> None:
    """One journal for each difference whose suspense is not what the ledger lacks; nothing for one that is closed."""
    held = held_micros(run.gateway, [row.public_id for row in rows])
    accounts: dict[str, tuple[Account, Account]] = {}
    postings = []
    for row in rows:
        wanted = row.off_micros if row.state == DifferenceState.OPEN else 0
        more = wanted - held.get(row.public_id, 0)
        if not more:
            continue
        if row.currency not in accounts:
            accounts[row.currency] = (_clearing(run.gateway, row.currency), suspense_of(run.gateway, row.currency))
        clearing, suspense = accounts[row.currency]
        postings.append(
            Posting(
                ref=f"reconciliation:{row.public_id}:{run.public_id}",
                code=Code.RECONCILIATION,
                legs=(Leg(clearing, -more), Leg(suspense, more)),
                subject=row.public_id,
                data={"kind": row.kind, "subject": row.subject, "run": run.public_id},
            )
        )
    if postings:
        post_many(postings, now=now)


def _clearing(gateway: str, currency: str) -> Account:
    return account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=gateway)


def _totals(run: ReconciliationRun) -> dict[str, dict[str, int]]:
    """What the page shows by currency: what the gateway says, and the ledger after this run."""
    accounts = Account.objects.filter(firm=None, kind=AccountKind.CLEARING, ref=run.gateway)
    transit = in_transit(run.gateway)
    currencies = sorted({*run.holdings, *transit, *accounts.values_list("currency", flat=True)})
    return {each: _total(run, each, transit.get(each, (0, 0))) for each in currencies}


def _total(run: ReconciliationRun, currency: str, transit: tuple[int, int]) -> dict[str, int]:
    holding = Holding(*run.holdings.get(currency, (0, 0)))
    ledger = -balance_micros(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=run.gateway)
    suspense = balance_micros(firm=None, kind=AccountKind.SUSPENSE, currency=currency, ref=run.gateway)
    return {
        "available_micros": holding.available_micros,
        "pending_micros": holding.pending_micros,
        "in_transit_micros": transit[0],
        "ledger_micros": ledger + transit[1],
        "suspense_micros": suspense,
    }
