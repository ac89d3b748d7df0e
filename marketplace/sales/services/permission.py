"""Sales that wait for the export rules: asked again now and then, and as soon as a person has ruled."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from marketplace.compliance.models import ComplianceDecision, HoldRuling, SkuClearance
from marketplace.compliance.services import Stage
from marketplace.sales.models import Sale
from marketplace.sales.selectors import sale_for_update
from marketplace.sales.services.moving import finish, pay_if_allowed, step
from marketplace.sales.services.rules import ALLOW, BLOCK, decide_for
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import SaleReason, SaleState

BEFORE_SHIPPING = frozenset({Step.TO_SHIP, Step.SHIPPING_HELD, Step.ADDRESS_ASKED})
ASK_AGAIN = timedelta(minutes=10)
log = logging.getLogger(__name__)


def ask_rules_again(*, now: datetime, limit: int = 100) -> int:
    """Ask about sales that wait for a person's clearance, the longest unasked first; returns how many go on since."""
    waiting = _waiting().filter(Q(asked_at=None) | Q(asked_at__lte=now - ASK_AGAIN))
    return _ask_each(waiting.order_by("asked_at", "pk").values_list("pk", flat=True)[:limit], now)


def ask_about_ruled_sales(*, now: datetime, limit: int = 100) -> int:
    """Ask about the sales on which somebody has ruled, or whose SKU was cleared, since they were asked about."""
    ruled = HoldRuling.objects.filter(decision__subject=OuterRef("public_id"), at__gt=OuterRef("asked_at"))
    cleared = SkuClearance.objects.filter(gpu_model=OuterRef("listing__gpu_model"), at__gt=OuterRef("asked_at"))
    waiting = _waiting().filter(Exists(ruled) | Exists(cleared))
    return _ask_each(waiting.order_by("asked_at", "pk").values_list("pk", flat=True)[:limit], now)


@transaction.atomic
def ask_about_shipping(sale_id: int, now: datetime) -> ComplianceDecision | None:
    """The rules' answer about shipping, with what follows of it; None when it is no longer asked."""
    sale = sale_for_update(sale_id)
    return hold_or_let_go(sale, now) if step_of(sale.facts()) in BEFORE_SHIPPING else None


def hold_or_let_go(sale: Sale, now: datetime) -> ComplianceDecision:
    """Ask about the shipping of a locked sale: allowed, it is the seller's turn; held, a person's; blocked, it ends."""
    decision = decide_for(sale, stage=Stage.SHIPPING, now=now)
    sale.asked_at = now
    sale.save(update_fields=["asked_at"])
    if decision.outcome == ALLOW:
        if sale.held_at:
            step(sale, "shipping_cleared", now=now, held_at=None)
    elif decision.outcome == BLOCK:
        finish(sale, SaleState.CANCELLED, reason=SaleReason.COMPLIANCE_BLOCK, now=now)
    elif sale.held_at is None:
        step(sale, "shipping_held", now=now, held_at=now)
    return decision


def _waiting() -> QuerySet[Sale]:
    return Sale.objects.filter(Q(state=SaleState.AGREED) | Q(state=SaleState.PAID, held_at__isnull=False))


def _ask_each(sale_ids: Iterable[int], now: datetime) -> int:
    gone_on = 0
    for pk in sale_ids:
        try:
            gone_on += _ask(pk, now)
        except Exception:  # one sale that can't be asked about must not keep the others waiting
            log.exception("the rules can't be asked about sale %s now", pk)
    return gone_on


@transaction.atomic
def _ask(sale_id: int, now: datetime) -> bool:
    sale = sale_for_update(sale_id)
    at = step_of(sale.facts())
    if at is Step.AGREED:
        pay_if_allowed(sale, now=now)
    elif at is Step.SHIPPING_HELD:
        hold_or_let_go(sale, now)
    return sale.state == SaleState.PAID and sale.held_at is None
