"""An address that can't be shipped to: its seller says so, and its buyer corrects it or says that it is right."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict
from marketplace.sales.models import Sale
from marketplace.sales.selectors import sale_for_update, sale_of
from marketplace.sales.services.moving import step
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import Route

QUESTIONS_MAX = 2  # each gives the seller a new ship clock


def may_question(sale: Sale) -> bool:
    """Whether the seller may ask now; on the way through a lab the buyer's address is not his concern."""
    is_first = sale.address_questions < QUESTIONS_MAX
    return is_first and sale.route == Route.DIRECT and step_of(sale.facts()) is Step.TO_SHIP


@transaction.atomic
def question_address(*, firm: Firm, public_id: str, reason: str, actor: str, now: datetime) -> Sale:
    """The seller can't ship to this address: the ship clock stops until the buyer answers."""
    sale = sale_for_update(sale_of(firm, public_id).pk)
    if sale.seller_id != firm.pk or not may_question(sale):
        raise Conflict("there is nothing to ask about this address now", code="wrong_state")
    asked = {"address_question": reason, "address_questions": sale.address_questions + 1, "address_asked_at": now}
    step(sale, "address_asked", now=now, actor=actor, **asked)
    return sale


@transaction.atomic
def answer_address(*, firm: Firm, public_id: str, address: str, actor: str, now: datetime) -> Sale:
    """The buyer's answer: the address, corrected or as it was. The country stays, for the rules were asked about it."""
    sale = sale_for_update(sale_of(firm, public_id).pk)
    if sale.buyer_id != firm.pk or step_of(sale.facts()) is not Step.ADDRESS_ASKED:
        raise Conflict("nobody asks about this address now", code="wrong_state")
    step(sale, "address_answered", now=now, actor=actor, address=address, address_question="", address_asked_at=None)
    return sale
