"""How a sale moves on: every change of its state goes through here, so that its clock is always right."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.book.services import print_delivery, print_undoing
from marketplace.common.errors import Conflict
from marketplace.compliance.services import Stage, end_case
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.sales.models import Dispute, Sale
from marketplace.sales.services.money import close_sale_escrow, lock_all, pay_credit
from marketplace.sales.services.rules import ALLOW, BLOCK, decide_for
from marketplace.sales.silence import deadline
from marketplace.sales.states import SaleReason, SaleState
from nodes.services.claims import shorten_claims
from nodes.services.transfers import end_transfer, expect_card

BUYER_GETS_THE_CARD = frozenset({SaleState.RELEASED, SaleState.SPLIT})
log = logging.getLogger(__name__)


def move(sale: Sale, to: str, *, now: datetime, reason: str = "", actor: str = "system", **columns: Any) -> None:
    """Move a locked sale to a state that is not an end; `finish` ends one."""
    if reason:
        columns["end_reason"] = reason
    transition(sale, to, now=now, reason=reason, actor=actor, step_at=now, **columns)
    set_clock(sale)


def step(sale: Sale, name: str, *, now: datetime, actor: str = "system", **columns: Any) -> None:
    """Something became known within a state; its clock starts anew and both sides hear of it."""
    for column, value in ({"step_at": now} | columns).items():
        setattr(sale, column, value)
    sale.save(update_fields=["step_at", *columns])
    set_clock(sale)
    for firm_id in sale.event_firm_ids:
        record_event(firm_id=firm_id, type=f"sale.{name}", subject=sale.public_id, actor=actor, now=now)


def set_clock(sale: Sale) -> None:
    """Write when the present step ends by itself."""
    sale.deadline_at = deadline(sale.facts())
    sale.save(update_fields=["deadline_at"])


@transaction.atomic
def pay_if_allowed(sale: Sale, *, stages: Collection[Stage] = (Stage.ORDER, Stage.PAYMENT), now: datetime) -> None:
    """AGREED → PAID when the rules allow it; BLOCK ends it, HOLD leaves it waiting for a person."""
    sale.asked_at = now
    sale.save(update_fields=["asked_at"])
    outcomes = {decide_for(sale, stage=stage, now=now).outcome for stage in stages}
    if outcomes == {ALLOW}:
        move(sale, SaleState.PAID, now=now, paid_at=now)
    elif BLOCK in outcomes:
        finish(sale, SaleState.CANCELLED, reason=SaleReason.COMPLIANCE_BLOCK, now=now)
    else:
        set_clock(sale)


@transaction.atomic
def open_dispute(sale: Sale, *, reason: str, now: datetime, actor: str = "system", **said: Any) -> Dispute:
    """The money stays where it is until somebody rules or a clock runs out."""
    move(sale, SaleState.DISPUTED, now=now, reason=reason, actor=actor)
    return Dispute.objects.create(sale=sale, reason=reason, opened_at=now, **said)


@transaction.atomic
def finish(
    sale: Sale,
    to: str,
    *,
    reason: str,
    now: datetime,
    actor: str = "system",
    refund_micros: int | None = None,
    credit_micros: int = 0,
) -> None:
    """End a locked sale: its money goes where the end says, its claim and its clock end, an open dispute closes."""
    if refund_micros is None:
        refund_micros = 0 if to == SaleState.RELEASED else sale.price.total_micros
    if credit_micros:
        lock_all(sale)
    returned_micros = close_sale_escrow(sale=sale, refund_micros=refund_micros, now=now)
    transition(
        sale,
        to,
        now=now,
        reason=reason,
        actor=actor,
        end_reason=reason,
        step_at=now,
        deadline_at=None,
        closed_at=now,
        refunded_micros=returned_micros,
        credit_micros=credit_micros,
    )
    sale.disputes.filter(closed_at=None).update(closed_at=now)
    end_case(subject=sale.public_id, now=now)
    shorten_claims(holder=sale.public_id, until=now)
    if credit_micros:
        pay_credit(sale=sale, now=now)
    _hand_over(sale, now)


def _hand_over(sale: Sale, now: datetime) -> None:
    """The card is now whose it should be: its host may report it, and the tape knows what became of the trade.

    A split is not on the tape: its price is not what was paid.
    """
    print_end = print_delivery if sale.state == SaleState.RELEASED else print_undoing
    print_end(sale=sale.public_id, now=now)
    owner = sale.buyer if sale.state in BUYER_GETS_THE_CARD else sale.seller
    if sale.shipped_at is None or sale.card.firm_id == owner.pk:
        end_transfer(card=sale.card, holder=sale.public_id, now=now)
        return
    try:
        expect_card(card=sale.card, to_firm=owner, holder=sale.public_id, now=now)
    except Conflict:  # where the card is said to go is no reason to keep anybody's money
        log.exception("card %s is on its way to somebody else after %s", sale.card.public_id, sale.public_id)
