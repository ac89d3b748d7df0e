"""What hosts say of their cards: checked, recognised, and one UUID never on two nodes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from marketplace.catalogue.recognition import Kind, Recognition
from marketplace.catalogue.services import recognise
from marketplace.common.errors import FieldError, Invalid, NotFound
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.agent.protocol import CARDS_PER_NODE_MAX, CardIdentity, Inventory, inventory_digest
from nodes.models import Card, CardOrder, CardState, IdentityConflict, Node
from nodes.selectors import arrivals_held_up, uuids_in_order
from nodes.services.identity import note_identity
from nodes.services.proving import doubt_other_cards
from nodes.services.transfers import arrives, may_have_been_sent, may_move
from nodes.states import ARRIVED, Availability, NodeState

UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
GPU_UUID = re.compile(r"gpu-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
TEXT_LENGTH_MAX = 200
# The most that any host may say; far above what is sold, and small enough for a 32-bit integer of PostgreSQL.
HOST_MOST = {"cpu_count": 2**16, "memory_mib": 2**30, "disk_free_gib": 2**30}
CARD_MOST = {
    "index": 2**10,
    "memory_total_mib": 2**24,
    "memory_reserved_mib": 2**24,
    "bar1_total_mib": 2**24,
    "minor_number": 2**20,
    "power_limit_w": 100_000,
    "pcie_generation_max": 100,
    "pcie_width_max": 1024,
}
NOT_REPORTED = 2**15 - 1
RUNTIMES = frozenset({"docker", "podman", "process", "none"})


@transaction.atomic
def record_inventory(*, node_public_id: str, inventory: Inventory, now: datetime) -> None:
    """Take over what a node's signed inventory says. Raises Invalid for one of a wrong shape."""
    node = Node.objects.select_for_update().filter(public_id=node_public_id).first()
    if node is None:
        raise NotFound
    apply_inventory(node=node, inventory=checked_inventory(inventory), now=now)


def checked_inventory(inventory: Inventory) -> Inventory:
    """The inventory, or Invalid with every value that no host can have."""
    said = dataclasses.asdict(inventory)
    numbers = _wrong_numbers(said, HOST_MOST, "/inventory")
    wrong = [*_wrong_texts(said, "/inventory"), *numbers, *_wrong_cards(inventory.cards)]
    if not inventory.hostname.strip():
        wrong.append(FieldError("/inventory/hostname", "blank", "a host has a name"))
    if inventory.runtime not in RUNTIMES:
        wrong.append(FieldError("/inventory/runtime", "invalid", f"one of {', '.join(sorted(RUNTIMES))}"))
    if wrong:
        raise Invalid("the inventory is malformed", code="bad_inventory", errors=tuple(wrong[:20]))
    return inventory


def apply_inventory(*, node: Node, inventory: Inventory, now: datetime) -> None:
    """Write the node's columns and its cards; call it with the node locked."""
    uuids, before = [card.uuid for card in inventory.cards], set(uuids_in_order(node))
    if node.inventory_at is None or uuids != uuids_in_order(node):
        doubt_other_cards(node=node, uuids=uuids, now=now)
        node.inventory_at = now
        CardOrder.objects.create(node=node, since_at=now, uuids=uuids)
    node.inventory = dataclasses.asdict(inventory)
    node.inventory_digest = inventory_digest(inventory)
    node.runtime = inventory.runtime
    node.agent_version = inventory.agent_version[:32]
    node.save(update_fields=["inventory", "inventory_at", "inventory_digest", "runtime", "agent_version"])
    places = {uuid: place for place, uuid in enumerate(uuids)}
    # One lock order for all who take several cards; the new ones are nobody's yet.
    known = Card.objects.filter(Q(node=node) | Q(uuid__in=uuids)).order_by("pk")
    list(known.select_for_update(no_key=True).values_list("pk"))
    # Until it is seen again a missing card has no place: nobody may read another card's values as its own.
    node.cards.exclude(uuid__in=uuids).update(index=NOT_REPORTED)
    for identity in sorted(inventory.cards, key=lambda card: card.uuid):
        if not _take_card(node, identity, places[identity.uuid], now) and identity.uuid not in before:
            _raise_alarm(Card.objects.select_related("firm").get(uuid=identity.uuid), node, now)


def settle_arrivals(*, now: datetime, limit: int = 200) -> int:
    """Hand over cards whose receiver's host named them while the sender's still had them; returns how many moved.

    The receiver's host says it once. The sender's lets go later: it is switched off, or its driver notices.
    """
    present = arrivals_held_up().exclude(newcomer__state__in=[NodeState.LOST, NodeState.RETIRED])
    return sum(_settle(pk, now) for pk in present.values_list("pk", flat=True)[:limit])


@transaction.atomic
def _settle(conflict_id: int, now: datetime) -> bool:
    card = Card.objects.select_for_update(of=("self",), no_key=True).get(conflicts=conflict_id)
    conflict = IdentityConflict.objects.select_related("newcomer__firm").get(pk=conflict_id)
    newcomer, uuids = conflict.newcomer, uuids_in_order(conflict.newcomer)
    if conflict.resolved_at is not None or card.uuid not in uuids:
        return False
    place = uuids.index(card.uuid)
    if not _take_card(newcomer, CardIdentity(**newcomer.inventory["cards"][place]), place, now):
        return False
    conflict.resolved_at, conflict.ruling = now, ARRIVED
    conflict.save(update_fields=["resolved_at", "ruling"])
    return True


def _take_card(node: Node, identity: CardIdentity, place: int, now: datetime) -> bool:
    """Whether the node has the card now; False where another one has it."""
    card = (
        Card.objects.select_for_update(of=("self",), no_key=True)
        .select_related("firm", "gpu_model")
        .filter(uuid=identity.uuid)
        .first()
    )
    model, found = recognise(_with_known_id(identity, card))
    columns = _columns(identity, place, found) | {"gpu_model": model, "node": node, "firm": node.firm}
    if card is None:
        card = Card.objects.create(uuid=identity.uuid, first_seen_at=now, **columns)
        CardState.objects.create(card=card, since_at=now, reasons=["no_report_yet"])
        record_event(
            firm_id=node.firm_id, type="card.seen", subject=card.public_id, data={"node": node.public_id}, now=now
        )
    elif card.node_id == node.pk or may_move(card, node, now) or arrives(card, node, now):
        _move_away(card, node, now)
        columns["identity"] = note_identity(card=card, node=node, identity=identity, model=model, now=now)
        Card.objects.filter(pk=card.pk).update(**columns)
    else:
        return False
    return True


def _with_known_id(identity: CardIdentity, card: Card | None) -> CardIdentity:
    """A call that failed, or an id that is hidden, makes no other model of a card."""
    known = card.identity.get("pci_device_id") if card else None
    return dataclasses.replace(identity, pci_device_id=identity.pci_device_id or known)


def _columns(identity: CardIdentity, place: int, found: Recognition) -> dict[str, Any]:
    return {
        "index": place,
        "memory_mib": identity.memory_total_mib,
        "is_modified": found.kind == Kind.MODIFIED,
        "recognition": {
            "kind": found.kind.value,
            "confidence": found.confidence.value,
            "reasons": [reason.value for reason in found.reasons],
        },
        "identity": dataclasses.asdict(identity),
    }


def _move_away(card: Card, newcomer: Node, now: datetime) -> None:
    if card.node_id == newcomer.pk:
        return
    CardState.objects.filter(card=card).update(
        availability=Availability.LOST, reasons=["moved"], since_at=now, observed_at=None, baseline_mib=None
    )
    data = {"from": card.node.public_id if card.node else None, "to": newcomer.public_id}
    record_event(firm_id=newcomer.firm_id, type="card.moved", subject=card.public_id, data=data, now=now)


def _raise_alarm(card: Card, newcomer: Node, now: datetime) -> None:
    """The node with the history keeps the card and goes on trading; an operator decides about the newcomer.

    A node alarms by what it names for the first time: an agent goes on naming a card that left its host for a while.
    Whom a card was sent to is not in doubt himself: his node goes on, and gets the card when its old one lets go. Where
    the sender took a wrong one of his, a dispute is about that.
    """
    _, is_new = IdentityConflict.objects.get_or_create(
        card=card, newcomer=newcomer, resolved_at=None, defaults={"seen_at": now}
    )
    if newcomer.state != NodeState.QUARANTINED and not may_have_been_sent(card, newcomer):
        transition(
            newcomer,
            NodeState.QUARANTINED,
            now=now,
            reason="identity_conflict",
            quarantine_reason=f"the card {card.uuid} is on another node, which has the history of it",
        )
    if is_new:
        record_event(firm_id=card.firm_id, type="card.conflict", subject=card.public_id, now=now)


def _wrong_cards(cards: list[CardIdentity]) -> list[FieldError]:
    if len(cards) > CARDS_PER_NODE_MAX:
        return [FieldError("/inventory/cards", "too_many", f"at most {CARDS_PER_NODE_MAX} cards")]
    wrong = []
    for number, card in enumerate(cards):
        where = f"/inventory/cards/{number}"
        if not UUID.fullmatch(card.uuid) or _is_misspelt(card.uuid):
            wrong.append(FieldError(f"{where}/uuid", "invalid", "NVML's UUID, such as GPU-6f2c…"))
        wrong += _wrong_numbers(dataclasses.asdict(card), CARD_MOST, where)
    if len({card.uuid for card in cards}) < len(cards):
        wrong.append(FieldError("/inventory/cards", "repeated", "one card can't be there twice"))
    return wrong


def _is_misspelt(uuid: str) -> bool:
    """A slice's UUID, or a card's as NVML never writes it: another spelling would be another card without a past."""
    return uuid[:4].lower() == "mig-" or (GPU_UUID.fullmatch(uuid) is not None and uuid != f"GPU-{uuid[4:].lower()}")


def _wrong_numbers(said: Mapping[str, Any], most: Mapping[str, int], where: str) -> list[FieldError]:
    return [
        FieldError(f"{where}/{name}", "invalid", f"0 to {limit}")
        for name, limit in most.items()
        if said[name] is not None and not 0 <= said[name] <= limit
    ]


def _wrong_texts(value: Any, where: str) -> list[FieldError]:
    """PostgreSQL keeps no NUL, and a text that no host can have would only fill the table."""
    if isinstance(value, str):
        is_wrong = len(value) > TEXT_LENGTH_MAX or "\0" in value or not value.isprintable()
        return [FieldError(where, "invalid", f"at most {TEXT_LENGTH_MAX} printable characters")] if is_wrong else []
    if isinstance(value, dict):
        return [error for key, each in value.items() for error in _wrong_texts(each, f"{where}/{key}")]
    if isinstance(value, list):
        items = enumerate(value[: CARDS_PER_NODE_MAX + 1])
        return [error for number, each in items for error in _wrong_texts(each, f"{where}/{number}")]
    return []
