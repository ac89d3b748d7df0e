"""A node that is not proven, in words for its owner: what happens, how long it takes, what failed and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from marketplace.storefront.wording import duration
from nodes.models import Node, NodeProof
from nodes.selectors import must_be_proven, proof_of
from nodes.states import NodeState

DOCTOR = "Run fallow-agent doctor on the host: it says what is missing."
IMAGE = "Let the host reach the registry, and see that its disk is not full."
# reason → what happened, what to do
REASONS = {
    "image_not_found": ("The host could not find our image", IMAGE),
    "image_denied": ("The registry did not give our image to the host", IMAGE),
    "image_too_large": ("The host had no room for our image", "Free space on the engine's disk."),
    "workload_exited": ("The container ended by itself", DOCTOR),
    "workload_failed": ("The container ended by itself", DOCTOR),
    "engine_unavailable": ("The container engine did not start it", DOCTOR),
    "gpu_not_visible": (
        "The container started, but the card was not in it",
        "Install the NVIDIA Container Toolkit, make the cards known to the engine and restart that.",
    ),
    "gpu_busy": ("Something else held the card", "See with nvidia-smi what runs on it."),
    "relay_unavailable": (
        "The host could not open its tunnel",
        f"Allow it to connect to {settings.RELAY_HOST}, port {settings.RELAY_PORT}.",
    ),
    "owner_hook_failed": ("Your own hook failed", "Look at the programs in hooks/lease-start.d on the host."),
    "start_timed_out": ("It did not start in time", f"A slow network may have kept the image. {DOCTOR}"),
    "node_lost": ("The host fell silent while it ran", "See that the agent runs and its network holds."),
    "card_unhealthy": ("The card became unhealthy", "The list below says what is wrong with it."),
    "not_cleaned": (
        "It ended, but the card's memory was not given back",
        "See with nvidia-smi what is left on the card, and restart the agent.",
    ),
    "bad_signature": ("The agent refused our command", "Enrol the host again."),
    "stale_epoch": ("The agent refused our command", "Restart the agent."),
    "owner_reclaimed": ("You took the card back", "Nothing is held against you; it runs when a card is idle again."),
}
OTHER = ("The host could not keep it running", DOCTOR)


@dataclass(frozen=True, slots=True)
class ProofNote:
    """What the panel of a node says. `tone` is a CSS class, `icon` a name in `icons.ICONS`."""

    tone: str
    icon: str
    text: str
    to_do: str = ""
    detail: str = ""
    since_at: datetime | None = None
    next_at: datetime | None = None


def proof_note(node: Node, *, is_listed: bool) -> ProofNote | None:
    """None for a node that is proven, or need not be."""
    if not must_be_proven(node) or node.state in {NodeState.QUARANTINED, NodeState.RETIRED}:
        return None
    proof = proof_of(node)
    if proof is not None and proof.running_since_at:
        text = (
            f"A lease of our own runs here now, for about {_length()}: when it has ended well, your cards are offered."
        )
        return ProofNote("", "moving", text, since_at=proof.running_since_at)
    if proof is not None and proof.failed_at:
        return _failed(node, proof, is_listed)
    text = (
        "Not offered yet. Before a host earns, a short lease of our own must run on it, started, checked and ended as "
        f"a buyer's is. It costs and pays nothing, takes about {_length()}, and ends when you use the card."
    )
    return ProofNote("wait", "clock", text, _waits_for(node, is_listed))


def reason_of(proof: NodeProof) -> str:
    """What happened when it last failed, as the beginning of a sentence."""
    return REASONS.get(proof.reason, OTHER)[0]


def _failed(node: Node, proof: NodeProof, is_listed: bool) -> ProofNote:
    what, to_do = REASONS.get(proof.reason, OTHER)
    if proof.reason == "owner_reclaimed":
        return ProofNote("wait", "clock", f"Not offered yet. {what} while our own lease ran.", to_do)
    text = f"Not offered yet: our own lease failed here. {what}."
    return ProofNote("bad", "warning", text, to_do, proof.detail, proof.failed_at, proof.next_at if is_listed else None)


def _waits_for(node: Node, is_listed: bool) -> str:
    if node.runtime == "none":
        return f"It can't begin: the agent has no container engine. {DOCTOR}"
    if node.is_draining:
        return "It begins when you end the draining."
    if not is_listed:
        return "It begins when a card of this host is listed and idle."
    return "It begins by itself when a listed card has been idle for long enough."


def _length() -> str:
    """Its own time and as much as starting and cleaning usually take."""
    return duration(settings.PROVING_LEASE_SECONDS + 60)
