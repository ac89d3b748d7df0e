"""Who may measure a card now, and as what."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils.module_loading import import_string

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound, TooMany
from nodes.agent.passport import ROLES, ChallengeRequest
from nodes.models import Card, CardOrder, CardTransfer, Claim, ConflictEvidence, IdentityConflict, Node, Passport
from nodes.states import WORKED_ON, NodeState

LAB = "lab"
SUBJECT_LENGTH_MAX = 32
PASSPORTS_PER_DAY = 48  # of one card: the log is never cut, and a test of the whole card takes a third of an hour


def check_request(node: Node, request: ChallengeRequest) -> None:
    """Raises Invalid for a role or subject that there is not, NotAllowed for who is no lab or was sent nothing as one.

    A lab is on nobody's side only where it measures for others: of a card of its own it is the seller.
    """
    if request.role not in ROLES or len(request.subject) > SUBJECT_LENGTH_MAX or not request.subject.isprintable():
        raise Invalid(f"a role is {', '.join(ROLES)}, a subject has at most {SUBJECT_LENGTH_MAX} characters")
    if request.role != LAB:
        return
    if not _is_lab(node.firm):
        raise NotAllowed("only a firm that an operator made a lab measures as one", code="not_a_lab")
    if not CardTransfer.objects.filter(to_firm=node.firm_id, holder=request.subject, ended_at=None).exists():
        raise NotAllowed("a lab measures what was sent to it: say for which sale", code="nothing_sent")


def check_place(card: Card | None, node: Node) -> Card:
    """The card, or NotFound where the node does not have it now, Conflict where nobody believes the node."""
    if card is None or card.node_id != node.pk or card.uuid not in _reported(node):
        raise NotFound("this card is not in the node's inventory")
    if node.state == NodeState.QUARANTINED:
        raise Conflict("this node is in quarantine: an operator must release it first", code="node_quarantined")
    return card


def check_subject(card: Card, node: Node, subject: str) -> None:
    """Raises Conflict for a card that can't have come in the parcel of this sale.

    The one that was sold is in the host too, or this one was there already when the parcel was sent.
    """
    transfers = CardTransfer.objects.filter(holder=subject, to_firm=node.firm_id, ended_at=None)
    sent = transfers.select_related("card").first()
    if sent is None or sent.card_id == card.pk:
        return
    if sent.card.node_id == node.pk and sent.card.uuid in _reported(node):
        raise Conflict(f"{subject} is about {sent.card.uuid} of this host: measure that one", code="another_card")
    orders = CardOrder.objects.filter(node=node, since_at__lt=sent.since_at).order_by("-since_at", "-pk")
    before = orders.values_list("uuids", flat=True).first()
    if card.uuid in (before or []):
        raise Conflict(f"this card was here before that of {subject} was sent: name the one that came with --card",
                       code="another_card")  # fmt: skip


def check_free(card: Card, since: datetime, until: datetime) -> None:
    """Raises Conflict where a lease falls into that time: its work and the tests would have disturbed each other."""
    period = DateTimeTZRange(since, until, "[]")
    if Claim.objects.filter(card=card, kind__in=WORKED_ON, period__overlap=period).exists():
        raise Conflict("this card is leased: measure it when the lease has ended", code="card_leased")


def check_pace_of_passports(card: Card, now: datetime) -> None:
    """Raises TooMany for a card that was measured too often in a day."""
    if Passport.objects.filter(card=card, recorded_at__gt=now - timedelta(days=1)).count() >= PASSPORTS_PER_DAY:
        raise TooMany(f"a card gets at most {PASSPORTS_PER_DAY} passports a day")


def check_pace_of_evidence(conflict: IdentityConflict, node: Node) -> None:
    """Raises TooMany for a node that has said enough."""
    if ConflictEvidence.objects.filter(conflict=conflict, node=node).count() >= PASSPORTS_PER_DAY:
        raise TooMany(f"a conflict takes at most {PASSPORTS_PER_DAY} measurements of a node")


def card_named(uuid: str) -> Card | None:
    """The card of a UUID that anybody may have written."""
    if not uuid.isascii() or not uuid.isprintable():
        return None
    return Card.objects.filter(uuid=uuid).first()


def _reported(node: Node) -> set[str]:
    return {each.get("uuid") for each in node.inventory.get("cards", [])}


def _is_lab(firm: Firm) -> bool:
    """Which firms are labs is known further up: `PASSPORT_LABS` names the function that says it."""
    module, _, name = settings.PASSPORT_LABS.partition(":")
    return bool(import_string(f"{module}.{name}")(firm))
