"""A card on its way to another firm or another host: where it turns up there, it has moved and is no clone."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict
from nodes.models import Card, CardTransfer, Claim, Node
from nodes.selectors import is_alive
from nodes.states import WORKED_ON


@transaction.atomic
def expect_card(*, card: Card, to_firm: Firm, holder: str, now: datetime) -> None:
    """The holder of the card's claim has it sent there. A transfer of the same holder is turned round by another."""
    Card.objects.select_for_update(no_key=True).get(pk=card.pk)
    waiting = CardTransfer.objects.filter(card=card, ended_at=None)
    if waiting.exclude(holder=holder).exists():
        raise Conflict("this card is on its way to somebody else", code="card_in_transfer")
    waiting.update(ended_at=now)
    CardTransfer.objects.create(card=card, to_firm=to_firm, holder=holder, since_at=now)


@transaction.atomic
def end_transfer(*, card: Card, holder: str, now: datetime) -> None:
    """Nobody expects it any more; repeating changes nothing."""
    CardTransfer.objects.filter(card=card, holder=holder, ended_at=None).update(ended_at=now)


def may_have_been_sent(card: Card, newcomer: Node) -> bool:
    """Whether the firm that has the card sent one to this node's firm: this one, or another and took the wrong one."""
    sent = CardTransfer.objects.filter(to_firm=newcomer.firm_id, ended_at=None)
    return sent.filter(card__firm=card.firm_id).exists()


def arrives(card: Card, newcomer: Node, now: datetime) -> bool:
    """Whether this firm waits for the card, and it is no longer alive where it was. Call it with the card locked."""
    transfer = CardTransfer.objects.filter(card=card, to_firm=newcomer.firm_id, ended_at=None).first()
    if transfer is None or is_alive(card, now):
        return False
    if Claim.objects.filter(card=card, period__contains=now).exclude(holder=transfer.holder).exists():
        return False
    if transfer.arrived_at is None:
        CardTransfer.objects.filter(pk=transfer.pk).update(arrived_at=now)
    return True


def may_move(card: Card, newcomer: Node, now: datetime) -> bool:
    """Whether a firm may have put its card into another host of its own: it is gone where it was, and not leased."""
    if card.firm_id != newcomer.firm_id or is_alive(card, now):
        return False
    return not Claim.objects.filter(card=card, kind__in=WORKED_ON, period__contains=now).exists()
