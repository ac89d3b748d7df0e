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

# Both sides are append-only, so what agrees once agrees for good: it is left out. It must be told once only, booked
# once and by its own name, in one currency and the same amounts, and be no part of a payout that is compared.
# Sorted by name and not joined: PostgreSQL can't guess how many of each there are.
SIDES = """
WITH booked AS (
    SELECT j.ref, j.at, e.currency,
        coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'clearing'), 0)::bigint AS net,
        coalesce(-sum(e.amount_micros) FILTER (WHERE a.kind = 'gateway_fee'), 0)::bigint AS fee
    FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id JOIN ledger_journal j ON j.id = e.journal_id
    WHERE a.firm_id IS NULL AND a.ref = %(gateway)s AND a.kind IN ('clearing', 'gateway_fee')
        AND j.code <> 'reconciliation'
    GROUP BY j.id, e.currency
), sides AS (
    SELECT transaction_id AS name, id, type, currency, amount_micros - fee_micros AS net, fee_micros AS fee,
        source_id, happened_at AS at, '' AS ref
    FROM payments_gatewaytransaction WHERE gateway = %(gateway)s
    UNION ALL SELECT split_part(ref, ':', 2), NULL, '', currency, net, fee, '', at, ref FROM booked
), compared AS (
    SELECT *, count(id) OVER w = 1 AND count(*) OVER w = 2 AND max(ref) OVER w = %(gateway)s || ':' || name
        AND min(currency) OVER w = max(currency) OVER w AND min(net) OVER w = max(net) OVER w
        AND min(fee) OVER w = max(fee) OVER w AND max(type) OVER w <> 'payout'
        AND max(at) FILTER (WHERE id IS NOT NULL) OVER w < %(moment)s AND NOT name = ANY(%(parts)s) AS agrees
    FROM sides WINDOW w AS (PARTITION BY name)
)
SELECT id, name, type, currency, net, fee, source_id, at, ref FROM compared WHERE agrees IS NOT TRUE ORDER BY id, ref
"""
TOLD = """
SELECT currency, sum(amount_micros - fee_micros)::bigint FROM payments_gatewaytransaction
WHERE gateway = %(gateway)s GROUP BY currency
"""
# Payouts, without those that are what their own entry and their parts say.
PAYOUTS = """
WITH own AS (
    SELECT source_id, -sum(amount_micros) AS micros FROM payments_gatewaytransaction
    WHERE gateway = %(gateway)s AND type = 'payout' GROUP BY source_id
), made AS (
    SELECT p.id, coalesce(sum(t.amount_micros - t.fee_micros) FILTER (WHERE t.type NOT LIKE 'payout%%'), 0) AS micros,
        count(*) = cardinality(p.parts) AND count(t.id) = cardinality(p.parts) AS are_told
    FROM payments_platformpayout p CROSS JOIN unnest(p.parts) part
    LEFT JOIN payments_gatewaytransaction t ON t.gateway = p.gateway AND t.transaction_id = part
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
    rows = _rows(SIDES, given)
    told = [row for row in rows if row[0] is not None]
    return Books(
        gateway=run.gateway,
        entries=_entries(told),
        booked=[
            Booked(ref, currency, net, fee, at) for key, _, _, currency, net, fee, _, at, ref in rows if key is None
        ],
        holdings={currency: Holding(*each).total_micros for currency, each in run.holdings.items()},
        payouts=payouts,
        in_transit=in_transit(run.gateway),
        read_at=run.read_at,
        settled_before=run.read_at - GRACE,
        left_out=_left_out(dict(_rows(TOLD, given)), told),
        accepted=_accepted(run.gateway),
    )


def _entries(told: Iterable[tuple[Any, ...]]) -> list[GatewayEntry]:
    """One per name, as it was told last; rows come in the order in which they were told."""
    found: dict[str, GatewayEntry] = {}
    for _, name, kind, currency, net, fee, source, at, _ in told:
        before = found.get(name)
        first = before and (before.first or before)
        found[name] = GatewayEntry(name, kind, currency, net + fee, fee, source, at, first)
    return list(found.values())


def _left_out(all_told: dict[str, int], told: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    """The net sums of what was told and is not among `told`."""
    for row in told:
        all_told[row[3]] -= row[4]
    return {currency: micros for currency, micros in all_told.items() if micros}


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
