"""Cards on the market: measured, photographed, listed and bought, through the real services where one exists."""

from __future__ import annotations

import functools
import io
import itertools
import json
import secrets
from datetime import timedelta
from typing import Any

from PIL import Image

from listings.cards.models import CardListing
from listings.cards.services import CardTerms, add_photo, create_card_listing, open_card_listing
from marketplace.accounts.models import Firm
from marketplace.sales.models import CardBid, Lab, Sale
from marketplace.sales.services.bidding import BidRequest, Take, buy_once, place_bid_once
from marketplace.sales.services.disputing import add_evidence
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.shipping import Shipment, receive_sale, ship_sale
from nodes.models import Card, Node, Passport
from tests.nodes.passports.bodies import changed, honest_body

USD = 1_000_000
_numbers = itertools.count(1)


@functools.cache
def photo(colour: int = 30) -> bytes:
    """A small photo."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (colour, 90, 60)).save(out, "JPEG")
    return out.getvalue()


def body_of(card: Card, role: str = "seller") -> dict[str, Any]:
    """What an honest measurement of this very card says."""
    body = honest_body(card.gpu_model.slug, role=role)
    for view in ("nvml", "driver", "cuda"):
        body = changed(body, f"views.{view}.uuid", card.uuid)
    return body


def measure(card: Card, *, now, role: str = "seller", firm: Firm | None = None, **said: Any) -> Passport:
    """A passport as the market records it; `body`, `findings`, `grade`, `subject` and `node` may be said."""
    last = Passport.objects.filter(card=card).order_by("-seq").first()
    node = said.get("node") or Node.objects.filter(firm=firm).first() if firm else card.node
    return Passport.objects.create(
        card=card,
        node=node or card.node,
        firm=firm or card.firm,
        role=role,
        subject=said.get("subject", ""),
        seq=last.seq + 1 if last else 1,
        nonce=secrets.token_hex(32),
        body=json.dumps(said.get("body") or body_of(card, role)),
        record="{}",
        sha256=secrets.token_hex(32),
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


def bid(firm: Firm, card: Card, *, now, limit: int = 1200 * USD, **said: Any) -> CardBid:
    """Bid for cards like this one."""
    values = {
        "gpu": card.gpu_model.slug,
        "memory_mib": card.memory_mib,
        "grade_min": "F2",
        "currency": "USD",
        "limit_micros": limit,
        "count": 1,
        "ships_to": "FR",
        "address": "1 rue de la Carte, Paris",
    } | said
    key = f"bid-{next(_numbers)}"
    return place_bid_once(firm=firm, actor="test", request=BidRequest(**values), key=key, body=values, now=now)


def buy(firm: Firm, listing: CardListing, *, now, count: int = 1, **said: Any) -> list[Sale]:
    """Take cards of a listing; the sales that come of it."""
    values = {"ships_to": "FR", "address": "1 rue de la Carte, Paris"} | said
    take = Take(listing=listing.public_id, count=count, **values)
    made = buy_once(firm=firm, actor="test", take=take, key=f"buy-{next(_numbers)}", body=values, now=now)
    return list(made.sales.order_by("pk"))


def label(sale: Sale, firm: Firm, *, now) -> Shipment:
    """A parcel with a photo of its label."""
    said = add_evidence(firm=firm, public_id=sale.public_id, text="label", photo=photo(9), actor="test", now=now)
    return Shipment(carrier="DHL", tracking="JD0146", label=said.public_id)


def ship(sale: Sale, *, now, firm: Firm | None = None) -> Sale:
    """The seller, or another firm whose turn it is, sends it."""
    who = firm or sale.seller
    return ship_sale(firm=who, public_id=sale.public_id, shipment=label(sale, who, now=now), actor="test", now=now)


def receive(sale: Sale, *, now, firm: Firm | None = None) -> Sale:
    """The buyer, or another firm whose turn it is, has it."""
    return receive_sale(firm=firm or sale.buyer, public_id=sale.public_id, actor="test", now=now)


def measure_for(sale: Sale, *, now, role: str = "buyer", firm: Firm | None = None, card: Card | None = None) -> Sale:
    """Somebody measures a card for this sale, the sold one unless another is given, and the market looks at it."""
    who = firm or {"buyer": sale.buyer, "seller": sale.seller}[role]
    measure(card or sale.card, now=now, role=role, firm=who, subject=sale.public_id, node=sale.card.node)
    consider_passports(now=now)
    return Sale.objects.get(pk=sale.pk)


def make_lab(firm: Firm, country: str = "FR") -> Lab:
    """A firm that measures for others."""
    return Lab.objects.create(firm=firm, country=country, address="2 rue du Labo")
