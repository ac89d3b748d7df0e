"""A market for cards with everything that its pages show: listings, bids, sales in every step, what was sold before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser

from listings.cards.models import CardListing
from listings.cards.services import open_card_listing, pause_card_listing
from marketplace.accounts.roles import Role
from marketplace.accounts.services import add_member, create_user
from marketplace.common.errors import DomainError
from marketplace.sales.models import Sale
from marketplace.sales.services.disputing import add_evidence, dispute_sale, rule
from marketplace.sales.services.silences import advance_sales
from nodes.models import Card
from tests.cards import USD, bid, buy, draft, list_for_sale, make_lab, measure, measure_for, photo, receive, ship
from tests.factories import fund, make_firm
from tests.hosts import Host
from tests.storefront import PASSWORD, Scene

SOLD_BEFORE = ((26, 990), (21, 1040), (17, 1010), (13, 1065), (9, 1030), (6, 1050), (4, 1045))


@dataclass
class Shop:
    """Names of what there is to look at; `sales` by step."""

    scene: Scene
    spare: list[Card]
    listing: CardListing
    modified: CardListing
    own: dict[str, CardListing]
    sales: dict[str, Sale]
    lab: AbstractBaseUser


def build_shop(scene: Scene) -> Shop:
    """Alice has sold cards, sells some and has sold many to Bob, one for every step; Lou runs a lab."""
    market, now = scene.market, scene.market.clock.now()
    fund(market.bob, 100_000 * USD)
    cards = market.host(gpu="rtx-4090", count=36, region="eu-west", country="DE").cards
    _sell_before(scene, [cards.pop() for _ in SOLD_BEFORE], now)
    lab_firm, lab = make_firm("Lou's bench", "FR"), create_user(email="lab@fallow.example", password=PASSWORD)
    add_member(firm=lab_firm, user=lab, role=Role.OWNER, actor="test", now=now)
    make_lab(lab_firm)
    for card in cards:
        measure(card, now=now - timedelta(days=12))
    sales = _sales(scene, [cards.pop() for _ in range(14)], now)
    listing = list_for_sale(
        [cards.pop() for _ in range(3)], now=now, ask=1080 * USD, warranty_days=30, rent_counts_days=14,
        flags=("repasted", "no_serial"), ships_to=("DE", "FR", "NL"),
    )  # fmt: skip
    for limit, count in ((900, 1), (870, 2)):
        bid(market.bob, cards[0], now=now - timedelta(hours=4), limit=limit * USD, count=count)
    modified = market.host(gpu="rtx-4090-d", count=1).cards[0]
    modified.memory_mib, modified.is_modified = 49_140, True
    modified.save()
    findings = [{"code": "memory_modified", "severity": "limit", "evidence": {"memory_total_mib": 49_140}}]
    measure(modified, now=now, grade="F2", findings=findings)
    rebuilt = draft([modified], now=now, ask=2900 * USD, flags=("memory_mod",), appearance_grade="fair")
    open_card_listing(firm=market.alice, public_id=rebuilt.public_id, actor="test", now=now)
    paused = list_for_sale([cards.pop()], now=now, ask=1150 * USD, shipping_abroad_micros=None)
    pause_card_listing(firm=market.alice, public_id=paused.public_id, actor="test", now=now)
    own = {
        "draft": draft([cards.pop(), market.host(gpu="rtx-4090", count=1).cards[0]], now=now),
        "open": listing,
        "paused": paused,
    }
    return Shop(scene, cards, listing, rebuilt, own, sales, lab)


def _sell_before(scene: Scene, cards: list[Card], now: datetime) -> None:
    for card, (days, price) in zip(cards, SOLD_BEFORE, strict=True):
        at = now - timedelta(days=days)
        listing = list_for_sale([card], now=at, ask=price * USD)
        (sale,) = buy(scene.market.bob, listing, now=at)
        ship(sale, now=at + timedelta(hours=5))
        measure_for(sale, now=at + timedelta(days=2))


def _sales(scene: Scene, cards: list[Card], now: datetime) -> dict[str, Sale]:
    """One sale for each step and each end."""
    market, start = scene.market, now - timedelta(days=6)
    lot = list_for_sale(cards, now=start, ask=1100 * USD, rent_counts_days=7)
    to_china = buy(market.bob, lot, now=now - timedelta(hours=2), ships_to="CN")
    to_vietnam = buy(market.bob, lot, now=now - timedelta(hours=3), ships_to="VN")
    by_lab = buy(market.bob, lot, now=now - timedelta(days=1), count=2, route="lab")
    new = buy(market.bob, lot, now=now - timedelta(hours=1))
    old = buy(market.bob, lot, now=start, count=9)
    found = dict(zip(STEPS, (*to_china, *to_vietnam, *by_lab, *new, *old), strict=True))
    with contextlib.suppress(DomainError):  # the rules hold it
        ship(found["held"], now=now)
    ship(found["to-lab"], now=now - timedelta(hours=20))
    ship(found["from-lab"], now=now - timedelta(hours=20))
    measure_for(found["from-lab"], now=now - timedelta(hours=2), role="lab", firm=found["from-lab"].lab.firm)
    _go_on(scene, found, start)
    return {name: Sale.objects.get(pk=sale.pk) for name, sale in found.items()}


STEPS = (
    "agreed", "held", "to-lab", "from-lab", "to-ship", "shipped", "inspecting", "disputed", "to-send-back", "back",
    "released", "refunded", "split", "cancelled",
)  # fmt: skip


def _go_on(scene: Scene, found: dict[str, Sale], start: datetime) -> None:
    hour = timedelta(hours=1)
    for name in STEPS[5:]:
        if name != "cancelled":
            ship(found[name], now=start + hour)
    for name in STEPS[6:13]:
        receive(found[name], now=start + 48 * hour)
    measure_for(found["released"], now=start + 50 * hour)
    swapped = Host(scene.market.bob, start, gpu="rtx-4090", count=1).cards[0]
    measure_for(found["disputed"], now=start + 50 * hour, card=swapped)
    _say(scene, found["disputed"], start + 50 * hour)
    for name in ("to-send-back", "back", "refunded", "split"):
        _dispute(scene, found[name], start + 50 * hour)
    for name, ruling, refund in (
        ("to-send-back", "return", None), ("back", "return", None), ("refunded", "refund", None),
        ("split", "split", 300 * USD),
    ):  # fmt: skip
        rule(
            operator=scene.operator, public_id=found[name].public_id, ruling=ruling, refund_micros=refund,
            text="The numbers on the label and on the board differ.", now=start + 60 * hour,
        )  # fmt: skip
    ship(found["back"], now=start + 70 * hour, firm=scene.market.bob)
    receive(found["back"], now=start + 100 * hour, firm=scene.market.alice)
    advance_sales(now=scene.market.clock.now())


def _dispute(scene: Scene, sale: Sale, at: datetime) -> None:
    """The buyer says why, with a photo; the seller answers."""
    said = "Another card was in the box."
    dispute_sale(firm=scene.market.bob, public_id=sale.public_id, text=said, actor="test", now=at)
    _say(scene, sale, at)


def _say(scene: Scene, sale: Sale, at: datetime) -> None:
    bob, alice = scene.market.bob, scene.market.alice
    common = {"public_id": sale.public_id, "actor": "test"}
    said = "The serial number on the backplate ends in 4471; the one in your photo ends in 9930."
    add_evidence(firm=bob, text=said, photo=photo(120), now=at + timedelta(hours=1), **common)
    add_evidence(firm=alice, text="I sent the right one.", photo=None, now=at + timedelta(hours=3), **common)
