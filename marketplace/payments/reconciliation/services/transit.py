"""The platform's own payouts: out of the gateway, on their way, and on the bank's statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.common.errors import Conflict
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.reconciliation.models import PlatformPayout
from marketplace.payments.reconciliation.selectors import ON_ITS_WAY, transit_of
from marketplace.payments.reconciliation.states import PlatformPayoutState
from marketplace.payments.wire.models import StatementLine
from marketplace.payments.wire.selectors import suspense_of

GATEWAY = "stripe"
STATES = {
    "pending": PlatformPayoutState.SENT,
    "in_transit": PlatformPayoutState.SENT,
    "paid": PlatformPayoutState.PAID,
    "failed": PlatformPayoutState.FAILED,
    "canceled": PlatformPayoutState.FAILED,
}


@transaction.atomic
def payout_seen(fact: Mapping[str, Any], now: datetime) -> None:
    """What a payout to the platform's bank has come to: its entries are booked once, between gateway and bank."""
    PlatformPayout.objects.get_or_create(
        object_id=fact["payout_id"],
        defaults={
            "gateway": GATEWAY,
            "currency": fact["currency"],
            "amount_micros": fact["amount_micros"],
            "is_automatic": fact["is_automatic"],
            "happened_at": fact["at"],
            "arrives_at": fact["arrives_at"],
        },
    )
    payout = PlatformPayout.objects.select_for_update(of=("self",)).get(object_id=fact["payout_id"])
    for entry in fact["entries"]:
        _book(payout, entry, now)
    to = STATES[fact["status"]]
    if to in payout.STATES[payout.state]:
        data = {"amount_micros": payout.amount_micros, "currency": payout.currency, "payout": payout.object_id}
        transition(payout, to, now=now, data=data)


def _book(payout: PlatformPayout, entry: Mapping[str, Any], now: datetime) -> None:
    currency, amount, fee = entry["currency"], entry["amount_micros"], entry["fee_micros"]
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=payout.gateway)
    expense = account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=currency, ref=payout.gateway)
    post(
        ref=f"{payout.gateway}:{entry['id']}",
        code=Code.TRANSIT,
        legs=[Leg(outside, fee - amount), Leg(expense, -fee), Leg(transit_of(payout.gateway, currency), amount)],
        now=now,
        subject=payout.public_id,
        data={"payout": payout.object_id},
    )


def arrived(line: StatementLine, *, actor: str, now: datetime) -> None:
    """A line of the bank's is a payout of exactly this amount: it is on its way no more.

    The caller holds the line's lock and books the line. Raises Conflict when no such payout is on its way.
    """
    rows = PlatformPayout.objects.select_for_update(of=("self",)).filter(state__in=ON_ITS_WAY)
    payout = rows.filter(currency=line.currency, amount_micros=line.amount_micros).order_by("pk").first()
    if payout is None:
        raise Conflict("no payout of this amount is on its way to the bank", code="no_such_payout")
    data = {"line": line.public_id, "amount_micros": payout.amount_micros, "currency": payout.currency}
    transition(payout, PlatformPayoutState.ARRIVED, now=now, actor=actor, data=data, line=line)
    post(
        ref=f"bank:{line.public_id}:transit",
        code=Code.TRANSIT,
        legs=[
            Leg(suspense_of(line.currency), -line.amount_micros),
            Leg(transit_of(payout.gateway, line.currency), line.amount_micros),
        ],
        now=now,
        subject=payout.public_id,
        data={"line": line.public_id, "booked_on": line.booked_on.isoformat()},
    )
