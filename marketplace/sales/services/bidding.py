"""Bids for cards: money first, then the book. Taking an ask is a bid that is filled at once or does not happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import transaction

from listings.cards.memory import nominal_mib
from listings.cards.selectors import visible_card_listing
from listings.cards.states import FUNCTION_GRADES, FunctionGrade
from listings.models import CardListing
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.services import Stage, decide_sale, end_case, item_of, require_allowed
from marketplace.events.services import is_remembered, once, record_event
from marketplace.events.transitions import transition
from marketplace.payments.selectors import disputed_before, refuse_debtors
from marketplace.sales.crossing import price_of
from marketplace.sales.models import CardBid
from marketplace.sales.pricing import Landed
from marketplace.sales.selectors import bid_for_update, bid_of, lab_for, rent_paid_micros
from marketplace.sales.services.matching import bid_value, kind_of, lock_book, match_cards
from marketplace.sales.services.money import set_bid_escrow
from marketplace.sales.services.rules import BLOCK, item_in
from marketplace.sales.states import BidReason, BidState, Route
from marketplace.sales.supply import ask_of, card_row, sellable_cards, tax_basis_points

COUNT_MAX = 256


@dataclass(frozen=True, slots=True)
class BidRequest:
    """What a buyer asks for. `limit_micros` is per card and all in: item, shipping and tax."""

    gpu: str
    memory_mib: int
    grade_min: str
    currency: str
    limit_micros: int
    count: int
    ships_to: str
    address: str
    zone: str = ""
    route: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Take:
    """The cards of one listing that a buyer takes at its ask; `card` names a certain one."""

    listing: str
    count: int
    ships_to: str
    address: str
    route: str = ""
    card: str | None = None
    most_micros: int | None = None  # the total per card that the buyer has seen


@dataclass(frozen=True, slots=True)
class Quote:
    """What a card of a listing costs a buyer, all in, and from when on it ships."""

    price: Landed
    currency: str
    count_left: int
    ships_after_at: datetime
    card_id: int | None


def place_bid_once(
    *, firm: Firm, actor: str, request: BidRequest, key: str | None, body: Any, now: datetime
) -> CardBid:
    """Place the bid unless the key has placed it before, and let it meet the book in its place in the queue."""
    if not is_remembered(firm_id=firm.pk, key=key):
        _require_reachable(firm, request, now)
    public_id, is_new = once(
        firm_id=firm.pk,
        key=key,
        body=body,
        now=now,
        make=lambda: place_bid(firm=firm, actor=actor, request=request, now=now).public_id,
    )
    if is_new:
        match_cards(now=now, kind=kind_of(bid_of(firm, public_id)))
    return bid_of(firm, public_id)


@transaction.atomic
def place_bid(*, firm: Firm, actor: str, request: BidRequest, now: datetime) -> CardBid:
    """Record the bid of a firm that compliance allows and hold its limit for every card."""
    latest = now + timedelta(days=settings.CARD_BID_DAYS_MAX)
    model = GpuModel.objects.filter(slug=request.gpu).first()
    if model is None:
        _refuse("/gpu", "unknown", f"there is no GPU model {request.gpu}")
    if request.currency not in settings.CURRENCIES:
        _refuse("/currency", "unknown", f"currencies are {', '.join(settings.CURRENCIES)}")
    if request.expires_at and not now < request.expires_at <= latest:
        _refuse("/expires_at", "out_of_range", f"a bid ends within {settings.CARD_BID_DAYS_MAX} days")
    return _create(
        firm,
        now,
        actor=actor,
        gpu_model=model,
        memory_mib=nominal_mib(request.memory_mib, model.memory_sizes_mib),
        grade_min=request.grade_min,
        zone=request.zone,
        currency=request.currency,
        limit_micros=request.limit_micros,
        count=request.count,
        ships_to=request.ships_to,
        address=request.address,
        route=request.route,
        expires_at=request.expires_at or latest,
    )


def buy_once(*, firm: Firm, actor: str, take: Take, key: str | None, body: Any, now: datetime) -> CardBid:
    """Take cards of a listing at its ask, all of them or none. Conflict `offer_gone`, `quote_stale` or `no_lab`.

    Bids that wait and would take these cards at this ask are older, and come first.
    """
    if not is_remembered(firm_id=firm.pk, key=key):
        listing = require_may_buy(firm, take, now)
        match_cards(now=now, kind=kind_of(listing))
        if CardListing.objects.filter(pk=listing.pk, state=ListingState.CLOSED).exists():
            raise Conflict("these cards are no longer for sale", code="offer_gone")
    public_id, _ = once(
        firm_id=firm.pk,
        key=key,
        body=body,
        now=now,
        make=lambda: _buy(firm=firm, actor=actor, take=take, now=now).public_id,
    )
    return bid_of(firm, public_id)


def require_may_buy(firm: Firm, take: Take, now: datetime) -> CardListing:
    """The listing, when the rules let this buyer have it there. Raises NotFound and NotAllowed."""
    listing = visible_card_listing(firm, take.listing)
    decision = decide_sale(
        seller=listing.firm,
        buyer=firm,
        item=item_in(listing),
        ships_from=listing.ships_from,
        ships_to=take.ships_to,
        stage=Stage.ORDER,
        subject=listing.public_id,
        now=now,
    )
    _require_not_blocked(decision, now)
    return listing


def quote(*, firm: Firm, take: Take, now: datetime) -> Quote:
    """The landed price before any commitment; Conflict when the listing has nothing that this buyer can have."""
    listing = visible_card_listing(firm, take.listing)
    if listing.firm_id == firm.pk:
        raise Conflict("you can't buy of yourself", code="self_trade")
    cards = sellable_cards(now=now, listing_ids=[listing.pk])
    chosen = _chosen_card(firm, listing, take, {each.card_id for each in cards}, now)
    free = [each for each in cards if chosen in (None, each.card_id)]
    if listing.state != ListingState.OPEN or len(free) < take.count:
        raise Conflict("these cards are no longer for sale", code="offer_gone")
    ask = ask_of(listing, cards)
    probe = CardBid(
        firm=firm,
        gpu_model=listing.gpu_model,
        memory_mib=listing.memory_mib,
        grade_min=FUNCTION_GRADES[-1],
        currency=listing.currency,
        limit_micros=10**15,
        count=take.count,
        ships_to=take.ships_to,
        pinned_listing=listing.public_id,
        pinned_card_id=chosen,
        priced_at=now,
    )
    price = price_of(bid_value(probe, rent_credit_micros=_rent(firm, listing, chosen, now)), ask, tax_basis_points)
    if price is None:
        raise Conflict(f"this seller does not ship to {take.ships_to}", code="does_not_ship_there")
    return Quote(price, listing.currency, len(cards), min(each.ships_after_at for each in free), chosen)


@transaction.atomic
def _buy(*, firm: Firm, actor: str, take: Take, now: datetime) -> CardBid:
    lock_book()
    found = quote(firm=firm, take=take, now=now)
    total = found.price.total_micros
    if take.most_micros is not None and total > take.most_micros:
        raise Conflict("the price has changed: look at it again", code="quote_stale")
    listing = visible_card_listing(firm, take.listing)
    if take.route == Route.LAB and not lab_for(buyer_id=firm.pk, seller_id=listing.firm_id, country=take.ships_to):
        _refuse("/route", "no_lab", "there is no lab on this exchange that is on neither side")
    bid = _create(
        firm,
        now,
        actor=actor,
        gpu_model=listing.gpu_model,
        memory_mib=listing.memory_mib,
        grade_min=FunctionGrade.FX,
        zone="",
        currency=found.currency,
        limit_micros=max(total, 1),  # rent can pay for all of it; a bid always wants something
        count=take.count,
        ships_to=take.ships_to,
        address=take.address,
        route=take.route,
        expires_at=now + timedelta(seconds=1),
        pinned_listing=listing.public_id,
        pinned_card_id=found.card_id,
    )
    match_cards(now=now, only=bid.public_id)
    bid = bid_for_update(bid.pk)
    if bid.refused_listings:
        raise Conflict("the rules of this exchange do not allow this sale", code="compliance_block")
    if bid.state != BidState.FILLED:
        raise Conflict("these cards are no longer for sale", code="offer_gone")
    return bid


@transaction.atomic
def change_bid(*, firm: Firm, public_id: str, changes: Mapping[str, Any], actor: str, now: datetime) -> CardBid:
    """Change limit, end or number of an open bid; more money is held, or some returns.

    With a new limit, or for more cards, it goes to the end of the queue.
    """
    bid = bid_for_update(bid_of(firm, public_id).pk)
    if bid.state != BidState.OPEN:
        raise Conflict(f"this bid is {bid.state}", code="wrong_state")
    if changes.get("limit_micros", bid.limit_micros) != bid.limit_micros or changes.get("count", 0) > bid.count:
        bid.priced_at = now
    for name, value in changes.items():
        setattr(bid, name, value)
    if bid.count <= bid.filled_count:
        _refuse("/count", "out_of_range", f"{bid.filled_count} are agreed: more than that, or cancel the rest")
    if not now < bid.expires_at <= bid.created_at + timedelta(days=settings.CARD_BID_DAYS_MAX):
        _refuse("/expires_at", "out_of_range", f"a bid ends within {settings.CARD_BID_DAYS_MAX} days")
    _hold(bid, now)
    bid.save(update_fields=[*changes, "priced_at"])
    record_event(firm_id=firm.pk, type="card_bid.changed", subject=bid.public_id, actor=actor, now=now)
    return bid


@transaction.atomic
def cancel_bid(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CardBid:
    """Take what is not agreed out of the book. A bid that is no longer open is a Conflict."""
    bid = bid_for_update(bid_of(firm, public_id).pk)
    _close(bid, BidState.CANCELLED, BidReason.BUYER_CANCELLED, now, actor)
    return bid


def cancel_bid_once(*, firm: Firm, public_id: str, actor: str, key: str | None, now: datetime) -> CardBid:
    """`cancel_bid`, with the memory of the idempotency key."""
    once(
        firm_id=firm.pk,
        key=key,
        body={"cancel": public_id},
        now=now,
        make=lambda: str(cancel_bid(firm=firm, public_id=public_id, actor=actor, now=now).public_id),
    )
    return bid_of(firm, public_id)


def expire_bids(*, now: datetime, limit: int = 500) -> int:
    """End the bids whose time is over."""
    over = CardBid.objects.filter(state=BidState.OPEN, expires_at__lte=now).order_by("pk")
    keys = list(over.values_list("pk", flat=True)[:limit])
    for pk in keys:
        with transaction.atomic():
            bid = bid_for_update(pk)
            if bid.state == BidState.OPEN and bid.expires_at <= now:
                _close(bid, BidState.EXPIRED, BidReason.TIME_OVER, now, "system")
    return len(keys)


def cancel_disputed_bids(*, now: datetime) -> int:
    """Take bids out of the book that a disputed payment pays for, as with orders; returns how many."""
    ended = 0
    for payer, before in disputed_before(now).items():
        bids = CardBid.objects.filter(firm=payer, state=BidState.OPEN, created_at__lte=before).order_by("pk")
        for pk in bids.values_list("pk", flat=True):
            with transaction.atomic():
                bid = bid_for_update(pk)
                if bid.state == BidState.OPEN:
                    _close(bid, BidState.CANCELLED, BidReason.PAYMENT_DISPUTED, now, "system")
                    ended += 1
    return ended


def _close(bid: CardBid, to: BidState, reason: BidReason, now: datetime, actor: str) -> None:
    transition(bid, to, now=now, reason=reason, actor=actor, end_reason=reason, closed_at=now)
    set_bid_escrow(bid=bid, needed_micros=0, ref=f"bid:{bid.public_id}:{to}", now=now)


def _create(firm: Firm, now: datetime, **columns: Any) -> CardBid:
    refuse_debtors(firm)
    if columns["count"] > COUNT_MAX:
        _refuse("/count", "out_of_range", f"at most {COUNT_MAX} cards")
    if columns["route"] == Route.LAB and not lab_for(buyer_id=firm.pk, seller_id=0, country=columns["ships_to"]):
        _refuse("/route", "no_lab", "there is no lab on this exchange at the moment")
    bid = CardBid.objects.create(firm=firm, priced_at=now, created_at=now, **columns)
    _hold(bid, now)
    record_event(firm_id=firm.pk, type="card_bid.open", subject=bid.public_id, actor=bid.actor, now=now)
    return bid


def _hold(bid: CardBid, now: datetime) -> None:
    bid.version += 1
    bid.save(update_fields=["version"])
    set_bid_escrow(bid=bid, needed_micros=bid.held_micros, ref=f"bid:{bid.public_id}:{bid.version}", now=now)


def _chosen_card(firm: Firm, listing: CardListing, take: Take, free: set[int], now: datetime) -> int | None:
    """The card that the buyer names; else, if he takes one and rent counts, the free one that he has rented."""
    lot = [each.card for each in listing.lot.all()]
    if take.card is not None:
        if take.count != 1:
            _refuse("/card", "mismatch", "who names a card takes one")
        named = [card.pk for card in lot if card.public_id == take.card]
        if not named:
            raise NotFound("this card is not in this listing")
        return named[0]
    if take.count > 1 or not listing.rent_counts_days:
        return None
    credits = {card.pk: _rent(firm, listing, card.pk, now) for card in lot if card.pk in free}
    best = max(credits, key=lambda pk: credits[pk], default=None)
    return best if best is not None and credits[best] else None


def _rent(firm: Firm, listing: CardListing, card_id: int | None, now: datetime) -> int:
    if card_id is None:
        return 0
    return rent_paid_micros(
        buyer=firm,
        card=card_row(card_id),
        seller=listing.firm,
        currency=listing.currency,
        days=listing.rent_counts_days,
        now=now,
    )


def _require_reachable(firm: Firm, request: BidRequest, now: datetime) -> None:
    """A bid has no seller yet: the rules are asked about this buyer and where the card would go."""
    model = GpuModel.objects.filter(slug=request.gpu).first()
    if model is None:
        return
    memory_mib = nominal_mib(request.memory_mib, model.memory_sizes_mib)
    is_modified = memory_mib not in model.memory_sizes_mib
    decision = decide_sale(
        seller=firm,
        buyer=firm,
        item=item_of(model, is_modified=is_modified, as_rebuilt_for_datacentre=False, memory_mib=memory_mib),
        ships_from=request.zone.upper() if len(request.zone) == 2 and request.zone != "eu" else request.ships_to,
        ships_to=request.ships_to,
        stage=Stage.ORDER,
        subject=firm.public_id,
        now=now,
    )
    _require_not_blocked(decision, now)


def _require_not_blocked(decision: ComplianceDecision, now: datetime) -> None:
    """Asked before there is a sale: a hold waits for nobody here, the sale itself will be asked about."""
    if decision.outcome == BLOCK:
        require_allowed(decision)
    end_case(subject=decision.subject, stage=Stage.ORDER, now=now)


def _refuse(pointer: str, code: str, detail: str) -> NoReturn:
    raise Invalid(detail, code=code, errors=(FieldError(pointer, code, detail),))
