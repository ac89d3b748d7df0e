"""Charging what was proved, and closing leases when everything is settled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import close_lease, end_lease
from marketplace.leases.states import EndReason, LeaseState
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post_many
from marketplace.ledger.services import Posting as Journal
from marketplace.settlement.pricing import Posting, next_posting
from marketplace.settlement.selectors import Span, epoch_ms, from_epoch_ms, gap_max_ms, points_of
from marketplace.settlement.usage import ReportPoint, Usage, Window, usage_after
from nodes.services.assignments import stopped_at

Accounts = dict[tuple[int | None, str, str, str], Account]

log = logging.getLogger(__name__)
CHARGED = (LeaseState.ACTIVE, LeaseState.ENDING)
LIMIT = 500
AT_ONCE = 100  # leases in one transaction; sellers' accounts are locked for as long
WORK_SECONDS = 30  # of one tick, well below Celery's limit
METERED = ("gpu_ms", "frozen_gpu_ms", "frozen_through_at", "proven_until_at", "settled_micros", "seller_micros")
SAVE = """
UPDATE leases_lease l SET gpu_ms = v.gpu_ms, frozen_gpu_ms = v.frozen_gpu_ms, frozen_through_at = v.frozen_through_at,
    proven_until_at = v.proven_until_at, settled_micros = v.settled_micros, seller_micros = v.seller_micros,
    settled_at = %s
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[])
    v(id, gpu_ms, frozen_gpu_ms, frozen_through_at, proven_until_at, settled_micros, seller_micros)
WHERE l.id = v.id
"""


def settle_leases(*, now: datetime, limit: int = LIMIT) -> int:
    """Settle what is ending, and each running lease about once a minute; returns how many."""
    keys = list(_due(now).order_by(F("settled_at").asc(nulls_first=True), "pk").values_list("pk", flat=True)[:limit])
    for first in range(0, len(keys), AT_ONCE):
        for pk in _settle_running(keys[first : first + AT_ONCE], now):
            _settle_alone(pk, now)
    return len(keys)


def work(clock: Callable[[], datetime]) -> int:
    """Settle what is due, for WORK_SECONDS at most; several may work at the same time. Returns how many."""
    begun, settled = clock(), 0
    while clock() - begun < timedelta(seconds=WORK_SECONDS):
        more = settle_leases(now=clock())
        settled += more
        if more < LIMIT:
            break
    return settled


def _due(now: datetime) -> QuerySet[Lease]:
    last = now - timedelta(seconds=settings.SETTLE_SECONDS)
    return Lease.objects.filter(
        Q(state=LeaseState.ENDING)
        | Q(state=LeaseState.ACTIVE, settled_at=None, active_at__lte=last)
        | Q(state=LeaseState.ACTIVE, settled_at__lte=last)
    )


def _settle_alone(pk: int, now: datetime) -> None:
    try:
        settle_lease(lease_id=pk, now=now)
    except Exception:  # one lease that can't be settled must not keep the others from their money
        log.exception("lease %s can't be settled now", pk)
        Lease.objects.filter(pk=pk).update(settled_at=now)


def _settle_running(keys: Sequence[int], now: datetime) -> list[int]:
    """Post for the leases that go on running, all in one transaction; returns those that want to be settled alone.

    Leases that another worker is at are its own. Whatever is wrong with one of them, none is settled here then.
    """
    try:
        with transaction.atomic():
            return _post_all(keys, now)
    except Exception:
        log.exception("%s leases can't be settled together", len(keys))
        return list(keys)


def _post_all(keys: Sequence[int], now: datetime) -> list[int]:
    locked = _due(now).select_for_update(of=("self", "order"), skip_locked=True).select_related("order")
    leases = list(locked.filter(pk__in=keys).order_by("pk"))
    running = [lease for lease in leases if lease.state == LeaseState.ACTIVE]
    points = points_of([_span(lease) for lease in running]) if running else {}
    settled: list[tuple[Lease, Posting]] = []
    for lease in running:
        _meter(lease, points[lease.pk], now)
        posting = _next(lease)
        if lease.settled_micros + posting.total_micros < lease.escrow_micros:  # it ends by what uses it up
            settled.append((_counted(lease, posting), posting))
    accounts = _accounts_of([lease for lease, _ in settled])
    post_many([_journal(lease, posting, accounts) for lease, posting in settled if posting.total_micros], now=now)
    _save([lease for lease, _ in settled], now)
    return sorted({lease.pk for lease in leases} - {lease.pk for lease, _ in settled})


def _save(leases: Sequence[Lease], now: datetime) -> None:
    columns = [[getattr(lease, name) for lease in leases] for name in METERED]
    with connection.cursor() as cursor:
        cursor.execute(SAVE, [now, [lease.pk for lease in leases], *columns])


def _accounts_of(leases: Sequence[Lease]) -> Accounts:
    """The escrow and earnings accounts of the leases that are there already, by firm, kind, currency and ref."""
    refs = [lease.order.public_id for lease in leases]
    escrows = Q(kind=AccountKind.ESCROW, firm__in={lease.buyer_id for lease in leases}, ref__in=refs)
    earnings = Q(kind=AccountKind.EARNINGS, firm__in={lease.seller_id for lease in leases}, ref="")
    return {
        (each.firm_id, each.kind, each.currency, each.ref): each for each in Account.objects.filter(escrows | earnings)
    }


@transaction.atomic
def settle_lease(*, lease_id: int, now: datetime) -> None:
    """Post what has become due, end a lease whose escrow is used up, close one that is over and fully proved."""
    lease = lease_for_update(lease_id)
    if lease.state not in CHARGED:
        return
    _meter(lease, points_of([_span(lease)])[lease.pk], now)
    posting = _next(lease)
    if posting.total_micros:
        post_many([_journal(_counted(lease, posting), posting, {})], now=now)
    lease.settled_at = now
    lease.save(update_fields=[*METERED, "settled_at"])
    if lease.state == LeaseState.ENDING and _is_complete(lease, now):
        close_lease(lease=lease, now=now)
    elif lease.state == LeaseState.ACTIVE and lease.settled_micros >= lease.escrow_micros:
        end_lease(lease=lease, reason=EndReason.FUNDS_EXHAUSTED, now=now)


def _span(lease: Lease) -> Span:
    """What of its reports has to be read: a span that crosses the frozen boundary needs the report before it."""
    assert lease.active_at and lease.ends_at
    margin = timedelta(milliseconds=gap_max_ms())
    return Span(
        lease, (lease.frozen_through_at or lease.active_at) - margin, (lease.ended_at or lease.ends_at) + margin
    )


def _meter(lease: Lease, points: Iterable[ReportPoint], now: datetime) -> None:
    assert lease.active_at and lease.ends_at
    end = lease.ended_at or lease.ends_at
    before = Usage(
        gpu_ms=lease.gpu_ms,
        proven_until_ms=epoch_ms(lease.proven_until_at) if lease.proven_until_at else None,
        frozen_gpu_ms=lease.frozen_gpu_ms,
        frozen_through_ms=epoch_ms(lease.frozen_through_at) if lease.frozen_through_at else None,
    )
    usage = usage_after(
        before=before,
        points=points,
        window=Window(start_ms=epoch_ms(lease.active_at), end_ms=epoch_ms(end), gap_max_ms=gap_max_ms()),
        freeze_before_ms=epoch_ms(now - timedelta(seconds=settings.LEASE_GRACE_SECONDS)),
    )
    lease.gpu_ms = usage.gpu_ms
    lease.frozen_gpu_ms = usage.frozen_gpu_ms
    if usage.frozen_through_ms is not None:
        lease.frozen_through_at = from_epoch_ms(usage.frozen_through_ms)
    if usage.proven_until_ms is not None:
        lease.proven_until_at = from_epoch_ms(usage.proven_until_ms)


def _next(lease: Lease) -> Posting:
    return next_posting(
        price_micros_per_gpu_hour=lease.price_micros_per_gpu_hour,
        gpu_ms=lease.gpu_ms,
        escrow_micros=lease.escrow_micros,
        settled_micros=lease.settled_micros,
        seller_micros=lease.seller_micros,
        fee_basis_points=lease.fee_basis_points,
    )


def _counted(lease: Lease, posting: Posting) -> Lease:
    lease.settled_micros += posting.total_micros
    lease.seller_micros += posting.seller_micros
    return lease


def _journal(lease: Lease, posting: Posting, accounts: Accounts) -> Journal:
    """What a counted posting moves."""
    order = lease.order.public_id

    def account(firm_id: int | None, kind: AccountKind, ref: str = "") -> Account:
        found = accounts.get((firm_id, kind, lease.currency, ref))
        if found is None:
            firm = Firm.objects.get(pk=firm_id) if firm_id else None
            found = accounts[firm_id, kind, lease.currency, ref] = account_for(
                firm=firm, kind=kind, currency=lease.currency, ref=ref
            )
        return found

    return Journal(
        ref=f"settle:{lease.public_id}:{lease.settled_micros}",
        code=Code.SETTLEMENT,
        legs=(
            Leg(account(lease.buyer_id, AccountKind.ESCROW, order), -posting.total_micros),
            Leg(account(lease.seller_id, AccountKind.EARNINGS), posting.seller_micros),
            Leg(account(None, AccountKind.PLATFORM_FEE), posting.fee_micros),
        ),
        subject=lease.public_id,
        data={"gpu_ms": lease.gpu_ms, "price_micros_per_gpu_hour": lease.price_micros_per_gpu_hour},
    )


def _is_complete(lease: Lease, now: datetime) -> bool:
    """Whether no report that could still come would change the charge."""
    assert lease.ended_at
    stopped = stopped_at(lease.public_id)
    if now >= lease.ended_at + timedelta(seconds=settings.LEASE_GRACE_SECONDS):
        return stopped is not None or _is_past_fence(lease, now)
    slack = timedelta(seconds=2 * settings.HEARTBEAT_SECONDS)
    end = min(stopped, lease.ended_at) if stopped else lease.ended_at
    return stopped is not None and lease.proven_until_at is not None and lease.proven_until_at >= end - slack


def _is_past_fence(lease: Lease, now: datetime) -> bool:
    assert lease.ended_at
    return now >= lease.ended_at + timedelta(seconds=settings.LEASE_TTL_SECONDS + settings.LEASE_GRACE_SECONDS)
