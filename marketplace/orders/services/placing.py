"""Placing an order: its worst case goes from the wallet into escrow, and a message to the matcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from listings.offers import OfferToken, read_offer_token
from marketplace.accounts.models import Firm
from marketplace.book.models import MessageKind
from marketplace.book.pricing import worst_case_micros
from marketplace.book.services import send
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, FieldError, Invalid
from marketplace.compliance.services import decide_lease, require_allowed
from marketplace.events.services import is_remembered, once, record_event
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.orders.limits import refuse_too_many_orders
from marketplace.orders.models import Order
from marketplace.orders.selectors import order_of
from marketplace.orders.states import ONE_ROUND, TimeInForce
from marketplace.payments.selectors import refuse_debtors


class QuoteStale(Conflict):
    """The offer's price has changed since it was shown."""

    code = "quote_stale"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a buyer asks for. `offer` is an offer's id; it pins listing and node and makes the order one round long."""

    count: int
    duration_seconds: int
    currency: str
    cap_micros: int
    time_in_force: str
    workload: dict[str, Any]
    gpus: tuple[str, ...] = ()
    offer: str | None = None
    count_min: int | None = None
    same_node: bool = True
    expires_at: datetime | None = None
    regions: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    memory_mib_min: int = 0
    tier_min: str = "declared"
    reliability_basis_points_min: int | None = None
    exclude_nodes: tuple[str, ...] = ()
    registry_auth: dict[str, str] | None = field(default=None, repr=False)

    @property
    def escrow_micros(self) -> int:
        """The most that it can cost."""
        return worst_case_micros(
            price_micros_per_gpu_hour=self.cap_micros, count=self.count, duration_seconds=self.duration_seconds
        )


def place_order_once(
    *, firm: Firm, actor: str, request: OrderRequest, key: str | None, body: Any, now: datetime
) -> Order:
    """Place the order unless the idempotency key has placed it before. Compliance is asked first, and its answer kept.

    Raises NotAllowed, InsufficientFunds, QuoteStale, Invalid and Unprocessable; nothing is held then.
    """
    if not is_remembered(firm_id=firm.pk, key=key):
        require_allowed(decide_lease(firm, now=now))
    public_id, _ = once(
        firm_id=firm.pk,
        key=key,
        body=body,
        now=now,
        make=lambda: place_order(firm=firm, actor=actor, request=request, now=now).public_id,
    )
    return order_of(firm, public_id)


@transaction.atomic
def place_order(*, firm: Firm, actor: str, request: OrderRequest, now: datetime) -> Order:
    """Record the order of a firm that compliance allows, hold its worst case and tell the matcher."""
    token = read_offer_token(request.offer, now=now) if request.offer else None
    _check(request, token, now)
    refuse_debtors(firm)
    refuse_too_many_orders(firm)
    order = _create(firm, actor, request, token, now)
    _hold(order, now)
    send(kind=MessageKind.ORDER, subject=order.public_id, now=now)
    record_event(firm_id=firm.pk, type="order.open", subject=order.public_id, actor=actor, now=now)
    return order


def expires_at(request: OrderRequest, now: datetime) -> datetime:
    """When the order ends by itself; a start of now can wait for seven days at the most."""
    latest = now + timedelta(seconds=settings.GTC_SECONDS)
    return min(request.expires_at, latest) if request.expires_at else latest


def _check(request: OrderRequest, token: OfferToken | None, now: datetime) -> None:
    if token is None and not request.gpus:
        _refuse("/gpu", "required", "name one or several GPU models, or an offer")
    if (request.time_in_force == TimeInForce.GTD) != (request.expires_at is not None):
        _refuse("/expires_at", "mismatch", "`gtd` needs expires_at, and only `gtd` takes it")
    if request.expires_at and request.expires_at <= now:
        _refuse("/expires_at", "past", "this time is over")
    if request.currency not in settings.CURRENCIES:
        _refuse("/currency", "unknown", f"currencies are {', '.join(settings.CURRENCIES)}")
    known = set(GpuModel.objects.filter(slug__in=request.gpus).values_list("slug", flat=True))
    if unknown := sorted(set(request.gpus) - known):
        _refuse("/gpu", "unknown", f"there is no GPU model {', '.join(unknown)}")
    if token:
        _check_against_offer(request, token)


def _check_against_offer(request: OrderRequest, token: OfferToken) -> None:
    if request.time_in_force not in ONE_ROUND:
        _refuse("/time_in_force", "offer_is_now", "an offer is taken now: `ioc` or `fok`")
    if request.currency != token.currency:
        _refuse("/currency", "mismatch", f"the offer is in {token.currency}")
    if token.current_price_micros > token.price_micros:
        raise QuoteStale("the price of this offer has changed: look at it again")


def _refuse(pointer: str, code: str, detail: str) -> None:
    raise Invalid(detail, errors=(FieldError(pointer, code, detail),))


def _create(firm: Firm, actor: str, request: OrderRequest, token: OfferToken | None, now: datetime) -> Order:
    return Order.objects.create(
        firm=firm,
        actor=actor,
        gpus=[token.gpu] if token else list(request.gpus),
        count=request.count,
        count_min=request.count_min,
        same_node=request.same_node,
        duration_seconds=request.duration_seconds,
        cap_micros=request.cap_micros,
        currency=request.currency,
        time_in_force=request.time_in_force,
        expires_at=expires_at(request, now),
        regions=list(request.regions),
        countries=list(request.countries),
        memory_mib_min=request.memory_mib_min,
        tier_min=request.tier_min,
        reliability_basis_points_min=request.reliability_basis_points_min,
        exclude_nodes=list(request.exclude_nodes),
        pinned_listing=token.listing if token else "",
        pinned_node=token.node if token else "",
        pinned_memory_mib=token.memory_mib if token else None,
        workload=request.workload,
        registry_auth=request.registry_auth,
        escrow_micros=request.escrow_micros,
        created_at=now,
    )


def _hold(order: Order, now: datetime) -> None:
    wallet = account_for(firm=order.firm, kind=AccountKind.WALLET, currency=order.currency)
    escrow = account_for(firm=order.firm, kind=AccountKind.ESCROW, currency=order.currency, ref=order.public_id)
    post(
        ref=f"escrow:{order.public_id}",
        code=Code.ORDER_ESCROW,
        legs=[Leg(wallet, -order.escrow_micros), Leg(escrow, order.escrow_micros)],
        subject=order.public_id,
        now=now,
    )
