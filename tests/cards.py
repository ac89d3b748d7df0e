"""Cards on the market: measured, photographed and listed, through the real services where one exists."""

from __future__ import annotations

import functools
import io
import itertools
import json
from datetime import timedelta
from typing import Any

from PIL import Image

from listings.cards.models import CardListing
from listings.cards.services import CardTerms, add_photo, create_card_listing, open_card_listing
from marketplace.accounts.models import Firm
from nodes.models import Card, Node, Passport

USD = 1_000_000
_numbers = itertools.count(1)


@functools.cache
def photo(colour: int = 30) -> bytes:
    """A small photo."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (colour, 90, 60)).save(out, "JPEG")
    return out.getvalue()


def body_of(card: Card, **observed: Any) -> dict[str, Any]:
    """What a measurement of this very card says."""
    return {
        "identity": {"uuid": card.uuid, "pci_device_id": "0x1234"},
        "observed": {"mem_total": card.memory_mib} | observed,
    }


def measure(card: Card, *, now, role: str = "seller", firm: Firm | None = None, node: Node | None = None, **said: Any):
    """A passport as the market records it; `body`, `findings`, `grade` and `subject` may be said."""
    last = Passport.objects.filter(card=card).order_by("-seq").first()
    return Passport.objects.create(
        card=card,
        node=node or card.node,
        firm=firm or card.firm,
        role=role,
        subject=said.get("subject", ""),
        seq=last.seq + 1 if last else 1,
        body=json.dumps(said.get("body") or body_of(card)),
        sha256=f"{next(_numbers):064x}",
        prev_sha256=last.sha256 if last else "",
        node_signature="",
        market_signature="",
        tier="measured",
        function_grade=said.get("grade", "F1"),
        findings=said.get("findings", []),
        measured_at=now,
        expires_at=now + timedelta(days=14),
        recorded_at=now,
    )


def draft(cards: list[Card], *, now, ask: int = 1000 * USD, **terms: Any) -> CardListing:
    """A draft with its photos."""
    values = {
        "cards": tuple(card.public_id for card in cards),
        "ask_micros": ask,
        "currency": "USD",
        "appearance_grade": "good",
        "ships_from": "DE",
        "shipping_micros": 20 * USD,
        "shipping_abroad_micros": 50 * USD,
    } | terms
    firm = cards[0].firm
    listing = create_card_listing(firm=firm, terms=CardTerms(**values), actor="test", now=now)
    for number, kind in enumerate(("front", "code")):
        add_photo(firm=firm, public_id=listing.public_id, kind=kind, data=photo(number), now=now)
    return listing


def list_for_sale(cards: list[Card], *, now, ask: int = 1000 * USD, **terms: Any) -> CardListing:
    """Measure the cards and put them into the book."""
    for card in cards:
        measure(card, now=now)
    listing = draft(cards, now=now, ask=ask, **terms)
    return open_card_listing(firm=listing.firm, public_id=listing.public_id, actor="test", now=now)
