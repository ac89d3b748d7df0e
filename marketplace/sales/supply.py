"""The asks of the card book: cards of open listings that can be sold at this moment, and what each would cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import DateTimeField, Exists, F, Func, Max, OuterRef, Q, Subquery

from listings.cards.models import CardListing, CardListingCard
from listings.cards.proof import SELLER
from listings.cards.states import FUNCTION_GRADES, is_as_good
from listings.states import ListingState
from marketplace.ledger import tax
from marketplace.sales.crossing import CardAsk
from marketplace.sales.selectors import owes_credits
from nodes.models import Card, Claim, IdentityChange, Node, Passport
from nodes.states import NodeState


@dataclass(frozen=True, slots=True)
class SellableCard:
    """A card that can be bought now; the sale's claim starts, and the ship clock with it, at `ships_after_at`."""

    listing_id: int
    card_id: int
    ships_after_at: datetime


def sellable_cards(*, now: datetime, listing_ids: Collection[int] | None = None) -> list[SellableCard]:
    """Live cards of open listings that can be had.

    Each has a valid passport that is as good as its listing says, is on a node that is believed, has no identity that
    waits for an operator, no claim without an end (a sale), and no lease that ends too late. Of one card `prove_card`
    says more.
    """
    changed_since = IdentityChange.objects.filter(
        card=OuterRef("card"), is_blocking=True, seen_at__gt=OuterRef("measured_at")
    )
    passports = Passport.objects.filter(
        ~Exists(changed_since), card=OuterRef("card"), firm=OuterRef("listing__firm"), role=SELLER, expires_at__gt=now
    )
    newest = Subquery(passports.order_by("-seq").values("function_grade")[:1])
    live = CardListingCard.objects.annotate(grade=newest).filter(
        ~Exists(Node.objects.filter(pk=OuterRef("card__node"), state=NodeState.QUARANTINED)),
        ~Exists(IdentityChange.objects.filter(card=OuterRef("card"), is_blocking=True, accepted_at=None)),
        ~Exists(Claim.objects.filter(card=OuterRef("card"), period__upper_inf=True)),
        grade__isnull=False,
        is_live=True,
        listing__state=ListingState.OPEN,
        card__firm=F("listing__firm"),
    )
    if listing_ids is not None:
        live = live.filter(listing__in=listing_ids)
    known = live.values_list("listing_id", "card_id", "grade", "listing__function_grade")
    rows = [(listing, card) for listing, card, grade, promised in known if is_as_good(grade, promised)]
    ends = last_claims_end([card_id for _, card_id in rows])
    latest = now + timedelta(days=settings.CARD_SHIPS_WITHIN_DAYS)
    found = [SellableCard(listing, card, max(now, ends.get(card, now))) for listing, card in rows]
    return [each for each in found if each.ships_after_at <= latest]


def last_claims_end(card_ids: Collection[int]) -> dict[int, datetime]:
    """Card id → when its last claim ends."""
    claims = Claim.objects.filter(card__in=card_ids).order_by()
    end = Func(F("period"), function="upper", output_field=DateTimeField())
    return dict(claims.values_list("card").annotate(end=Max(end)))


def card_asks(*, now: datetime, kinds: Collection[tuple[int, int, str]] | None = None) -> list[CardAsk]:
    """Every ask, or those of these (model's key, memory, currency) only. A seller who owes a credit has none."""
    listings = CardListing.objects.filter(state=ListingState.OPEN).select_related("gpu_model")
    if kinds is not None:
        wanted = Q(pk=None)
        for model, memory, currency in kinds:
            wanted |= Q(gpu_model=model, memory_mib=memory, currency=currency)
        listings = listings.filter(wanted)
    by_id = {listing.pk: listing for listing in listings}
    owing = owes_credits({listing.firm_id for listing in by_id.values()})
    cards: dict[int, list[SellableCard]] = defaultdict(list)
    for each in sellable_cards(now=now, listing_ids=list(by_id)):
        cards[each.listing_id].append(each)
    return [ask_of(by_id[pk], found) for pk, found in sorted(cards.items()) if by_id[pk].firm_id not in owing]


def ask_of(listing: CardListing, cards: Collection[SellableCard]) -> CardAsk:
    """A listing as the pure book takes it; what ships first is sold first."""
    assert listing.priced_at
    return CardAsk(
        key=listing.public_id,
        firm=listing.firm_id,
        gpu=listing.gpu_model.slug,
        memory_mib=listing.memory_mib,
        grade=FUNCTION_GRADES.index(listing.function_grade),
        zone=listing.zone,
        country=listing.ships_from,
        currency=listing.currency,
        ask_micros=listing.ask_micros,
        shipping_micros=listing.shipping_micros,
        shipping_abroad_micros=listing.shipping_abroad_micros,
        ships_to=frozenset(listing.ships_to),
        cards=tuple(each.card_id for each in sorted(cards, key=lambda each: (each.ships_after_at, each.card_id))),
        age=age_of(listing.priced_at),
    )


def age_of(at: datetime) -> int:
    """A time as the pure book orders by it."""
    return int(at.timestamp() * 1_000_000)


def tax_basis_points(ships_from: str, ships_to: str) -> int:
    """The installation's tax on a card from here to there."""
    return tax.tax_basis_points(tax.Supply(tax.Kind.CARD, ships_from, ships_to))


def card_row(card_id: int) -> Card:
    """The card with its model."""
    return Card.objects.select_related("gpu_model").get(pk=card_id)
