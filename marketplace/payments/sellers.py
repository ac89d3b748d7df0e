"""A seller's account at the gateway: opened through the outbox, filled in on hosted pages, known by what is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict, NotFound, Unavailable
from marketplace.events.services import once, record_event
from marketplace.events.transitions import transition
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.inbox import look_at
from marketplace.payments.models import GatewayCall, SellerAccount
from marketplace.payments.outbox import enqueue
from marketplace.payments.selectors import STRIPE, WIRE, gateways
from marketplace.payments.states import SellerAccountState

LOOKED_AT_EVERY = timedelta(days=1)
PAGE = "/sell/getting-paid/"


def way_of_paying(firm: Firm) -> str:
    """The one gateway that pays this firm now, whatever it was before.

    Stripe where it has a key, serves the firm's country and has not refused the firm; wires everywhere else. What was
    asked for before a change still goes the way that it was asked for.
    """
    account = account_of(firm)
    is_refused = account is not None and account.state == SellerAccountState.REFUSED
    served = STRIPE.name in gateways() and firm.headquarters_country in settings.STRIPE_SELLER_COUNTRIES
    return STRIPE.name if served and not is_refused else WIRE.name


def why_by_wire(firm: Firm) -> str:
    """Why Stripe does not pay it, in words."""
    if STRIPE.name not in gateways():
        return "there is no Stripe here"
    if firm.headquarters_country not in settings.STRIPE_SELLER_COUNTRIES:
        return f"Stripe opens no account for firms in {firm.headquarters_country}"
    return "Stripe has refused your account"


def account_of(firm: Firm) -> SellerAccount | None:
    """The firm's account; None when it has none."""
    return SellerAccount.objects.filter(firm=firm).first()


def open_account(
    *, firm: Firm, idempotency_key: str | None, now: datetime, actor: str = "system"
) -> tuple[SellerAccount, bool]:
    """Have an account opened; returns it and whether it is new. A firm has one, however often it asks.

    Raises Conflict where firms are paid by wire.
    """
    if way_of_paying(firm) != STRIPE.name:
        raise Conflict(f"{why_by_wire(firm)}: you are paid by wire", code="paid_by_wire")

    def make() -> str:
        lock_firm(firm)
        return str((account_of(firm) or _create(firm, actor, now)).public_id)

    public_id, is_new = once(firm_id=firm.pk, key=idempotency_key, body={"open": "account"}, now=now, make=make)
    return SellerAccount.objects.get(public_id=public_id), is_new


def _create(firm: Firm, actor: str, now: datetime) -> SellerAccount:
    account = SellerAccount.objects.create(
        firm=firm, gateway=STRIPE.name, country=firm.headquarters_country, created_at=now
    )
    enqueue(
        gateway=account.gateway,
        operation=Operation.OPEN_ACCOUNT,
        params={"name": firm.name, "country": account.country, "firm_id": firm.public_id},
        subject=account.public_id,
        firm=firm,
        now=now,
    )
    record_event(
        firm_id=firm.pk, type="seller_account.created", subject=account.public_id, actor=actor,
        data={"gateway": account.gateway, "country": account.country}, now=now,
    )  # fmt: skip
    return account


def account_opened(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """There is an account; what it lacks is asked for next."""
    account = SellerAccount.objects.select_for_update(of=("self",)).get(public_id=call.subject)
    account.account_id = receipt.object_id
    account.save(update_fields=["account_id"])
    look_at(account.gateway, "account", account.account_id, now=now)


def account_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """The gateway wants no account of this firm."""
    account = SellerAccount.objects.select_for_update(of=("self",)).get(public_id=call.subject)
    transition(account, SellerAccountState.REFUSED, now=now, reason=refusal.code)


def onboarding_url(firm: Firm) -> str:
    """A page of the gateway's on which the firm fills in what is due. It works once and soon ends: ask on each click.

    Talks to the gateway: call it outside of transactions. Raises NotFound without an account, Conflict while it is
    being opened, and Unavailable when the gateway does not answer.
    """
    account = account_of(firm)
    if account is None:
        raise NotFound
    if not account.account_id:
        raise Conflict("the account is being opened: try again in a moment", code="account_opening")
    here = f"{settings.PUBLIC_URL}{PAGE}"
    try:
        return STRIPE.onboarding_url(account.account_id, refresh_url=f"{here}continue/", return_url=f"{here}?back=1")
    except GatewayError as error:
        raise Unavailable("Stripe does not answer: try again in a moment") from error


@transaction.atomic
def account_seen(fact: Mapping[str, Any], fetched_at: datetime) -> None:
    """What the account can do and lacks. A fetch that began before the newest one known says nothing new."""
    accounts = SellerAccount.objects.select_for_update(of=("self",))
    account = accounts.filter(account_id=fact["account_id"]).first()
    if account is None or (account.told_at and account.told_at > fetched_at):
        return
    account.told_at, account.due = fetched_at, fact["due"]
    account.save(update_fields=["told_at", "due"])
    to = SellerAccountState.READY if fact["is_ready"] else SellerAccountState.DUE
    to = SellerAccountState.REFUSED if fact["is_refused"] else to
    if account.state != to:
        transition(account, to, now=fetched_at, data={"due": account.due})


def look_again(firm: Firm, now: datetime) -> None:
    """The firm came back from the gateway's pages: find out soon what it filled in."""
    account = account_of(firm)
    if account is not None and account.account_id:
        look_at(account.gateway, "account", account.account_id, now=now)


def look_at_accounts(*, now: datetime) -> None:
    """Connected accounts' events are not in the platform's list: look at those that wait, and daily at the others."""
    old = Q(told_at__lte=now - LOOKED_AT_EVERY) | ~Q(state=SellerAccountState.READY)
    for account in SellerAccount.objects.filter(old).exclude(account_id=""):
        look_at(account.gateway, "account", account.account_id, now=now)
