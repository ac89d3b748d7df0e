"""A firm's saved card: kept by the gateway, saved on its page, named here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict
from marketplace.events.services import once, record_event
from marketplace.events.transitions import transition
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.models import GatewayCall, SavedCard, TopUpRule
from marketplace.payments.outbox import enqueue
from marketplace.payments.selectors import STRIPE, gateways
from marketplace.payments.states import CallState, TopUpState

PAGE = "/wallet/top-ups/"


def card_of(firm: Firm) -> SavedCard | None:
    """The firm's card, or the page on which it is saving one."""
    return SavedCard.objects.filter(firm=firm).first()


def save_card(*, firm: Firm, key: str | None, now: datetime) -> SavedCard:
    """Have a page opened on which the firm saves a card; it takes the place of the one before.

    Raises Conflict without Stripe.
    """
    if STRIPE.name not in gateways():
        raise Conflict("there are no cards here: deposits come by wire", code="no_cards")

    def make() -> str:
        lock_firm(firm)
        card, _ = SavedCard.objects.get_or_create(firm=firm, defaults={"gateway": STRIPE.name})
        card.page_id = card.page_url = ""
        card.save(update_fields=["page_id", "page_url"])
        _open_page(card, now)
        return str(card.public_id)

    public_id, _ = once(firm_id=firm.pk, key=key, body={"save": "card"}, now=now, make=make)
    return SavedCard.objects.get(public_id=public_id)


def _open_page(card: SavedCard, now: datetime) -> None:
    here = f"{settings.PUBLIC_URL}{PAGE}"
    params = {
        "card_id": card.public_id,
        "name": card.firm.name,
        "customer_id": card.customer_id,
        "currency": settings.STRIPE_CURRENCIES[0],
        "success_url": f"{here}?back=1",
        "cancel_url": here,
    }
    enqueue(
        gateway=card.gateway,
        operation=Operation.OPEN_CARD_PAGE,
        params=params,
        subject=card.public_id,
        firm=card.firm,
        now=now,
    )


def page_opened(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The firm can save its card now. An older page that opens late does not take the place of a newer one."""
    if GatewayCall.objects.filter(subject=call.subject, operation=call.operation, pk__gt=call.pk).exists():
        return
    card = SavedCard.objects.select_for_update().get(public_id=call.subject)
    card.page_id, card.page_url = receipt.object_id, receipt.data["url"]
    card.customer_id = receipt.data["customer_id"]
    card.save(update_fields=["page_id", "page_url", "customer_id"])


def page_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """There will be no page. A customer that the gateway no longer knows is made anew with the next one."""
    card = SavedCard.objects.select_for_update().get(public_id=call.subject)
    if refusal.code == "resource_missing":
        card.customer_id = ""
        card.save(update_fields=["customer_id"])
    record_event(firm_id=card.firm_id, type="saved_card.refused", subject=card.public_id, reason=refusal.code, now=now)


def is_opening(card: SavedCard) -> bool:
    """Whether a page on which it is saved is still to come."""
    calls = GatewayCall.objects.filter(subject=card.public_id, state__in=[CallState.WAITING, CallState.ASKING])
    return calls.exists()


@transaction.atomic
def card_saved(fact: Mapping[str, Any], now: datetime) -> None:
    """The page of a card has come to its end: that card is charged from now on. An older page changes nothing."""
    card = SavedCard.objects.select_for_update().filter(public_id=fact["for"], page_id=fact["page_id"]).first()
    if card is None or card.method_id == fact["card"]["method_id"]:
        return
    card.customer_id, card.method_id = fact["card"]["customer_id"], fact["card"]["method_id"]
    card.label, card.fingerprint = fact["card"]["label"][:40], fact["card"]["fingerprint"]
    card.page_url, card.saved_at = "", now
    card.save(update_fields=["customer_id", "method_id", "label", "fingerprint", "page_url", "saved_at"])
    record_event(
        firm_id=card.firm_id, type="saved_card.saved", subject=card.public_id, data={"card": card.label}, now=now
    )
    turn_on_again(TopUpRule.objects.filter(firm=card.firm), now)


def turn_on_again(rules: QuerySet[TopUpRule], now: datetime) -> None:
    """What the rules waited for has happened."""
    for rule in rules.select_for_update().filter(state=TopUpState.NEEDS_YOU).order_by("pk"):
        transition(rule, TopUpState.ON, now=now, reason="settled")
