"""What was measured for a sale: the same card ends it at once, another one opens a dispute and nothing more."""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Collection
from datetime import datetime

from django.db import transaction

from marketplace.sales.models import Sale
from marketplace.sales.selectors import sale_for_update
from marketplace.sales.services.arrivals import arrive
from marketplace.sales.services.moving import finish, move, open_dispute, step
from marketplace.sales.services.permission import hold_or_let_go
from marketplace.sales.services.rules import ALLOW
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import HOLDS_MONEY, SaleReason, SaleState
from nodes.models import Passport
from nodes.passports.comparison import FOUND_LIMITS, NOT_MEASURED, Difference, differences, new_findings
from nodes.selectors import passport_of
from nodes.services.transfers import expect_card

COLUMNS = {"buyer": "buyer_passport", "lab": "lab_passport", "seller": "return_passport"}
AT_THE_BUYER = frozenset({
    Step.TO_SHIP, Step.ADDRESS_ASKED, Step.TO_BUYER, Step.FROM_LAB, Step.INSPECTING, Step.DISPUTED_UNDELIVERED,
    Step.DISPUTED_DELIVERED,
})  # fmt: skip
log = logging.getLogger(__name__)


class Answer(enum.Enum):
    """What a measurement says of what came.

    OPEN: nothing speaks against it, but not every test ran. LIMITED: it was found to work with limits that the seller
    did not disclose, which may be its new host's.
    """

    SAME = enum.auto()
    OTHER = enum.auto()
    OPEN = enum.auto()
    LIMITED = enum.auto()


def consider_passports(*, now: datetime, limit: int = 200) -> int:
    """Look at what was measured for sales since the last time; returns how many passports counted.

    Of each side its newest, and its alone: a stranger may name any sale in a passport of his. Who measures every card
    of his host for the sale means the one that was sold, where that is among them.
    """
    by_id = {sale.public_id: sale for sale in Sale.objects.filter(state__in=sorted(HOLDS_MONEY))}
    measured = Passport.objects.filter(subject__in=by_id, role__in=COLUMNS).defer("body", "record").order_by("pk")
    newest: dict[tuple[str, str], Passport] = {}
    for each in measured:
        sale, key = by_id[each.subject], (each.subject, each.role)
        is_known = key in newest and newest[key].card_id == sale.card_id != each.card_id
        if _is_by_its_side(sale, each) and not is_known:
            newest[key] = each
    speaking = [each for each in newest.values() if _act_of(by_id[each.subject], each)]
    counted = 0
    for passport in speaking[:limit]:
        try:
            counted += _consider(by_id[passport.subject].pk, passport, now)
        except Exception:  # one passport that can't be looked at must not keep the others from counting
            log.exception("passport %s can't be considered now", passport.public_id)
    return counted


@transaction.atomic
def _consider(sale_id: int, passport: Passport, now: datetime) -> bool:
    sale = sale_for_update(sale_id)
    act = _act_of(sale, passport)
    if act is None:
        return False
    sold = passport_of(sale.seller_passport)
    found = [*differences(sold.facts, passport.facts), *new_findings(sold.findings, passport.findings)]
    sale.differences = [dataclasses.asdict(each) for each in found]
    setattr(sale, COLUMNS[passport.role], passport.public_id)
    sale.save(update_fields=["differences", COLUMNS[passport.role]])
    act(sale, _answer(found), now)
    return True


def _answer(found: Collection[Difference]) -> Answer:
    codes = {each.code for each in found}
    if codes - {NOT_MEASURED, FOUND_LIMITS}:
        return Answer.OTHER
    if FOUND_LIMITS in codes:
        return Answer.LIMITED
    return Answer.OPEN if codes else Answer.SAME


def _is_by_its_side(sale: Sale, passport: Passport) -> bool:
    sides = {"buyer": sale.buyer_id, "lab": sale.lab_id, "seller": sale.seller_id}
    return sides[passport.role] == passport.firm_id


def _act_of(sale: Sale, passport: Passport) -> Callable[[Sale, Answer, datetime], None] | None:
    """What a passport leads to in the sale's present step; None when it is known already or says nothing now."""
    if getattr(sale, COLUMNS[passport.role]) == passport.public_id or not _is_by_its_side(sale, passport):
        return None
    match passport.role, step_of(sale.facts()):
        case "buyer", at if at in AT_THE_BUYER:
            return _buyer_measured
        case "lab", Step.TO_LAB | Step.AT_LAB:
            return _lab_measured
        case "seller", Step.TO_SEND_BACK | Step.ON_ITS_WAY_BACK | Step.BACK:
            return _seller_measured
    return None


def _buyer_measured(sale: Sale, answer: Answer, now: datetime) -> None:
    """Against the buyer's own interest when it is the same; when it is not, the buyer is root where it was measured."""
    if answer != Answer.SAME and sale.state in (SaleState.PAID, SaleState.DISPUTED):
        return  # noted for whoever rules
    if sale.state == SaleState.PAID:  # the seller forgot to say that it is on its way, and was not asked about
        if hold_or_let_go(sale, now).outcome != ALLOW:
            return
        move(sale, SaleState.SHIPPED, now=now, shipped_at=now)
    if sale.state == SaleState.SHIPPED:
        arrive(sale, now=now)
    if answer == Answer.OTHER:
        open_dispute(sale, reason=SaleReason.OTHER_CARD, now=now)
    elif answer == Answer.SAME:
        finish(sale, SaleState.RELEASED, reason=SaleReason.SAME_CARD, now=now)


def _lab_measured(sale: Sale, answer: Answer, now: datetime) -> None:
    """On nobody's side: the same card goes on to the buyer, another one, or one with limits, to an operator."""
    if sale.lab_received_at is None:
        step(sale, "at_lab", now=now, lab_received_at=now)
    if answer in (Answer.OTHER, Answer.LIMITED):
        open_dispute(sale, reason=SaleReason.OTHER_CARD, now=now)
    elif answer == Answer.SAME:
        step(sale, "lab_passed", now=now, lab_passed_at=now)
        expect_card(card=sale.card, to_firm=sale.buyer, holder=sale.public_id, now=now)


def _seller_measured(sale: Sale, answer: Answer, now: datetime) -> None:
    """Against the seller's own interest when what came back is what was sold."""
    if sale.came_back_at is None:
        step(sale, "came_back", now=now, came_back_at=now, sent_back_at=sale.sent_back_at or now)
    if answer == Answer.OTHER:
        open_dispute(sale, reason=SaleReason.OTHER_CARD, now=now)
    elif answer == Answer.SAME:
        finish(sale, SaleState.REFUNDED, reason=SaleReason.CAME_BACK, now=now)
