"""The clock of sales: what follows when nobody says anything, as the table of silences has it."""

from __future__ import annotations

import logging
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef

from marketplace.ledger.models import Account, AccountKind
from marketplace.sales.models import Sale
from marketplace.sales.pricing import cancellation_credit_micros
from marketplace.sales.selectors import sale_for_update
from marketplace.sales.services.money import lock_all, pay_credit
from marketplace.sales.services.moving import finish, move, open_dispute
from marketplace.sales.silence import Outcome, outcome
from marketplace.sales.states import ENDS, SaleState

PAYS_CREDITS = (AccountKind.EARNINGS, AccountKind.WALLET)
log = logging.getLogger(__name__)


def advance_sales(*, now: datetime, limit: int = 500) -> int:
    """Carry out every silence that is due; returns how many sales moved."""
    due = Sale.objects.filter(deadline_at__lte=now).order_by("deadline_at", "pk")
    moved = 0
    for pk in list(due.values_list("pk", flat=True)[:limit]):
        try:
            moved += _advance(pk, now)
        except Exception:  # one sale that can't move on must not keep the others from their ends
            log.exception("sale %s can't be advanced now", pk)
    return moved


def collect_credits(*, now: datetime, limit: int = 500) -> int:
    """Take what sellers still owe to buyers as soon as they have it; returns how many sales got something.

    Who has nothing is not asked, so that the poorest do not keep the others' buyers waiting.
    """
    has_some = Account.objects.filter(
        firm=OuterRef("seller"), currency=OuterRef("currency"), kind__in=PAYS_CREDITS, balance_micros__gt=0
    )
    owing = Sale.objects.filter(Exists(has_some), credit_paid_micros__lt=F("credit_micros")).order_by("pk")
    collected = 0
    for pk in list(owing.values_list("pk", flat=True)[:limit]):
        try:
            collected += _collect(pk, now)
        except Exception:  # one credit that can't be taken must not keep the others from it
            log.exception("the credit of sale %s can't be collected now", pk)
    return collected


@transaction.atomic
def _advance(sale_id: int, now: datetime) -> bool:
    sale = sale_for_update(sale_id)
    follows = outcome(sale.facts(), now=now)
    if follows is None:
        return False
    if follows.to in ENDS:
        finish(sale, follows.to, reason=follows.reason, now=now, credit_micros=_credit(sale, follows))
    elif follows.to == SaleState.DISPUTED:
        open_dispute(sale, reason=follows.reason, now=now)
    else:
        sale.disputes.filter(closed_at=None).update(closed_at=now)
        move(sale, follows.to, now=now, reason=follows.reason)
    return True


def _credit(sale: Sale, follows: Outcome) -> int:
    if not follows.credits_buyer:
        return 0
    return cancellation_credit_micros(
        item_micros=sale.item_micros,
        basis_points=settings.CARD_CREDIT_BASIS_POINTS,
        least_micros=settings.CARD_CREDIT_MICROS_MIN,
    )


@transaction.atomic
def _collect(sale_id: int, now: datetime) -> bool:
    sale = sale_for_update(sale_id)
    lock_all(sale)
    return pay_credit(sale=sale, now=now) > 0
