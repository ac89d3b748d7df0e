"""Runs: asked for each night or by an operator, and worked on by a tick a minute for as long as they take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction

from marketplace.accounts.models import User
from marketplace.common.errors import NotAllowed, NotFound
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.payments.gateway import GatewayError, Trouble
from marketplace.payments.reconciliation.models import ReconciliationRun
from marketplace.payments.reconciliation.selectors import bookkeeping_gateways
from marketplace.payments.reconciliation.services.comparing import compare
from marketplace.payments.reconciliation.services.reading import read_on
from marketplace.payments.reconciliation.states import RunState

EVERY = timedelta(hours=20)  # a nightly tick that came late must not skip the next night
AGAIN_AFTER = timedelta(minutes=10)  # what failed
WORK_SECONDS = 60  # of one tick, half of Celery's limit
CLAIMED_FOR = timedelta(minutes=5)  # longer than a tick can live


def ask_run(*, operator: User, gateway: str, now: datetime) -> ReconciliationRun:
    """Compare now, or soon: what waits already is that. Raises NotAllowed unless `operator` is one, and NotFound."""
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
    if gateway not in bookkeeping_gateways():
        raise NotFound
    return _ask(gateway, operator, now)


@transaction.atomic
def _ask(gateway: str, operator: User | None, now: datetime) -> ReconciliationRun:
    run, is_new = ReconciliationRun.objects.get_or_create(
        gateway=gateway, state=RunState.ASKED, defaults={"asked_by": operator, "asked_at": now, "next_try_at": now}
    )
    if is_new and operator is not None:
        record_event(
            firm_id=None, type="reconciliation.asked", subject=run.public_id, actor=operator.public_id, now=now,
            data={"gateway": gateway},
        )  # fmt: skip
    return run


def work(clock: Callable[[], datetime]) -> int:
    """Ask for what is due and work on what waits, for a tick; returns how many runs were done."""
    until = clock() + timedelta(seconds=WORK_SECONDS)
    for gateway in bookkeeping_gateways():
        if _is_due(gateway, clock()):
            _ask(gateway, None, clock())
    done = 0
    while clock() < until and (run := _claim(clock())) is not None:
        done += _work_on(run, clock, until)
    return done


def _is_due(gateway: str, now: datetime) -> bool:
    runs = ReconciliationRun.objects.filter(gateway=gateway)
    lately = runs.filter(state=RunState.DONE, read_at__gt=now - EVERY)
    failed = runs.filter(state=RunState.FAILED, settled_at__gt=now - AGAIN_AFTER)
    return not (runs.filter(state=RunState.ASKED).exists() or lately.exists() or failed.exists())


@transaction.atomic
def _claim(now: datetime) -> ReconciliationRun | None:
    waiting = ReconciliationRun.objects.filter(
        state=RunState.ASKED, next_try_at__lte=now, gateway__in=bookkeeping_gateways()
    )
    run = waiting.select_for_update(skip_locked=True, of=("self",)).order_by("pk").first()
    if run is not None:
        run.next_try_at = now + CLAIMED_FOR
        run.save(update_fields=["next_try_at"])
    return run


def _work_on(run: ReconciliationRun, clock: Callable[[], datetime], until: datetime) -> bool:
    """Whether it was done; else the next tick goes on with it."""
    try:
        if read_on(run, clock=clock, until=until) and compare(run, clock()):
            return True
        _wait(run, "", clock())
    except GatewayError as trouble:
        if trouble.trouble in {Trouble.FINAL, Trouble.ASK}:
            _fail(run, trouble, clock())
        else:
            _wait(run, trouble.detail, clock() + AGAIN_AFTER)
    return False


def _wait(run: ReconciliationRun, error: str, next_try_at: datetime) -> None:
    run.error, run.next_try_at = error[:500], next_try_at
    run.save(update_fields=["error", "next_try_at"])


def _fail(run: ReconciliationRun, trouble: GatewayError, now: datetime) -> None:
    error = trouble.detail[:500]
    transition(run, RunState.FAILED, now=now, reason=trouble.code[:64], data={"error": error}, error=error,
        settled_at=now)  # fmt: skip
