"""Reading a gateway's books, page by page and newest first; no transaction is open during a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import cast

from django.db import connection, transaction

from marketplace.payments.gateway import BookEntry, BookkeepingGateway
from marketplace.payments.reconciliation.models import GatewayTransaction, PlatformPayout, ReconciliationRun
from marketplace.payments.reconciliation.states import RunState
from marketplace.payments.selectors import gateway_named

OVERLAP = timedelta(days=7)  # read again each time: what was told otherwise since is found


def read_on(run: ReconciliationRun, *, clock: Callable[[], datetime], until: datetime) -> bool:
    """Go on reading for a run until a time; whether all of it is read. Call it outside of any transaction.

    Raises GatewayError.
    """
    assert not connection.in_atomic_block, "nothing network inside a transaction"
    gateway = cast("BookkeepingGateway", gateway_named(run.gateway))
    if run.read_at is None:
        _begin(run, gateway, clock())
    while not run.is_read:
        if clock() >= until:
            return False
        entries, after = gateway.entries(run.reads_from, run.page_after)
        _keep(run, entries, after, clock())
    return _read_parts(run, gateway, clock=clock, until=until)


def _begin(run: ReconciliationRun, gateway: BookkeepingGateway, now: datetime) -> None:
    """The balance first: whatever it counts is in the list that is read after it."""
    holdings = {currency: [each.available_micros, each.pending_micros] for currency, each in gateway.holdings().items()}
    last = ReconciliationRun.objects.filter(gateway=run.gateway, state=RunState.DONE).order_by("-pk").first()
    run.holdings, run.read_at, run.reads_count = holdings, now, run.reads_count + 1
    run.reads_from = last.read_at - OVERLAP if last and last.read_at else None
    run.save(update_fields=["holdings", "read_at", "reads_count", "reads_from"])


def begin_again(run: ReconciliationRun) -> None:
    """Read it all once more."""
    run.read_at, run.reads_from, run.page_after, run.is_read = None, None, "", False
    run.save(update_fields=["read_at", "reads_from", "page_after", "is_read"])


@transaction.atomic
def _keep(run: ReconciliationRun, entries: Sequence[BookEntry], after: str, now: datetime) -> None:
    run.new_count += keep_entries(run.gateway, entries, now)
    run.page_after, run.is_read = after, not after
    run.save(update_fields=["page_after", "is_read", "new_count"])


def keep_entries(gateway: str, entries: Sequence[BookEntry], now: datetime) -> int:
    """Add what was not told before, or told otherwise; returns how many rows that are."""
    rows = [
        GatewayTransaction(
            gateway=gateway,
            transaction_id=each.id,
            type=each.type,
            currency=each.currency,
            amount_micros=each.amount_micros,
            fee_micros=each.fee_micros,
            net_micros=each.net_micros,
            source_id=each.source,
            happened_at=each.at,
            available_on=each.available_on,
            kept_at=now,
        )
        for each in reversed(entries)
    ]
    mine = GatewayTransaction.objects.filter(gateway=gateway, transaction_id__in=[each.id for each in entries])
    before = mine.count()
    GatewayTransaction.objects.bulk_create(rows, ignore_conflicts=True)
    return mine.count() - before


def _read_parts(
    run: ReconciliationRun, gateway: BookkeepingGateway, *, clock: Callable[[], datetime], until: datetime
) -> bool:
    """What automatic payouts are made of, once for each."""
    unread = PlatformPayout.objects.filter(gateway=run.gateway, is_automatic=True, parts=None).order_by("pk")
    for payout in unread:
        if clock() >= until:
            return False
        parts = gateway.parts_of(payout.object_id)
        if parts is not None:
            PlatformPayout.objects.filter(pk=payout.pk).update(parts=list(parts))
    return True
