"""The card book at work: bids meet asks, one writer at a time; a fill is a sale with its claim and its money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from listings.cards.proof import Refusal, prove_card
from listings.cards.services import take_cards
from listings.cards.states import FUNCTION_GRADES, is_as_good
from listings.models import CardListing
from listings.states import ListingState
from marketplace.book.models import CardTrade
from marketplace.common.ids import new_id
from marketplace.compliance.services import Stage, end_case
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.sales.crossing import Bid, CardAsk, Fill, cross, price_of
from marketplace.sales.models import CardBid, Lab, Sale
from marketplace.sales.selectors import bid_for_update, lab_for, rent_paid_micros
from marketplace.sales.services.money import move_into_sale
from marketplace.sales.services.moving import pay_if_allowed, set_clock
from marketplace.sales.services.rules import ALLOW, BLOCK, decide
from marketplace.sales.states import BidState, Route
from marketplace.sales.supply import (
    SellableCard,
    age_of,
    ask_of,
    card_asks,
    card_row,
    last_claims_end,
    tax_basis_points,
)
from nodes.services.claims import CardsTaken, take_claims
from nodes.states import ClaimKind

BOOK_LOCK = 0x464C43415244  # one round of the card book at a time, wherever it runs
BIDS_PER_ROUND_MAX = 500  # of a kind, the best ones
Kind = tuple[int, int, str]  # a model's key, memory in MiB, currency: what meets what


def match_cards(*, now: datetime, kind: Kind | None = None, only: str | None = None) -> int:
    """Let open bids, or those of a kind, or the one named `only`, meet the asks; returns how many cards were sold.

    A transaction for each fill: no two buyers' wallets are ever locked by one.
    """
    sold, gone = 0, set[int]()
    while (found := _match_next(gone, kind, only, now)) is not None:
        sold += found
    return sold


def lock_book() -> None:
    """Until the end of the transaction nobody else matches. Take it before any wallet is locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BOOK_LOCK])


@transaction.atomic
def _match_next(gone: set[int], kind: Kind | None, only: str | None, now: datetime) -> int | None:
    """How many cards the next fill sold, 0 or 1; None when nothing more fits."""
    lock_book()
    bids = CardBid.objects.filter(state=BidState.OPEN, expires_at__gt=now)
    bids = bids.filter(public_id=only) if only else bids
    wanted = {kind} if kind else set(bids.order_by().values_list("gpu_model", "memory_mib", "currency").distinct())
    asks = card_asks(now=now, kinds=wanted)
    rows = _best_bids(bids, asks)
    fill = _next_fill(rows, asks, gone, now)
    if fill is None:
        return None
    bid = bid_for_update(rows[fill.bid].pk)
    if bid.version != rows[fill.bid].version or bid.state != BidState.OPEN:
        return 0  # its buyer was first: the next look sees what it is now
    return _try_to_agree(bid, fill, gone, now)


def _best_bids(bids: QuerySet[CardBid], asks: Sequence[CardAsk]) -> dict[str, CardBid]:
    """The bids that can meet one of the asks, in the book's own order, so that junk never crowds out a better one."""
    lowest: dict[tuple[str, int, str], int] = {}
    for ask in asks:
        key = (ask.gpu, ask.memory_mib, ask.currency)
        lowest[key] = min(ask.ask_micros, lowest.get(key, ask.ask_micros))
    found: dict[str, CardBid] = {}
    for (gpu, memory_mib, currency), ask_micros in sorted(lowest.items()):
        near = Q(limit_micros__gte=ask_micros) | ~Q(pinned_listing="")  # of a pinned one rent may count
        alike = bids.filter(near, gpu_model__slug=gpu, memory_mib=memory_mib, currency=currency)
        best = alike.select_related("firm", "gpu_model").order_by("-limit_micros", "priced_at", "public_id")
        found |= {bid.public_id: bid for bid in best[:BIDS_PER_ROUND_MAX]}
    return found


def kind_of(thing: CardBid | CardListing) -> Kind:
    """What it can meet."""
    return thing.gpu_model_id, thing.memory_mib, thing.currency


def bid_value(bid: CardBid, *, rent_credit_micros: int = 0) -> Bid:
    """A bid's row as the pure book takes it."""
    return Bid(
        key=bid.public_id,
        firm=bid.firm_id,
        gpu=bid.gpu_model.slug,
        memory_mib=bid.memory_mib,
        grade_at_most=FUNCTION_GRADES.index(bid.grade_min),
        zone=bid.zone,
        currency=bid.currency,
        ships_to=bid.ships_to,
        limit_micros=bid.limit_micros,
        count=bid.count - bid.filled_count,
        age=age_of(bid.priced_at),
        listing=bid.pinned_listing,
        card=bid.pinned_card_id,
        whole=bool(bid.pinned_listing) and not bid.filled_count,
        rent_credit_micros=rent_credit_micros,
    )


def _next_fill(rows: dict[str, CardBid], asks: Sequence[CardAsk], gone: set[int], now: datetime) -> Fill | None:
    """The first fill of what is left; a round is made of these, since each can be refused by what only rows know."""
    open_bids = [bid for bid in rows.values() if bid.state == BidState.OPEN]
    left = [replace(ask, cards=tuple(card for card in ask.cards if card not in gone)) for ask in asks]
    values = [bid_value(bid, rent_credit_micros=_rent_credit(bid, now)) for bid in open_bids]
    refused = {(bid.public_id, listing) for bid in open_bids for listing in bid.refused_listings}
    refused |= _without_a_lab(open_bids, left)
    return next(iter(cross(bids=values, asks=left, tax=tax_basis_points, forbidden=refused)), None)


def _without_a_lab(bids: Sequence[CardBid], asks: Sequence[CardAsk]) -> set[tuple[str, str]]:
    """Who asks for a lab never gets a card without one: the pairs for which there is none on neither side."""
    labs = set(Lab.objects.filter(is_active=True).values_list("firm_id", flat=True))
    wanting = [bid for bid in bids if bid.route == Route.LAB]
    return {(bid.public_id, ask.key) for bid in wanting for ask in asks if not labs - {bid.firm_id, ask.firm}}


def _rent_credit(bid: CardBid, now: datetime) -> int:
    """Rent counts for who takes the very card that it was paid for."""
    if bid.pinned_card_id is None:
        return 0
    listing = CardListing.objects.select_related("firm").get(public_id=bid.pinned_listing)
    return rent_paid_micros(
        buyer=bid.firm,
        card=card_row(bid.pinned_card_id),
        seller=listing.firm,
        currency=bid.currency,
        days=listing.rent_counts_days,
        now=now,
    )


def _try_to_agree(bid: CardBid, fill: Fill, gone: set[int], now: datetime) -> int:
    """One sale, or none when the card can't be had after all; either way the card is out of this round."""
    gone.add(fill.card)
    listing = CardListing.objects.select_for_update(no_key=True, of=("self",)).select_related("firm", "gpu_model")
    row = listing.get(public_id=fill.ask)
    if not _still_stands(bid, row, fill, now):
        return 0
    proved = prove_card(listing=row, card=card_row(fill.card), now=now)
    if isinstance(proved, Refusal) or not is_as_good(proved.function_grade, row.function_grade):
        return 0
    public_id = new_id("sale")
    asked = decide(
        listing=row,
        buyer=bid.firm,
        ships_to=bid.ships_to,
        stage=Stage.ORDER,
        subject=public_id,
        lab=_lab(bid, row),
        now=now,
    )
    if asked.outcome == BLOCK:
        _refuse_pair(bid, row, gone, fill, now)
        return 0
    try:
        with transaction.atomic():
            sale = _agree(bid, row, fill, public_id, proved.public_id, now)
            if asked.outcome == ALLOW:
                pay_if_allowed(sale, stages=(Stage.PAYMENT,), now=now)
    except CardsTaken:
        end_case(subject=public_id, now=now)
        return 0
    return 1


def _still_stands(bid: CardBid, listing: CardListing, fill: Fill, now: datetime) -> bool:
    """Whether the listing, now that it is locked, is still what the book saw: its seller may have been first."""
    if listing.state != ListingState.OPEN or not listing.lot.filter(card=fill.card, is_live=True).exists():
        return False
    ask = ask_of(listing, [SellableCard(listing.pk, fill.card, now)])
    value = bid_value(bid, rent_credit_micros=fill.price.rent_credit_micros)
    return price_of(value, ask, tax_basis_points) == fill.price


def _refuse_pair(bid: CardBid, listing: CardListing, gone: set[int], fill: Fill, now: datetime) -> None:
    """The rules keep these two apart; the card stays for others."""
    gone.discard(fill.card)
    bid.refused_listings = [*bid.refused_listings, listing.public_id]
    bid.save(update_fields=["refused_listings"])
    data = {"listing": listing.public_id}
    record_event(firm_id=bid.firm_id, type="card_bid.refused", subject=bid.public_id, data=data, now=now)


def _agree(bid: CardBid, listing: CardListing, fill: Fill, public_id: str, passport: str, now: datetime) -> Sale:
    starts = max(now, last_claims_end([fill.card]).get(fill.card, now))
    claims = take_claims(cards=[fill.card], start=starts, end=None, kind=ClaimKind.SALE, holder=public_id)
    lab = _lab(bid, listing)
    sale = Sale.objects.create(
        public_id=public_id,
        bid=bid,
        listing=listing,
        buyer=bid.firm,
        seller=listing.firm,
        lab=lab,
        route=Route.LAB if lab else Route.DIRECT,
        card_id=fill.card,
        claim_id=claims[fill.card],
        function_grade=listing.function_grade,
        appearance_grade=listing.appearance_grade,
        is_modified=listing.has_modified_memory,
        flags=listing.flags,
        warranty_days=listing.warranty_days,
        ships_from=listing.ships_from,
        ships_to=bid.ships_to,
        currency=listing.currency,
        **asdict(fill.price),
        fee_basis_points=settings.CARD_FEE_BASIS_POINTS,
        seller_passport=passport,
        agreed_at=now,
        ships_after_at=starts,
        step_at=now,
        asked_at=now,
    )
    move_into_sale(bid=bid, sale=sale, now=now)
    take_cards(listing=listing, taken={fill.card: public_id}, now=now)
    _print(sale, listing, now)
    _count(bid, now)
    for firm_id in sale.event_firm_ids:
        record_event(firm_id=firm_id, type="sale.agreed", subject=public_id, now=now)
    set_clock(sale)
    return sale


def _count(bid: CardBid, now: datetime) -> None:
    bid.filled_count += 1
    bid.save(update_fields=["filled_count"])
    if bid.filled_count == bid.count:
        transition(bid, BidState.FILLED, now=now, closed_at=now)


def _lab(bid: CardBid, listing: CardListing) -> Lab | None:
    """Modified memory goes through a lab unless the buyer wants it straight."""
    wants = bid.route == Route.LAB or (not bid.route and listing.has_modified_memory)
    return lab_for(buyer_id=bid.firm_id, seller_id=listing.firm_id, country=bid.ships_to) if wants else None


def _print(sale: Sale, listing: CardListing, now: datetime) -> None:
    CardTrade.objects.create(
        at=now,
        gpu=listing.gpu_model.slug,
        memory_mib=listing.memory_mib,
        is_modified=sale.is_modified,
        function_grade=listing.function_grade,
        appearance_grade=listing.appearance_grade,
        zone=listing.zone,
        currency=listing.currency,
        price_micros=sale.item_micros,
        sale=sale.public_id,
        card=sale.card_id,
        buyer_id=sale.buyer_id,
        seller_id=sale.seller_id,
    )
