"""A node that measures its cards and hands passports in, without an agent's process."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from nacl.signing import SigningKey

from marketplace.accounts.models import Firm
from nodes.agent.passport import (
    BODY_PREFIX,
    SCHEMA,
    Challenge,
    ChallengeRequest,
    PassportPost,
    SignedChallenge,
    canonical,
    entry_of,
    sampled_places,
)
from nodes.agent.protocol import decode
from nodes.models import Node, Passport
from nodes.services.inventory import record_inventory
from nodes.services.passports import issue_challenge, record_passport
from tests.nodes.builders import card_identity, make_inventory, make_node
from tests.nodes.passports.bodies import PRODUCT, SIDE, changed, honest_body

UUID = "GPU-6f2c0000-0000-4000-8000-000000000001"
TESTED = timedelta(minutes=3)
BOARD = {
    "pci_subsystem_id": "1043:889a",
    "vbios": "95.02.3c.00.01",
    "compute_capability": "8.9",
}


class Measurer:
    """A host with a key of its own and one 4090."""

    def __init__(self, now: datetime, firm: Firm | None = None, uuid: str = UUID, slug: str = "rtx-4090") -> None:
        self.key = SigningKey.generate()
        public_key = bytes(self.key.verify_key)
        self.node: Node = make_node(firm, public_key=public_key, name=f"bench-{public_key.hex()[:8]}")[0]
        self.uuid, self.slug = uuid, slug
        self.report(now)

    def report(self, now: datetime, *, has_card: bool = True, **said: Any) -> None:
        """An inventory with the card, or without it."""
        cards = [card_identity(self.uuid, **(BOARD | said))] if has_card else []
        inventory = make_inventory() if not cards else make_inventory(*cards)
        if not has_card:
            inventory.cards.clear()
        record_inventory(node_public_id=self.node.public_id, inventory=inventory, now=now)
        self.node.refresh_from_db()

    def challenge(self, now: datetime, role: str = "seller", subject: str = "") -> SignedChallenge:
        """What the market asks."""
        return issue_challenge(node=self.node, request=ChallengeRequest(self.uuid, role, subject), now=now)

    def answer(self, signed: SignedChallenge, *changes: tuple[str, Any]) -> PassportPost:
        """An honest passport for a challenge, but for the changes."""
        challenge = decode(Challenge, signed.payload)
        nonce = bytes.fromhex(challenge.nonce)
        body = honest_body(self.slug, role=challenge.role) | {
            "schema": SCHEMA,
            "nonce": challenge.nonce,
            "subject": challenge.subject,
            "seq": challenge.seq,
            "prev_sha256": challenge.prev_sha256,
        }
        body["agent"] |= {
            "node": self.node.public_id,
            "public_key": base64.b64encode(bytes(self.key.verify_key)).decode(),
        }
        shown = [entry_of(nonce, row, column, SIDE) for row, column in sampled_places(nonce, PRODUCT, SIDE)]
        body["tests"]["gemm"]["samples"] = shown
        for view in ("nvml", "driver", "cuda"):
            body["views"][view]["uuid"] = self.uuid
        for path, value in changes:
            body = changed(body, path, value)
        return self.signed(body, signed)

    def signed(self, body: dict[str, Any], challenge: SignedChallenge) -> PassportPost:
        """The body as this node hands it in."""
        text = canonical(body).decode()
        signature = base64.b64encode(self.key.sign(BODY_PREFIX + text.encode()).signature).decode()
        return PassportPost(text, signature, challenge)

    def measure(self, now: datetime, *changes: tuple[str, Any], role: str = "seller", subject: str = "") -> Passport:
        """Challenge, answer and record."""
        post = self.answer(self.challenge(now - TESTED, role, subject), *changes)
        return record_passport(node=self.node, post=post, now=now)
