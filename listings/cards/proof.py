"""May this card be sold at this moment, and by which passport?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from listings.cards.models import CardListing, CardListingCard
from listings.cards.states import Flag
from nodes.models import Card, CardTransfer, Claim, Passport
from nodes.selectors import is_blocked, latest_passport
from nodes.states import ClaimKind

SELLER = "seller"
MEMORY_MODIFIED = "memory_modified"
DISQUALIFYING = "disqualifying"  # the severity of a finding that says: not the card that it says it is
PLAYED = "simulated"  # the demo's hosts are played, and say so


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a card can't be sold now."""

    code: str
    detail: str


def prove_card(*, listing: CardListing, card: Card, now: datetime) -> Passport | Refusal:
    """The seller's unexpired passport of a card that may be sold, or why it may not."""
    if card.firm_id != listing.firm_id:
        return Refusal("card_not_yours", "it is with another firm")
    if is_blocked(card):
        return Refusal("card_blocked", "its identity is in doubt: an operator must decide first")
    if Claim.objects.filter(card=card, kind=ClaimKind.SALE, period__upper_inf=True).exists():
        return Refusal("card_sold", "it is sold")
    if CardTransfer.objects.filter(card=card, ended_at=None).exclude(to_firm=listing.firm).exists():
        return Refusal("card_sold", "it is on its way to another firm")
    others = CardListingCard.objects.filter(card=card, is_live=True).exclude(listing=listing)
    if other := others.select_related("listing").first():
        where = other.listing.public_id if other.listing.firm_id == listing.firm_id else "another firm's listing"
        return Refusal("card_already_listed", f"it is for sale in {where}: close that first")
    passport = latest_passport(card, role=SELLER, now=now)
    if passport is None or passport.firm_id != listing.firm_id:
        return Refusal("passport_needed", "measure it first: it has no passport of yours that is still valid")
    return _refusal_by_findings(listing, card, passport) or passport


def _refusal_by_findings(listing: CardListing, card: Card, passport: Passport) -> Refusal | None:
    codes = {finding["code"] for finding in passport.findings}
    excused = {MEMORY_MODIFIED} | ({PLAYED} if settings.DEMO else set())
    fatal = {finding["code"] for finding in passport.findings if finding["severity"] == DISQUALIFYING}
    if wrong := sorted(fatal - excused):
        return Refusal("card_not_genuine", f"its passport says {', '.join(wrong)}")
    is_modified = card.is_modified or MEMORY_MODIFIED in codes
    if is_modified and Flag.MEMORY_MOD not in listing.flags:
        return Refusal("memory_mod_undisclosed", "its memory is modified: say so with the flag `memory_mod`")
    return None
