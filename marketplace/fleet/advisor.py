"""The advice for a firm's cards: what was measured and what the market says, put into the formulas."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.fleet.advice import Advice, advise
from marketplace.fleet.assumptions import BY_NAME, Assumed, Inputs, Origin, assume, inputs_of
from marketplace.fleet.card_market import CardMarket
from marketplace.fleet.cautions import Caution, cautions
from marketplace.fleet.guide import Guide, Method, Wanted, gibibytes, is_same_card, monthly_decline
from marketplace.fleet.selectors import (
    HourPrice,
    KindKey,
    Use,
    hour_price,
    leased_on_the_market,
    use_by_card,
    use_by_kind,
)
from marketplace.fleet.selling import Bids, Pace, best_pace, bids_for, cards_to_rent
from marketplace.fleet.workings import Line, workings
from nodes.models import Card

WATCHED_MIN = timedelta(hours=72)
DECLINE = BY_NAME["monthly_decline"]
HANDLING = 300  # basis points of a card's price
Found = dict[str, tuple[int, Origin, str]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """An advice with everything behind it."""

    use: Use
    assumed: Mapping[str, Assumed]
    inputs: Inputs
    advice: Advice
    cautions: tuple[Caution, ...]

    @property
    def workings(self) -> tuple[Line, ...]:
        """The formulas with the numbers put in."""
        return workings(self.inputs)


@dataclass(frozen=True, slots=True)
class KnownKind:
    """What was measured and found of the cards of one kind, before anything is assumed."""

    key: KindKey
    model: GpuModel
    memory_mib: int
    guide: Guide | None
    hour_price: HourPrice | None
    use: Use
    found: Found
    standing_bids: Sequence[int]


@dataclass(frozen=True, slots=True)
class KindAdvice:
    """The cards of one kind together: how many to keep for rent, how many to sell, and how fast."""

    known: KnownKind
    judgement: Judgement
    rent_count: int
    pace: Pace | None
    bids: Bids

    @property
    def key(self) -> KindKey:
        """Which kind."""
        return self.known.key

    @property
    def model(self) -> GpuModel:
        """Its model."""
        return self.known.model

    @property
    def memory_mib(self) -> int:
        """As on the box."""
        return self.known.memory_mib

    @property
    def guide(self) -> Guide | None:
        """What such cards sell for."""
        return self.known.guide

    @property
    def hour_price(self) -> HourPrice | None:
        """What their hours go for."""
        return self.known.hour_price

    @property
    def count(self) -> int:
        """How many there are."""
        return self.judgement.use.cards

    @property
    def sell_count(self) -> int:
        """How many the demand does not keep busy enough; none where nothing can be said."""
        return self.count - self.rent_count if self.judgement.advice.verdict else 0


@dataclass(frozen=True, slots=True)
class CardAdvice:
    """One card."""

    card: Card
    kind: KindAdvice
    judgement: Judgement


class Advisor:
    """Advice for one firm; `given` are the assumptions that the seller makes otherwise."""

    def __init__(self, firm: Firm, *, currency: str, given: Mapping[str, int], now: datetime) -> None:
        self.firm, self.currency, self.given, self.now = firm, currency, dict(given), now
        self.market = CardMarket(currency, now=now, viewer=firm)

    def kinds(self, cards: QuerySet[Card]) -> list[KindAdvice]:
        """Every kind among the cards, the most numerous first."""
        uses = use_by_kind(self.firm, cards, now=self.now)
        models = GpuModel.objects.in_bulk({key.model_id for key in uses})
        demand = leased_on_the_market(models.keys(), now=self.now)
        made = [self._kind(key, use, models[key.model_id], demand) for key, use in uses.items()]
        return sorted(made, key=lambda kind: (-kind.count, kind.model.slug, kind.key))

    def cards(self, cards: Sequence[Card], kinds: Sequence[KindAdvice]) -> list[CardAdvice]:
        """Each card by its own use; `kinds` are those of all the firm's cards that were asked for."""
        uses = use_by_card(self.firm, cards, now=self.now)
        by_key = {kind.key: kind for kind in kinds}
        pairs = [
            (card, by_key.get(KindKey.of(card))) for card in cards
        ]  # a card may have come since the kinds were read
        return [self._card(card, uses[card.pk], kind) for card, kind in pairs if kind is not None]

    def assuming(self, kind: KindAdvice, given: Mapping[str, int]) -> tuple[Advisor, KindAdvice]:
        """An advisor with other assumptions, and what it says of a kind; nothing is measured again."""
        other = copy.copy(self)
        other.given = dict(given)
        return other, other._made(kind.known)

    def _kind(self, key: KindKey, use: Use, model: GpuModel, demand: Mapping[tuple[int, int], int]) -> KindAdvice:
        memory_mib = _memory_of(model, key)
        wanted = Wanted(model.slug, memory_mib, self.currency, is_modified=key.is_modified)
        guide = self.market.guide(wanted)
        price = hour_price(model.slug, key.memory_gib, self.currency, now=self.now)
        found = _market_found(guide, price, model) | self._supply_found(wanted, model, key)
        found |= _use_found(use, use, demand.get((key.model_id, key.memory_gib)))
        known = KnownKind(key, model, memory_mib, guide, price, use, found, self.market.bids(model, key.memory_gib))
        return self._made(known)

    def _made(self, known: KnownKind) -> KindAdvice:
        judgement = self._judged(known.use, known.found, known.use.cards, known.guide)
        rent = cards_to_rent(known.use.cards, judgement.inputs)
        sell = known.use.cards - rent
        return KindAdvice(
            known, judgement, rent, best_pace(sell, judgement.inputs), bids_for(sell, known.standing_bids)
        )

    def _card(self, card: Card, use: Use, kind: KindAdvice) -> CardAdvice:
        """As its kind, but by its own use where it was watched for long enough."""
        inherited = {
            name: (each.value, each.origin, each.source)
            for name, each in kind.judgement.assumed.items()
            if each.value is not None and each.origin not in {Origin.GIVEN, Origin.DEFAULT}
        }
        watched = use if use.seen_seconds >= WATCHED_MIN.total_seconds() else None
        own = _use_found(watched, kind.judgement.use, None) if watched else {}
        return CardAdvice(card, kind, self._judged(use, inherited | own, kind.count, kind.guide))

    def _judged(self, use: Use, found: Found, count: int, guide: Guide | None) -> Judgement:
        given = self.given
        if "card_value" in given:  # the spread of a guide says nothing about a price that somebody names
            found = {name: each for name, each in found.items() if name != "card_spread"}
        assumed = assume(found, given)
        inputs = inputs_of(assumed)
        advice = advise(inputs)
        is_modelled = guide is not None and guide.method == Method.HEDONIC and "card_value" not in given
        return Judgement(use, assumed, inputs, advice, cautions(inputs, advice, count=count, is_modelled=is_modelled))

    def _supply_found(self, wanted: Wanted, model: GpuModel, key: KindKey) -> Found:
        since = self.now - timedelta(days=30)
        sold = sum(
            is_same_card(sale, wanted) and sale.at > since and sale.currency == self.currency and not sale.is_linked
            for sale in self.market.sales(model.slug)
        )
        offered = self.market.on_offer(model, key.memory_gib)
        return self._decline_found(wanted) | {
            "sold_30_days": (sold, Origin.MARKET, "completed sales of the last 30 days"),
            "on_offer": (offered, Origin.MARKET, "open listings of others"),
        }

    def _decline_found(self, wanted: Wanted) -> Found:
        trend = monthly_decline(self.market.sales(wanted.model_slug), wanted, now=self.now)
        if trend is None:
            return {}
        within = max(min(trend.basis_points, DECLINE.high), DECLINE.low)
        source = f"the median slope between {trend.sale_count} completed sales"
        return {"monthly_decline": (within, Origin.MARKET, source)}


def _market_found(guide: Guide | None, price: HourPrice | None, model: GpuModel) -> Found:
    fee = settings.PLATFORM_FEE_BASIS_POINTS
    selling = settings.CARD_FEE_BASIS_POINTS + HANDLING
    found: Found = {
        "platform_fee": (fee, Origin.MARKET, "what this exchange takes"),
        "selling_cost": (
            selling,
            Origin.MARKET,
            "what this exchange takes of a card, and 3 % for shipping and handling",
        ),
    }
    if guide is not None:
        found["card_value"] = (guide.p50_micros, Origin.MARKET, guide.basis)
        found["card_spread"] = (min(round(guide.spread * 10_000), 10_000), Origin.MARKET, guide.basis)
    if price is not None:
        trades = f"{price.trade_count} trade{'' if price.trade_count == 1 else 's'}"
        source = f"median of {trades} over {price.gpu_hours} GPU-hours in 30 days"
        found["rent_price"] = (price.price_micros, Origin.MARKET, source)
    if model.tdp_w:
        found["load_watts"] = (model.tdp_w, Origin.MARKET, "the catalogue's board power; not measured yet")
    return found


def _use_found(use: Use, kind_use: Use, demand: int | None) -> Found:
    """Shares and watts as measured. Demand for cards that the firm never rented out is what the market shows."""
    found: Found = {}
    seen = f"measured: {use.seen_seconds // 3600} h seen in 30 days"
    if use.seen_seconds:
        own = use.share(use.owner_seconds)
        found["own_share"] = (own, Origin.MEASURED, seen)
        if kind_use.leased_seconds:
            found["rented_share"] = (use.share(use.leased_seconds), Origin.MEASURED, seen)
    if demand is not None and "rented_share" not in found:
        free = 10_000 - (found["own_share"][0] if found else 0)
        source = "never rented by you: what others rented of such cards' free hours in 7 days"
        found["rented_share"] = (demand * free // 10_000, Origin.MARKET, source)
    if use.idle_watts is not None:
        found["idle_watts"] = (round(use.idle_watts), Origin.MEASURED, "measured: mean of its idle hours")
    if use.load_watts is not None:
        found["load_watts"] = (round(use.load_watts), Origin.MEASURED, "measured: mean of its busy hours")
    return found


def _memory_of(model: GpuModel, key: KindKey) -> int:
    """The factory's size where it is one of them, else what the box says."""
    sizes = [size for size in model.memory_sizes_mib if gibibytes(size) == key.memory_gib]
    return sizes[0] if sizes else key.memory_gib * 1024
