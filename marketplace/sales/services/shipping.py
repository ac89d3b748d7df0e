"""What seller, lab and buyer say on the card's way. Whose turn it is decides what it means.

A carrier's number moves the sale on but proves nothing: received is what the receiver says, measured, or an operator
found proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, NotAllowed
from marketplace.compliance.services import require_allowed
from marketplace.events.services import record_event
from marketplace.sales.models import Evidence, Sale
from marketplace.sales.selectors import any_sale, is_leased, sale_for_update, sale_of
from marketplace.sales.services.arrivals import arrive, arrive_where_it_goes
from marketplace.sales.services.moving import finish, move, step
from marketplace.sales.services.permission import BEFORE_SHIPPING, ask_about_shipping
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import SaleReason, SaleState
from nodes.models import CardTransfer
from nodes.services.transfers import end_transfer, expect_card


@dataclass(frozen=True, slots=True)
class Shipment:
    """How a parcel travels; `label` is the public id of a photo of its label, among the sale's evidence."""

    carrier: str
    tracking: str
    label: str


def ship_sale(*, firm: Firm, public_id: str, shipment: Shipment, actor: str, now: datetime) -> Sale:
    """It is on its way: from the seller, from the lab onwards, or back from the buyer. Conflict when it is not theirs.

    The seller's shipping is asked of the rules first, once everything else is ready. Held, it waits for a person and
    the ship clock with it; blocked, the sale ends without anybody's fault.
    """
    sale = sale_of(firm, public_id)
    _require_label(sale, firm, shipment)
    if sale.seller_id == firm.pk and step_of(sale.facts()) in BEFORE_SHIPPING:
        require_unleased(sale, now)
        _require_shippable(sale.pk, now)
    with transaction.atomic():
        sale = sale_for_update(sale.pk)
        match step_of(sale.facts()):
            case Step.TO_SHIP | Step.ADDRESS_ASKED if sale.seller_id == firm.pk:
                _ship(sale, shipment, actor, now)
            case Step.FROM_LAB if sale.lab_id == firm.pk and not sale.onward_tracking:
                columns = {"onward_carrier": shipment.carrier, "onward_tracking": shipment.tracking}
                step(sale, "sent_on", now=now, actor=actor, **columns)
            case Step.TO_SEND_BACK if sale.buyer_id == firm.pk:
                _send_back(sale, shipment, actor, now)
            case _:
                raise _not_your_turn(sale)
        return sale


@transaction.atomic
def receive_sale(*, firm: Firm, public_id: str, actor: str, now: datetime) -> Sale:
    """It has arrived, says whoever waits for it: the buyer, the lab, or the seller who gets it back."""
    sale = sale_for_update(sale_of(firm, public_id).pk)
    match step_of(sale.facts()):
        case Step.TO_BUYER | Step.FROM_LAB if sale.buyer_id == firm.pk:
            arrive(sale, now=now, actor=actor)
        case Step.TO_LAB if sale.lab_id == firm.pk:
            step(sale, "at_lab", now=now, actor=actor, lab_received_at=now)
        case Step.ON_ITS_WAY_BACK if sale.seller_id == firm.pk:
            step(sale, "came_back", now=now, actor=actor, came_back_at=now)
        case _:
            raise _not_your_turn(sale)
    return sale


@transaction.atomic
def prove_arrival(*, operator: User, public_id: str, now: datetime) -> Sale:
    """An operator has seen the carrier's proof: it is with whom it was sent to, whatever that one says."""
    if not operator.is_operator:
        raise NotAllowed("only an operator decides this", code="operators_only")
    sale = sale_for_update(any_sale(public_id).pk)
    if not arrive_where_it_goes(sale, now=now, actor=operator.public_id):
        raise Conflict(f"this sale is {sale.state}: nothing is on its way", code="wrong_state")
    return sale


@transaction.atomic
def accept_sale(*, firm: Firm, public_id: str, actor: str, now: datetime) -> Sale:
    """The receiver is content: the buyer with the card, or the seller with what came back. Money moves at once."""
    sale = sale_for_update(sale_of(firm, public_id).pk)
    match step_of(sale.facts()):
        case Step.TO_BUYER | Step.FROM_LAB if sale.buyer_id == firm.pk:
            arrive(sale, now=now, actor=actor)
            finish(sale, SaleState.RELEASED, reason=SaleReason.ACCEPTED, now=now, actor=actor)
        case Step.INSPECTING | Step.DISPUTED_DELIVERED | Step.DISPUTED_UNDELIVERED if sale.buyer_id == firm.pk:
            finish(sale, SaleState.RELEASED, reason=SaleReason.ACCEPTED, now=now, actor=actor)
        case Step.ON_ITS_WAY_BACK | Step.BACK | Step.DISPUTED_RETURNED if sale.seller_id == firm.pk:
            finish(sale, SaleState.REFUNDED, reason=SaleReason.CAME_BACK, now=now, actor=actor)
        case _:
            raise _not_your_turn(sale)
    return sale


def require_unleased(sale: Sale, now: datetime) -> None:
    """Nobody rents the card at the moment; Conflict when somebody does."""
    if is_leased(sale, now=now):
        raise Conflict(f"it is leased: it ships after {sale.ships_after_at:%Y-%m-%dT%H:%M:%SZ}", code="card_leased")


def _require_shippable(sale_id: int, now: datetime) -> None:
    """The answer is kept before its refusal undoes anything."""
    decision = ask_about_shipping(sale_id, now)
    if decision is not None:
        require_allowed(decision)


def _ship(sale: Sale, shipment: Shipment, actor: str, now: datetime) -> None:
    require_unleased(sale, now)
    said = {"carrier": shipment.carrier, "tracking": shipment.tracking}
    move(sale, SaleState.SHIPPED, now=now, actor=actor, shipped_at=now, **said)
    for old in CardTransfer.objects.filter(card=sale.card, to_firm=sale.seller, ended_at=None):
        end_transfer(card=sale.card, holder=old.holder, now=now)
    expect_card(card=sale.card, to_firm=sale.lab.firm if sale.lab else sale.buyer, holder=sale.public_id, now=now)


def _send_back(sale: Sale, shipment: Shipment, actor: str, now: datetime) -> None:
    columns = {"return_carrier": shipment.carrier, "return_tracking": shipment.tracking, "sent_back_at": now}
    step(sale, "sent_back", now=now, actor=actor, **columns)
    expect_card(card=sale.card, to_firm=sale.seller, holder=sale.public_id, now=now)


def _require_label(sale: Sale, firm: Firm, shipment: Shipment) -> None:
    if not Evidence.objects.filter(sale=sale, firm=firm, public_id=shipment.label).exclude(file="").exists():
        raise Conflict("send a photo of the label first, and name it here", code="label_missing")


def _not_your_turn(sale: Sale) -> Conflict:
    return Conflict(f"this sale is {sale.state}: this is not yours to say now", code="wrong_state")


def tell(sale: Sale, name: str, *, now: datetime, actor: str) -> None:
    """Let both sides hear of something that changes no state."""
    for firm_id in sale.event_firm_ids:
        record_event(firm_id=firm_id, type=f"sale.{name}", subject=sale.public_id, actor=actor, now=now)
