"""Reading nodes and cards."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Count, Exists, Max, OuterRef, Prefetch, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import NotFound
from nodes.agent.passport import CanonicalError, canonical
from nodes.availability import GPU_LOST
from nodes.models import (
    Assignment,
    AssignmentLog,
    Card,
    CardOrder,
    CardState,
    CardTransfer,
    Claim,
    ConflictEvidence,
    EnrolmentToken,
    IdentityChange,
    IdentityConflict,
    IngestClock,
    Node,
    NodeProof,
    Passport,
    Report,
)
from nodes.passports.findings import MEASURED
from nodes.passports.rows import CatalogueRow
from nodes.states import WORKED_ON, Availability, ClaimKind, NodeState, PassportRole, Seen, Wanted

CLAIMS_BACK = timedelta(days=1)


def last_sign_of_life(node: Node, *, now: datetime) -> datetime:
    """When the node was last heard, or when we could hear again: our own outage is not a node's silence."""
    heard = node.last_seen_at or node.enrolled_at
    ingest = IngestClock.objects.first()
    if ingest is None:
        return heard
    is_down = now - ingest.beat_at > timedelta(seconds=settings.STALE_SECONDS)
    return now if is_down else max(heard, ingest.up_since_at)


def is_alive(card: Card, now: datetime) -> bool:
    """Whether the host that has the card still has it: it was heard lately, names it, and can read it.

    An agent goes on naming a card that its driver lost, and says with each reading that it is lost.
    """
    node = card.node
    if node is None or node.state in {NodeState.LOST, NodeState.RETIRED}:
        return False
    report = getattr(node, "report_state", None)
    heard_at = report.received_at if report else node.enrolled_at
    if heard_at < now - timedelta(seconds=settings.LOST_SECONDS):
        return False
    is_named = any(each.get("uuid") == card.uuid for each in node.inventory.get("cards", []))
    return is_named and not CardState.objects.filter(card=card, reasons__contains=[GPU_LOST]).exists()


def running_assignment(holder: str) -> Assignment | None:
    """What should run for a lease now, with its node; None when nothing should."""
    return Assignment.objects.select_related("node").filter(holder=holder, wanted=Wanted.RUN).first()


def log_of(holder: str) -> AssignmentLog | None:
    """What a lease's workload wrote last; None when nothing came or it is forgotten."""
    return AssignmentLog.objects.filter(assignment__holder=holder).first()


def uuids_in_order(node: Node) -> list[str]:
    """The node's cards in the order of its reports."""
    return [card["uuid"] for card in node.inventory.get("cards", [])]


def uuids_when_proven(node: Node) -> set[str]:
    """The cards that stood in a proven node at that time."""
    orders = CardOrder.objects.filter(node=node, since_at__lte=node.proven_at).order_by("-since_at", "-pk")
    before = orders.values_list("uuids", flat=True).first()
    return set(uuids_in_order(node) if before is None else before)


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One report of a node: when it was true, and every card's values one after the other."""

    observed_at: datetime
    values: list[float]


@dataclass(frozen=True, slots=True)
class ClaimTimes:
    """Is a card leased now, and since when is it free of its last lease."""

    is_leased: bool = False
    free_since: datetime | None = None


def card_states_of(nodes: Sequence[Node]) -> list[CardState]:
    """The states of the nodes' cards with their cards, in pk order."""
    states = CardState.objects.filter(card__node__in=nodes).select_related("card")
    return list(states.order_by("card_id"))


def claim_times(cards: Collection[Card], now: datetime) -> dict[int, ClaimTimes]:
    """By card, what its leases of the last day say. A claim that is over frees no card of a lease that still runs."""
    found = dict.fromkeys((card.pk for card in cards), ClaimTimes())
    claims = Claim.objects.filter(
        card_id__in=found, kind__in=WORKED_ON, period__overlap=DateTimeTZRange(now - CLAIMS_BACK, now, "[]")
    )
    for card_id, period in claims.order_by("period").values_list("card_id", "period"):
        if period.upper is None or period.upper > now:
            found[card_id] = ClaimTimes(is_leased=True)
        elif not found[card_id].is_leased:
            found[card_id] = ClaimTimes(free_since=period.upper)
    not_stopped = _uuids_not_stopped({card.node_id for card in cards})
    return found | {card.pk: ClaimTimes(is_leased=True) for card in cards if card.uuid in not_stopped}


def _uuids_not_stopped(node_ids: Collection[int | None]) -> set[str]:
    assignments = Assignment.objects.filter(node__in=node_ids).exclude(seen=Seen.EXITED)
    return {uuid for epochs in assignments.values_list("epochs", flat=True) for uuid in epochs}


@dataclass(frozen=True, slots=True)
class Places:
    """Where cards stand in a node's reports, at any time."""

    since: list[datetime]
    uuids: list[list[str]]

    def of(self, card: Card, received_at: datetime) -> int | None:
        """The card's place in a report that was received then; None when it is not in it."""
        number = bisect.bisect_right(self.since, received_at) - 1
        if number < 0:
            return card.index
        uuids = self.uuids[number]
        return uuids.index(card.uuid) if card.uuid in uuids else None


def places_of(node_ids: Collection[int]) -> dict[int, Places]:
    """Every order in which each of the nodes ever reported its cards."""
    found = {node_id: Places([], []) for node_id in node_ids}
    orders = CardOrder.objects.filter(node__in=node_ids).order_by("since_at", "pk")
    for node_id, since_at, uuids in orders.values_list("node_id", "since_at", "uuids"):
        found[node_id].since.append(since_at)
        found[node_id].uuids.append(uuids)
    return found


def report_windows(nodes: Sequence[Node], *, since: datetime) -> dict[int, list[WindowRow]]:
    """Each node's reports in the order in which they came, without those that repeat or fall behind an earlier one.

    Reports from before the cards stood in their present order are left out: their values would be other cards'.
    """
    windows: dict[int, list[WindowRow]] = {node.pk: [] for node in nodes}
    ordered_since = {node.pk: max(since, node.inventory_at or since) for node in nodes}
    last: dict[int, tuple[int, int]] = {}
    rows = Report.objects.filter(node_id__in=windows, received_at__gte=since).order_by("received_at", "run", "seq")
    columns = rows.values_list("node_id", "run", "seq", "received_at", "observed_at", "cards")
    for node_id, run, seq, received_at, observed_at, values in columns.iterator(chunk_size=2000):
        if (run, seq) > last.get(node_id, (-1, -1)) and received_at >= ordered_since[node_id]:
            last[node_id] = (run, seq)
            windows[node_id].append(WindowRow(observed_at, values))
    return windows


def tokens_of(firm: Firm) -> QuerySet[EnrolmentToken]:
    """The firm's enrolment tokens."""
    return EnrolmentToken.objects.filter(firm=firm)


def nodes_of(firm: Firm) -> QuerySet[Node]:
    """The firm's nodes with their cards."""
    cards = Card.objects.select_related("gpu_model", "status")
    return Node.objects.filter(firm=firm).select_related("proof").prefetch_related(Prefetch("cards", cards))


def node_of_firm(firm: Firm, public_id: str) -> Node:
    """One of them, or NotFound."""
    node = nodes_of(firm).filter(public_id=public_id).first()
    if node is None:
        raise NotFound
    return node


def cards_by_availability(firm: Firm) -> dict[str, int]:
    """How many of the firm's cards are doing what."""
    counted = CardState.objects.filter(card__firm=firm).values_list("availability").annotate(count=Count("card_id"))
    found = dict(counted.order_by())
    return {name: found.get(name, 0) for name in Availability.values}


def open_conflicts(now: datetime) -> QuerySet[IdentityConflict]:
    """What an operator must rule on, oldest first, with `claims_so_far` (leases), `is_claimed` (now or ahead, by others
    than whom it was sent to) and `is_awaited` (it was sent to the newcomer's firm).
    """
    sent = CardTransfer.objects.filter(ended_at=None)
    to_him = sent.filter(card=OuterRef("card"), to_firm=OuterRef("newcomer__firm"))
    to_his = sent.filter(card=OuterRef("card"), to_firm=OuterRef(OuterRef("newcomer__firm")))
    ahead = Claim.objects.filter(Q(period__endswith__gt=now) | Q(period__upper_inf=True), card=OuterRef("card"))
    leases = Count("card__claims", filter=Q(card__claims__kind=ClaimKind.LEASE))
    found = IdentityConflict.objects.filter(resolved_at=None).annotate(
        claims_so_far=leases,
        is_claimed=Exists(ahead.exclude(Exists(to_his.filter(holder=OuterRef("holder"))))),
        is_awaited=Exists(to_him),
    )
    return found.select_related("card__gpu_model", "card__node", "card__firm", "newcomer__firm").order_by("pk")


def arrivals_held_up() -> QuerySet[IdentityConflict]:
    """Open conflicts about a card that its receiver's host names while the sender's has not let go."""
    sent = CardTransfer.objects.filter(card=OuterRef("card"), to_firm=OuterRef("newcomer__firm"), ended_at=None)
    found = IdentityConflict.objects.filter(Exists(sent), resolved_at=None)
    return found.select_related("card__node", "newcomer").order_by("pk")


def quarantined_nodes() -> QuerySet[Node]:
    """Nodes that nobody believes, newest first; `is_disputed` while a conflict about a card of theirs is open."""
    disputed = IdentityConflict.objects.filter(newcomer=OuterRef("pk"), resolved_at=None)
    nodes = Node.objects.filter(state=NodeState.QUARANTINED).annotate(is_disputed=Exists(disputed))
    return nodes.select_related("firm").order_by("-pk")


def must_be_proven(node: Node) -> bool:
    """Whether its cards wait for a lease of the platform's own."""
    return node.proven_at is None and settings.PROVING_LEASE_SECONDS > 0


def proof_of(node: Node) -> NodeProof | None:
    """How the proving goes; None where it was not tried yet. Read the node with its `proof`."""
    return getattr(node, "proof", None)


def nodes_due_for_proof(now: datetime) -> QuerySet[Node]:
    """Nodes that are not proven, could run a lease now, and have waited since the last one that failed."""
    due = Q(proof=None) | Q(proof__next_at__lte=now, proof__running_since_at=None)
    able = Node.objects.filter(due, proven_at=None, state=NodeState.ONLINE, is_draining=False)
    return able.exclude(runtime="none").order_by("pk")


def nodes_that_fail_their_proof() -> QuerySet[Node]:
    """Nodes on which the platform's own leases failed, with their proof, those that failed most often first."""
    failing = Node.objects.filter(proven_at=None, proof__failures__gt=0).exclude(state=NodeState.RETIRED)
    return failing.select_related("firm", "proof").order_by("-proof__failures", "pk")


def cards_with_another_identity(card_ids: Collection[int]) -> set[int]:
    """Those of them that said they are another card, and nobody has looked yet."""
    changes = IdentityChange.objects.filter(card_id__in=card_ids, is_blocking=True, accepted_at=None)
    return set(changes.values_list("card_id", flat=True))


def is_blocked(card: Card) -> bool:
    """Whether a card may not be sold: its identity changed, or nobody believes the node that has it.

    A conflict about its UUID blocks the newcomer alone. Anybody can name a UUID that he read in a passport, so the
    card with the history goes on trading until an operator has ruled.
    """
    is_disbelieved = Node.objects.filter(cards=card, state=NodeState.QUARANTINED).exists()
    return is_disbelieved or bool(cards_with_another_identity([card.pk]))


def open_identity_changes() -> QuerySet[IdentityChange]:
    """Cards that an operator must look at before they are traded again, oldest first."""
    changes = IdentityChange.objects.filter(is_blocking=True, accepted_at=None)
    return changes.select_related("card__gpu_model", "card__firm", "node").order_by("pk")


def latest_passport(
    card: Card, *, role: str | None = None, subject: str | None = None, now: datetime
) -> Passport | None:
    """The newest passport of a card that has not expired, of one role or for one sale where that is asked for.

    A seller's is good only while the card is what it was: of one that changed since, another must be measured.
    """
    found = Passport.objects.filter(card=card, expires_at__gt=now)
    if role is not None:
        found = found.filter(role=role)
    if role == PassportRole.SELLER:
        changes = IdentityChange.objects.filter(card=card, is_blocking=True)
        if changed_at := changes.aggregate(at=Max("seen_at"))["at"]:
            found = found.filter(measured_at__gte=changed_at)
    if subject is not None:
        found = found.filter(subject=subject)
    return found.select_related("card__gpu_model", "node", "firm").order_by("-seq").first()


def passport_of(public_id: str) -> Passport:
    """One passport, expired or not; NotFound when there is none."""
    found = Passport.objects.select_related("card__gpu_model", "node", "firm").filter(public_id=public_id).first()
    if found is None:
        raise NotFound
    return found


def passports_of(card: Card) -> QuerySet[Passport]:
    """A card's passports, the newest first."""
    return Passport.objects.filter(card=card).select_related("firm").order_by("-seq")


def card_of_firm(firm: Firm, public_id: str) -> Card:
    """A card of the firm's, or NotFound."""
    card = Card.objects.select_related("gpu_model", "node").filter(firm=firm, public_id=public_id).first()
    if card is None:
        raise NotFound
    return card


def catalogue_row(model: GpuModel) -> CatalogueRow:
    """The model as findings compare with it."""
    others = model.aliases.filter(kind="nvml").order_by("rank").values_list("alias", flat=True)
    bandwidth, rate = model.memory_bandwidth_gb_s, model.fp16_dense_tflops
    return CatalogueRow(
        slug=model.slug,
        names=(model.name, *others),
        architecture=model.architecture,
        compute_capability=model.compute_capability,
        pci_device_ids=frozenset(model.pci_device_ids),
        memory_sizes_mib=tuple(model.memory_sizes_mib),
        nvml_totals_mib=tuple(model.nvml_totals_mib),
        memory_type=model.memory_type,
        memory_bandwidth_mb_s=None if bandwidth is None else bandwidth * 1000,
        fp16_dense_gflops=None if rate is None else int(rate * 1000),
        is_listed=model.is_listed,
    )


def passport_named(file: Mapping[str, Any]) -> Passport | None:
    """The passport of our log that a file is of; None when there is none with exactly this record."""
    try:
        record = canonical(file.get("record")).decode()
    except CanonicalError:
        return None
    sha256 = hashlib.sha256(record.encode()).hexdigest()
    return Passport.objects.select_related("card__gpu_model", "node", "firm").filter(sha256=sha256).first()


def is_newest(passport: Passport) -> bool:
    """Whether the card has no later passport."""
    return not Passport.objects.filter(card=passport.card_id, seq__gt=passport.seq).exists()


def newest_passport_ids(firm: Firm) -> dict[int, str]:
    """By card pk, the newest passport of each of the firm's cards that has one."""
    passports = Passport.objects.filter(card__firm=firm).order_by("card_id", "-seq").distinct("card_id")
    return dict(passports.values_list("card_id", "public_id"))


def evidence_of(conflict: IdentityConflict) -> list[ConflictEvidence]:
    """What both nodes measured, oldest first."""
    return list(ConflictEvidence.objects.filter(conflict=conflict).select_related("node").order_by("pk"))


def answered_at_once(evidence: Iterable[ConflictEvidence]) -> bool:
    """Whether two nodes answered in times that overlap, with every test run: then there are two cards."""
    timed = [each for each in evidence if each.tier == MEASURED]
    return any(
        one.node_id != other.node_id and max(one.asked_at, other.asked_at) < min(one.answered_at, other.answered_at)
        for one in timed
        for other in timed
    )
