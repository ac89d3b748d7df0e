"""Working on the inbox: the thing is fetched with no transaction open, and what it is now is booked in one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import OperationalError, connection, transaction

from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.payments import card_deposits, disputes, refunds, sellers
from marketplace.payments.gateway import GatewayError, NotifyingGateway, Trouble
from marketplace.payments.inbox import claim_notices
from marketplace.payments.models import GatewayNotice
from marketplace.payments.outbox_worker import WORK_SECONDS, wait_seconds
from marketplace.payments.reconciliation.services import transit
from marketplace.payments.selectors import gateway_named
from marketplace.payments.states import NoticeState

logger = logging.getLogger(__name__)
# What a thing of each kind does here once it is fetched; the time is that of the fetch.
BOOKED: Mapping[str, Callable[[Mapping[str, Any], datetime], None]] = {
    "checkout.session": card_deposits.page_seen,
    "payment_intent": card_deposits.payment_seen,
    "charge": card_deposits.payment_seen,
    "refund": refunds.refund_seen,
    "dispute": disputes.dispute_seen,
    "account": sellers.account_seen,
    "payout": transit.payout_seen,
}


def work(clock: Callable[[], datetime]) -> int:
    """Fetch and book what is due, for WORK_SECONDS at most; returns how many things were looked at."""
    begun, seen = clock(), 0
    while clock() - begun < timedelta(seconds=WORK_SECONDS) and work_one(now=clock()):
        seen += 1
    return seen


def work_one(*, now: datetime) -> bool:
    """Look at one thing of which there are notices; False when there is none. Call it outside of any transaction."""
    assert not connection.in_atomic_block, "nothing network inside a transaction"
    notices = claim_notices(now)
    if not notices:
        return False
    about = notices[0]
    try:
        fact = _fetch(about)
        with transaction.atomic():
            if fact is not None:
                BOOKED[about.object_type](fact, now)
            _done(notices, now)
    except GatewayError as trouble:
        _not_done(notices, trouble, now)
    except OperationalError as broken:  # such as a deadlock: nothing was booked, and nobody has to decide anything
        _not_done(notices, GatewayError(Trouble.RETRY, f"the database did not take it: {broken!r}"), now)
    except Exception as broken:
        logger.exception("booking %s failed", about.public_id)
        _not_done(notices, GatewayError(Trouble.ASK, f"this can't be booked: {broken!r}"), now)
    return True


def _fetch(about: GatewayNotice) -> Mapping[str, Any] | None:
    if about.object_type not in BOOKED:
        return None
    gateway = cast("NotifyingGateway", gateway_named(about.gateway))
    return gateway.fetch(about.object_type, about.object_id, about.account)


def _waiting(notices: Sequence[GatewayNotice]) -> list[GatewayNotice]:
    rows = GatewayNotice.objects.filter(pk__in=[each.pk for each in notices], state=NoticeState.WAITING)
    return list(rows.select_for_update().order_by("pk"))


def _done(notices: Sequence[GatewayNotice], now: datetime) -> None:
    for notice in _waiting(notices):
        transition(notice, NoticeState.DONE, now=now, settled_at=now, error="")


@transaction.atomic
def _not_done(notices: Sequence[GatewayNotice], trouble: GatewayError, now: datetime) -> None:
    asks = trouble.trouble in {Trouble.FINAL, Trouble.ASK}
    for notice in _waiting(notices):
        if asks:
            transition(notice, NoticeState.ASKING, now=now, error=trouble.detail[:500])
            data = {"type": notice.type, "object": notice.object_id, "error": trouble.detail}
            record_event(firm_id=None, type="gateway_notice.asking", subject=notice.public_id, data=data, now=now)
        else:
            notice.error, notice.next_try_at = (
                trouble.detail[:500],
                now + timedelta(seconds=wait_seconds(notice.attempts)),
            )
            notice.save(update_fields=["error", "next_try_at"])
