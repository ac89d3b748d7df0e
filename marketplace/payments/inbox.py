"""The inbox: what gateways say has changed, as rows. The worker that fetches and books it is `inbox_worker.py`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import cast

from django.db import transaction
from django.db.models import F, Q, QuerySet

from marketplace.accounts.models import User
from marketplace.common.errors import NotAllowed, NotFound
from marketplace.common.ids import random_text
from marketplace.events.services import record_event
from marketplace.events.transitions import WrongState, transition
from marketplace.payments.gateway import Notice, NotifyingGateway
from marketplace.payments.models import GatewayNotice, NoticeCursor, NoticeSource
from marketplace.payments.outbox import CLAIMED_FOR, LATE_AFTER
from marketplace.payments.selectors import STRIPE, gateways
from marketplace.payments.states import NoticeState

OVERLAP = timedelta(hours=1)  # listed again each time: an event can appear in the list after a younger one
FIRST_LIST = timedelta(days=3)  # how long Stripe tries to send one: https://docs.stripe.com/webhooks#automatic-retries
AT_ONCE = 500


def take(gateway: str, notices: Iterable[Notice], *, source: NoticeSource, now: datetime) -> None:
    """Keep notices, each event once; returns when they are safe."""
    rows = [
        GatewayNotice(
            gateway=gateway,
            event_id=each.event_id,
            type=each.type,
            object_type=each.object_type,
            object_id=each.object_id,
            account=each.account,
            source=source,
            happened_at=each.at,
            received_at=now,
            next_try_at=now,
        )
        for each in notices
    ]
    GatewayNotice.objects.bulk_create(rows, batch_size=AT_ONCE, ignore_conflicts=True)


def take_signed(body: bytes, signature: str, *, now: datetime) -> None:
    """Keep what a signed request says. Raises NotFound without Stripe, and GatewayError for a forged or old one."""
    if STRIPE.name not in gateways():
        raise NotFound
    take(STRIPE.name, [STRIPE.notice(body, signature, now=now)], source=NoticeSource.SENT, now=now)


@transaction.atomic
def look_at(gateway: str, object_type: str, object_id: str, *, now: datetime) -> None:
    """Have something fetched because we want to know now, unless that is waited for already.

    What is waited for is kept from workers until the end of the caller's transaction: a fetch before that would not see
    what the caller has written.
    """
    same = GatewayNotice.objects.filter(gateway=gateway, object_type=object_type, object_id=object_id)
    if same.filter(state=NoticeState.WAITING, attempts=0).select_for_update().first() is None:
        notice = Notice(f"look:{object_id}:{random_text(12)}", "look", object_type, object_id, "", now)
        take(gateway, [notice], source=NoticeSource.LOOKED, now=now)


def fill_gaps(*, now: datetime) -> int:
    """Keep what gateways list and never sent; returns how many were new. Call it outside of any transaction."""
    before = GatewayNotice.objects.count()
    for name, gateway in gateways().items():
        if hasattr(gateway, "notices_since"):
            _fill(name, cast("NotifyingGateway", gateway), now)
    return GatewayNotice.objects.count() - before


def _fill(name: str, gateway: NotifyingGateway, now: datetime) -> None:
    cursor = NoticeCursor.objects.filter(gateway=name).first()
    since = cursor.listed_until - OVERLAP if cursor else now - FIRST_LIST
    take(name, gateway.notices_since(since), source=NoticeSource.LISTED, now=now)
    NoticeCursor.objects.update_or_create(gateway=name, defaults={"listed_until": now})


@transaction.atomic
def claim_notices(now: datetime) -> list[GatewayNotice]:
    """A notice that is due and all others of the same thing, taken for a while: one look at it answers them all."""
    waiting = GatewayNotice.objects.filter(state=NoticeState.WAITING)
    first = (
        waiting.filter(next_try_at__lte=now).select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    )
    if first is None:
        return []
    same = waiting.filter(gateway=first.gateway, object_type=first.object_type, object_id=first.object_id)
    rows = list(same.filter(account=first.account).select_for_update(skip_locked=True).order_by("pk")[:AT_ONCE])
    GatewayNotice.objects.filter(pk__in=[row.pk for row in rows]).update(
        attempts=F("attempts") + 1, next_try_at=now + CLAIMED_FOR
    )
    for row in rows:
        row.attempts += 1
    return rows


def stuck_notices(now: datetime) -> QuerySet[GatewayNotice]:
    """What an operator should see: notices that ask for one, and notices that have waited for too long."""
    late = Q(state=NoticeState.WAITING, received_at__lte=now - LATE_AFTER)
    return GatewayNotice.objects.filter(Q(state=NoticeState.ASKING) | late).order_by("pk")


@transaction.atomic
def try_notice_again(*, operator: User, notice_id: str, now: datetime) -> GatewayNotice:
    """Have a stuck notice's thing fetched once more; harmless, for what was booked is not booked again.

    Raises NotAllowed unless `operator` is one, NotFound, and WrongState when it is done.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
    notice = GatewayNotice.objects.select_for_update().filter(public_id=notice_id).first()
    if notice is None:
        raise NotFound
    if notice.state == NoticeState.ASKING:
        transition(notice, NoticeState.WAITING, now=now, actor=operator.public_id)
    if notice.state != NoticeState.WAITING:
        raise WrongState(f"this notice is {notice.state}")
    GatewayNotice.objects.filter(pk=notice.pk).update(next_try_at=now)
    data = {"type": notice.type, "object": notice.object_id}
    record_event(
        firm_id=None, type="gateway_notice.tried_again", subject=notice.public_id, actor=operator.public_id,
        data=data, now=now,
    )  # fmt: skip
    return notice
