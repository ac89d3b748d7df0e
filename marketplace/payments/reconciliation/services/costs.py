"""What a gateway takes by entries of their own, such as Stripe's fees of a month: nobody asked for them."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, F, OuterRef, Value
from django.db.models.functions import Concat

from marketplace.ledger.models import AccountKind, Code, Journal
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import GatewayTransaction
from marketplace.payments.reconciliation.core import COST_TYPES


def book_costs(gateway: str, now: datetime) -> int:
    """Book entries that are nothing but a cost, each once; returns how many. Call it in a transaction."""
    ref = Concat(Value(f"{gateway}:"), OuterRef("transaction_id"))
    rows = GatewayTransaction.objects.filter(gateway=gateway, type__in=COST_TYPES).exclude(
        amount_micros=F("fee_micros")
    )
    new = rows.filter(~Exists(Journal.objects.filter(ref=ref))).order_by("pk")
    return sum(_book(row, now) for row in new)


def _book(row: GatewayTransaction, now: datetime) -> bool:
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=row.currency, ref=row.gateway)
    expense = account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=row.currency, ref=row.gateway)
    micros = row.amount_micros - row.fee_micros
    return post(
        ref=f"{row.gateway}:{row.transaction_id}",
        code=Code.GATEWAY_FEE,
        legs=[Leg(outside, -micros), Leg(expense, micros)],
        now=now,
        data={"type": row.type, "source": row.source_id},
    )
