"""Reading bids and sales, and the locks on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Q, QuerySet, Sum

from listings.cards.memory import nominal_mib
from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import owners_of
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import NotFound
from marketplace.leases.models import Lease
from marketplace.sales.models import CardBid, CardPurchase, Dispute, Lab, Sale
from marketplace.sales.states import HOLDS_MONEY, NOTHING_CAME_OF_IT, BidState, SaleState
from nodes.models import Card, Claim
from nodes.states import ClaimKind


@dataclass(frozen=True, slots=True)
class CompletedSale:
    """A sale whose money was released, without names. `region` is the zone that it shipped from."""

    at: datetime
    model_slug: str
    memory_mib: int
    function_grade: str
    appearance_grade: str
    is_modified: bool
    region: str
    currency: str
    price_micros: int
    is_linked: bool = False  # between firms with one owner or one parent


COLUMNS = {
    "at": "closed_at",  # a released sale is closed
    "model_slug": "listing__gpu_model__slug",
    "memory_mib": "listing__memory_mib",
    "function_grade": "function_grade",
    "appearance_grade": "appearance_grade",
    "is_modified": "is_modified",
    "region": "listing__zone",
    "currency": "currency",
    "price_micros": "item_micros",
}


def newest_of_completed(*, since: datetime) -> tuple[int, datetime | None, int | None]:
    """How many sales were released since then, and the last of them: another answer means other sales."""
    sales = Sale.objects.filter(state=SaleState.RELEASED, closed_at__gte=since)
    found = sales.aggregate(count=Count("pk"), closed_at=Max("closed_at"), newest=Max("pk"))
    return found["count"], found["closed_at"], found["newest"]


def completed_sales(
    *, since: datetime, model_slug: str | None = None, memory_mib: int | None = None
) -> list[CompletedSale]:
    """The released sales since then, of one model or all, oldest first, at the agreed price of the card alone.

    `memory_mib` may be what a card reports: it is taken for what is written on the box.
    """
    sales = Sale.objects.filter(state=SaleState.RELEASED, closed_at__gte=since)
    if model_slug is not None:
        sales = sales.filter(listing__gpu_model__slug=model_slug)
    if memory_mib is not None:
        sizes = GpuModel.objects.filter(slug=model_slug).values_list("memory_sizes_mib", flat=True).first()
        sales = sales.filter(listing__memory_mib=nominal_mib(memory_mib, sizes or []))
    found = list(sales.order_by("closed_at", "pk").values_list("buyer", "seller", *COLUMNS.values()))
    behind = owners_of({firm for buyer, seller, *_ in found for firm in (buyer, seller)})
    return [
        CompletedSale(**dict(zip(COLUMNS, told, strict=True)), is_linked=bool(behind[buyer] & behind[seller]))
        for buyer, seller, *told in found
    ]


def purchases_of(firm: Firm) -> QuerySet[CardPurchase]:
    """What the firm buys by card, with its payment."""
    return CardPurchase.objects.filter(firm=firm).select_related("listing", "deposit", "bid")


def purchase_of(firm: Firm, public_id: str) -> CardPurchase:
    """One of them; NotFound for anything else."""
    purchase = purchases_of(firm).filter(public_id=public_id).first()
    if purchase is None:
        raise NotFound
    return purchase


def bids_of(firm: Firm) -> QuerySet[CardBid]:
    """The firm's bids with their sales."""
    return CardBid.objects.filter(firm=firm).select_related("gpu_model").prefetch_related("sales")


def bid_of(firm: Firm, public_id: str) -> CardBid:
    """One of them; NotFound for anything else."""
    bid = bids_of(firm).filter(public_id=public_id).first()
    if bid is None:
        raise NotFound
    return bid


def bid_for_update(bid_id: int) -> CardBid:
    """The bid, locked until the end of the transaction."""
    return (
        CardBid.objects.select_for_update(no_key=True, of=("self",)).select_related("firm", "gpu_model").get(pk=bid_id)
    )


def all_sales() -> QuerySet[Sale]:
    """Every sale with what is shown of it."""
    return Sale.objects.select_related(
        "bid", "listing__gpu_model", "buyer", "seller", "lab__firm", "card__gpu_model"
    ).prefetch_related("disputes")


def sales_of(firm: Firm) -> QuerySet[Sale]:
    """What the firm bought, sold or has to measure as a lab."""
    return all_sales().filter(Q(buyer=firm) | Q(seller=firm) | Q(lab=firm.pk))


def sale_of(firm: Firm, public_id: str) -> Sale:
    """One of them; NotFound for anything else."""
    return _one(sales_of(firm), public_id)


def any_sale(public_id: str) -> Sale:
    """Any sale, for an operator."""
    return _one(all_sales(), public_id)


def is_leased(sale: Sale, *, now: datetime) -> bool:
    """Does somebody rent the card at this moment?"""
    return Claim.objects.filter(card=sale.card_id, kind=ClaimKind.LEASE, period__contains=now).exists()


def sale_for_update(sale_id: int) -> Sale:
    """The sale, locked until the end of the transaction; accounts are locked after it."""
    locked = Sale.objects.select_for_update(no_key=True, of=("self",))
    return locked.select_related("bid", "listing__gpu_model", "buyer", "seller", "lab__firm", "card__gpu_model").get(
        pk=sale_id
    )


def open_disputes() -> QuerySet[Dispute]:
    """What waits for an operator's ruling, oldest first."""
    disputes = Dispute.objects.filter(closed_at=None, sale__state=SaleState.DISPUTED)
    return disputes.select_related("sale__buyer", "sale__seller", "sale__listing__gpu_model").order_by("pk")


def owes_credits(firm_ids: Collection[int]) -> set[int]:
    """The sellers who still owe a cancellation credit: nothing of theirs is sold until it is paid."""
    owing = Sale.objects.filter(seller__in=firm_ids, credit_paid_micros__lt=F("credit_micros"))
    return set(owing.values_list("seller_id", flat=True))


def is_lab(firm: Firm) -> bool:
    """Whether an operator made this firm a lab that works."""
    return Lab.objects.filter(firm=firm, is_active=True).exists()


def lab_for(*, buyer_id: int, seller_id: int, country: str) -> Lab | None:
    """An active lab that is on nobody's side; one in that country first."""
    labs = list(Lab.objects.filter(is_active=True).exclude(firm__in=[buyer_id, seller_id]).order_by("firm_id"))
    return next((lab for lab in labs if lab.country == country), labs[0] if labs else None)


def rent_paid_micros(*, buyer: Firm, card: Card, seller: Firm, currency: str, days: int, now: datetime) -> int:
    """What this firm has paid for the hours of this very card in the last so many days; a lease's cards share it.

    What was paid before it bought the card counted then: rent counts once, though the card went back to its seller.
    """
    if not days:
        return 0
    bought = Sale.objects.filter(buyer=buyer, card=card).exclude(state__in=NOTHING_CAME_OF_IT)
    since = bought.aggregate(last=Max("agreed_at"))["last"]
    leases = Lease.objects.filter(buyer=buyer, seller=seller, currency=currency, lease_cards__card=card)
    recent = leases.filter(Q(ended_at=None) | Q(ended_at__gte=now - timedelta(days=days)), active_at__isnull=False)
    recent = recent.filter(active_at__gt=since) if since else recent
    return sum(settled // count for settled, count in recent.values_list("settled_micros", "card_count"))


def escrows_needed() -> dict[str, int]:
    """What every bid and sale must hold, in micros, by its public id; those that hold nothing are left out."""
    bids = CardBid.objects.filter(state=BidState.OPEN)
    sales = Sale.objects.filter(state__in=sorted(HOLDS_MONEY))
    held = {bid.public_id: bid.held_micros for bid in bids} | {sale.public_id: sale.held_micros for sale in sales}
    return {ref: micros for ref, micros in held.items() if micros}


def credits_owed_micros(firm: Firm, currency: str) -> int:
    """What the firm still owes to buyers."""
    owing = Sale.objects.filter(seller=firm, currency=currency)
    return owing.aggregate(owed=Sum(F("credit_micros") - F("credit_paid_micros"), default=0))["owed"] or 0


def model_of(slug: str) -> GpuModel:
    """A model of the catalogue; NotFound for anything else."""
    model = GpuModel.objects.filter(slug=slug).first()
    if model is None:
        raise NotFound(f"there is no GPU model {slug}")
    return model


def _one(sales: QuerySet[Sale], public_id: str) -> Sale:
    sale = sales.filter(public_id=public_id).first()
    if sale is None:
        raise NotFound
    return sale
