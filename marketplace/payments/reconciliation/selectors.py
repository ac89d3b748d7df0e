"""What is compared, what differs, and how old the newest comparison is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet, Sum

from marketplace.common.errors import NotFound
from marketplace.ledger.models import Account, AccountKind, Entry
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.payments.gateway import Holding
from marketplace.payments.models import ManualBooking
from marketplace.payments.reconciliation.core import Accepted, Booked, Books, GatewayEntry, Key, Kind, PaidOut
from marketplace.payments.reconciliation.models import Difference, PlatformPayout, ReconciliationRun
from marketplace.payments.reconciliation.states import DifferenceState, PlatformPayoutState, RunState
from marketplace.payments.selectors import gateways
from marketplace.payments.wire.states import BookingState

GRACE = timedelta(hours=1)  # an event may be late by this much, and a list as well
OLD_AFTER = timedelta(hours=26)  # a nightly run that did not come
MOMENT = timedelta(days=1)  # entries this young stay in: the balance is compared with them one by one
ON_ITS_WAY = (PlatformPayoutState.SENT, PlatformPayoutState.PAID)

# Both sides are append-only, so what agrees once agrees for good: all of that is added up here and left out of the
# comparison. It must be told once only, booked by its own name alone, in one currency, and be no part of a payout that
# is still to be compared. Each step is made once: without statistics of them PostgreSQL would make them for each row.
SIDES = """
WITH told AS MATERIALIZED (
    SELECT transaction_id AS name, min(id) AS first_id, max(id) AS last_id FROM payments_gatewaytransaction
    WHERE gateway = %(gateway)s GROUP BY transaction_id
), booked AS MATERIALIZED (
    SELECT j.ref, j.at, split_part(j.ref, ':', 2) AS name, e.currency,
        coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'clearing'), 0)::bigint AS net,
        coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'gateway_fee'), 0)::bigint AS fee
    FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id JOIN ledger_journal j ON j.id = e.journal_id
    WHERE a.firm_id IS NULL AND a.ref = %(gateway)s AND a.kind IN ('clearing', 'gateway_fee')
        AND j.code <> 'reconciliation'
    GROUP BY j.id, e.currency
), named AS MATERIALIZED (
    SELECT name, count(*) AS times, min(ref) AS ref, min(currency) AS currency, min(net) AS net, min(fee) AS fee
    FROM booked GROUP BY name
), agreed AS MATERIALIZED (
    SELECT t.transaction_id AS name, t.currency, t.amount_micros - t.fee_micros AS net
    FROM told JOIN payments_gatewaytransaction t ON t.id = told.first_id JOIN named n ON n.name = told.name
    WHERE told.first_id = told.last_id AND n.times = 1 AND n.ref = %(gateway)s || ':' || t.transaction_id
        AND n.currency = t.currency AND n.net = t.amount_micros - t.fee_micros AND n.fee = t.fee_micros
        AND t.happened_at < %(moment)s AND t.type <> 'payout' AND NOT t.transaction_id = ANY(%(parts)s)
)
"""
LEFT_OUT = "SELECT currency, sum(net)::bigint FROM agreed GROUP BY currency"
ENTRIES = """
SELECT t.transaction_id, t.type, t.currency, t.amount_micros, t.fee_micros, t.source_id, t.happened_at,
    f.type, f.currency, f.amount_micros, f.fee_micros, f.source_id, f.happened_at, f.id <> t.id
FROM told JOIN payments_gatewaytransaction t ON t.id = told.last_id
JOIN payments_gatewaytransaction f ON f.id = told.first_id
LEFT JOIN agreed ON agreed.name = told.name WHERE agreed.name IS NULL
"""
BOOKED = """
SELECT booked.ref, booked.currency, booked.net, booked.fee, booked.at FROM booked
LEFT JOIN agreed ON agreed.name = booked.name WHERE agreed.name IS NULL
"""

# Payouts, without those that are what their own entry and their parts say.
PAYOUTS = """
WITH told AS MATERIALIZED (
    SELECT transaction_id AS name, max(id) AS id, count(*) AS times FROM payments_gatewaytransaction
    WHERE gateway = %(gateway)s GROUP BY transaction_id
), own AS MATERIALIZED (
    SELECT t.source_id, -sum(t.amount_micros) AS micros FROM told JOIN payments_gatewaytransaction t ON t.id = told.id
    WHERE t.type = 'payout' GROUP BY t.source_id
), made AS MATERIALIZED (
    SELECT p.id, coalesce(sum(t.amount_micros - t.fee_micros) FILTER (WHERE t.type NOT LIKE 'payout%%'), 0) AS micros,
        bool_and(told.times = 1) AS are_told
    FROM payments_platformpayout p CROSS JOIN unnest(p.parts) part
    LEFT JOIN told ON told.name = part LEFT JOIN payments_gatewaytransaction t ON t.id = told.id
    WHERE p.gateway = %(gateway)s GROUP BY p.id
)
SELECT p.object_id, p.currency, p.amount_micros, p.happened_at, p.parts FROM payments_platformpayout p
LEFT JOIN own ON own.source_id = p.object_id LEFT JOIN made ON made.id = p.id
WHERE p.gateway = %(gateway)s AND (
    p.happened_at >= %(moment)s OR own.micros IS DISTINCT FROM p.amount_micros
    OR (p.parts IS NOT NULL AND NOT (coalesce(made.micros, 0) = p.amount_micros AND coalesce(made.are_told, false)))
) ORDER BY p.id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the page shows of a gateway; `is_red` until a run of today found everything explained."""

    gateway: str
    last: ReconciliationRun | None
    waiting: ReconciliationRun | None
    failed: ReconciliationRun | None
    open_count: int
    is_old: bool

    @property
    def is_red(self) -> bool:
        return self.is_old or bool(self.open_count) or self.failed is not None


def bookkeeping_gateways() -> list[str]:
    """The names of the gateways that show their own books."""
    return [name for name, each in gateways().items() if hasattr(each, "entries")]


def standings(now: datetime) -> list[Standing]:
    """One per gateway that shows its books."""
    return [_standing(name, now) for name in bookkeeping_gateways()]


def _standing(gateway: str, now: datetime) -> Standing:
    runs = ReconciliationRun.objects.filter(gateway=gateway).order_by("-pk")
    last, settled = runs.filter(state=RunState.DONE).first(), runs.exclude(state=RunState.ASKED).first()
    return Standing(
        gateway=gateway,
        last=last,
        waiting=runs.filter(state=RunState.ASKED).first(),
        failed=settled if settled and settled.state == RunState.FAILED else None,
        open_count=open_differences().filter(gateway=gateway).count(),
        is_old=last is None or last.read_at is None or now - last.read_at > OLD_AFTER,
    )


def open_differences() -> QuerySet[Difference]:
    """What is red, oldest first."""
    return Difference.objects.filter(state=DifferenceState.OPEN).order_by("pk")


def closed_differences() -> QuerySet[Difference]:
    """What was red."""
    return Difference.objects.exclude(state=DifferenceState.OPEN).select_related("closed_by")


def any_difference(public_id: str) -> Difference:
    """One difference, for operators."""
    found = Difference.objects.select_related("closed_by").filter(public_id=public_id).first()
    if found is None:
        raise NotFound
    return found


def difference_for_update(public_id: str) -> Difference:
    """One difference, locked until the end of the transaction."""
    found = Difference.objects.select_for_update().filter(public_id=public_id).first()
    if found is None:
        raise NotFound
    return found


def asked_about(difference: Difference) -> ManualBooking | None:
    """The booking that waits for another operator."""
    asked = ManualBooking.objects.filter(state=BookingState.ASKED, subject=difference.public_id)
    return asked.select_related("asked_by", "firm").first()


def suspense_of(gateway: str, currency: str) -> Account:
    """What is at the gateway, or missing there, and nobody's yet."""
    return account_for(firm=None, kind=AccountKind.SUSPENSE, currency=currency, ref=gateway)


def transit_of(gateway: str, currency: str) -> Account:
    """What has left the gateway for the platform's bank account: below zero until a statement shows it."""
    return account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=f"{gateway}_transit")


def held_micros(gateway: str, subjects: Iterable[str]) -> dict[str, int]:
    """What suspense holds for each of these differences, by their public ids."""
    entries = Entry.objects.filter(
        account__firm=None, account__kind=AccountKind.SUSPENSE, account__ref=gateway, journal__subject__in=subjects
    )
    sums = entries.values_list("journal__subject").annotate(sum=Sum("amount_micros"))
    return dict(sums.order_by("journal__subject"))


def in_transit(gateway: str) -> dict[str, tuple[int, int]]:
    """Currency → what payouts are on their way to the bank, and what the ledger says of it."""
    rows = PlatformPayout.objects.filter(gateway=gateway, state__in=ON_ITS_WAY)
    sums: dict[str, int] = defaultdict(int)
    for currency, micros in rows.values_list("currency", "amount_micros"):
        sums[currency] += micros
    accounts = Account.objects.filter(firm=None, kind=AccountKind.CLEARING, ref=f"{gateway}_transit")
    currencies = {*sums, *accounts.values_list("currency", flat=True)}
    return {
        each: (
            sums[each],
            -balance_micros(firm=None, kind=AccountKind.CLEARING, currency=each, ref=f"{gateway}_transit"),
        )
        for each in sorted(currencies)
    }


def books_of(run: ReconciliationRun, *, leave_out: bool = True) -> Books:
    """Both sides of a run whose list was read; what is known to agree is left out, unless all is wanted."""
    assert run.read_at is not None
    moment = run.read_at - MOMENT if leave_out else datetime.min.replace(tzinfo=UTC)
    payouts = [_payout(row) for row in _rows(PAYOUTS, {"gateway": run.gateway, "moment": moment})]
    given = {
        "gateway": run.gateway,
        "moment": moment,
        "parts": [part for payout in payouts for part in payout.parts or ()],
    }
    return Books(
        gateway=run.gateway,
        entries=[_entry(row) for row in _rows(SIDES + ENTRIES, given)],
        booked=[Booked(*row) for row in _rows(SIDES + BOOKED, given)],
        holdings={currency: Holding(*each).total_micros for currency, each in run.holdings.items()},
        payouts=payouts,
        in_transit=in_transit(run.gateway),
        read_at=run.read_at,
        settled_before=run.read_at - GRACE,
        left_out=dict(_rows(SIDES + LEFT_OUT, given)),
        accepted=_accepted(run.gateway),
    )


def _entry(row: tuple[Any, ...]) -> GatewayEntry:
    entry_id, first, has_changed = row[0], row[7:13], row[13]
    kind, currency, amount, fee, source, at = row[1:7]
    before = GatewayEntry(entry_id, *first) if has_changed else None
    return GatewayEntry(entry_id, kind, currency, amount, fee, source, at, before)


def _payout(row: tuple[Any, ...]) -> PaidOut:
    object_id, currency, micros, at, parts = row
    return PaidOut(object_id, currency, micros, at, None if parts is None else tuple(parts))


def _accepted(gateway: str) -> Mapping[Key, Accepted]:
    """What was explained, by what it was about; what was booked for the same thing more than once adds up."""
    found: dict[Key, Accepted] = {}
    rows = Difference.objects.filter(gateway=gateway, state=DifferenceState.EXPLAINED)
    for each in rows.order_by("pk"):
        key = Key(Kind(each.kind), each.subject, each.currency)
        before = found[key].off_micros if key in found else 0
        found[key] = Accepted(each.expected_micros, each.found_micros, before + each.off_micros)
    return found


def _rows(query: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, given)
        return list(cursor.fetchall())
