"""Finding deposits and the gateways that take them."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import F, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import FieldError, Invalid, NotFound
from marketplace.payments.gateway import DepositRequest, Instructions, PaymentGateway
from marketplace.payments.models import Deposit, PaymentDispute
from marketplace.payments.states import DepositState, PaymentDisputeState
from marketplace.payments.stripe_gateway.gateway import StripeGateway
from marketplace.payments.wire import WireGateway

WIRE, STRIPE = WireGateway(), StripeGateway()


def gateways() -> dict[str, PaymentGateway]:
    """The gateways of this installation by name: wires always, Stripe where it has a key."""
    found: dict[str, PaymentGateway] = {WIRE.name: WIRE}
    return found | {STRIPE.name: STRIPE} if settings.STRIPE_SECRET_KEY else found


def disputable_gateways() -> tuple[str, ...]:
    """Gateways whose money can be taken back by the payer's bank, whether they have a key at the moment or not."""
    return tuple(each.name for each in (WIRE, STRIPE) if each.capabilities().is_disputable)


def gateway_named(name: str) -> PaymentGateway:
    """A gateway by its name; Invalid for an unknown one."""
    here = gateways()
    if name not in here:
        raise Invalid(
            f"gateways are {', '.join(sorted(here))}",
            code="unknown_gateway",
            errors=(FieldError("/gateway", "unknown", "there is no such gateway"),),
        )
    return here[name]


def instructions_for(deposit: Deposit) -> Instructions | None:
    """How to pay, as long as the money is waited for."""
    if deposit.state != DepositState.CREATED:
        return None
    return gateway_named(deposit.gateway).start_deposit(
        DepositRequest(
            deposit_id=deposit.public_id,
            reference=deposit.reference,
            currency=deposit.currency,
            amount_micros=deposit.amount_micros,
            pay_url=deposit.pay_url,
        )
    )


def deposits_of(firm: Firm) -> QuerySet[Deposit]:
    """The firm's deposits."""
    return Deposit.objects.filter(firm=firm)


def deposit_of(firm: Firm, public_id: str) -> Deposit:
    """One deposit of the firm; NotFound when it is not theirs."""
    deposit = deposits_of(firm).filter(public_id=public_id).first()
    if deposit is None:
        raise NotFound
    return deposit


def any_deposit(public_id: str) -> Deposit:
    """One deposit of any firm: for operators."""
    deposit = Deposit.objects.filter(public_id=public_id).first()
    if deposit is None:
        raise NotFound
    return deposit


def waiting_deposits() -> QuerySet[Deposit]:
    """What operators look at: money that is announced and not seen, oldest first."""
    by_hand = [name for name, each in gateways().items() if each.capabilities().confirmed_by_operator]
    waiting = Deposit.objects.filter(state=DepositState.CREATED, gateway__in=by_hand)
    return waiting.select_related("firm").order_by("pk")


def deposits_by_reference(text: str) -> QuerySet[Deposit]:
    """The deposit whose reference a bank's form shows, in whatever state; spaces and lower case are forgiven."""
    return Deposit.objects.filter(reference="".join(text.split()).upper()).select_related("firm")


def overdue_deposits(now: datetime) -> QuerySet[Deposit]:
    """Deposits whose money never came."""
    return Deposit.objects.filter(state=DepositState.CREATED, expires_at__lte=now).order_by("pk")


def deposit_for_update(public_id: str) -> Deposit:
    """One deposit, locked until the end of the transaction."""
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=public_id).first()
    if deposit is None:
        raise NotFound
    return deposit


def disputes_in_force() -> QuerySet[PaymentDispute]:
    """Disputes that are not settled: open ones, and lost ones of which the payer still owes a part."""
    open_ = Q(state__in=[PaymentDisputeState.OPEN, PaymentDisputeState.ANSWERED])
    owed = Q(state=PaymentDisputeState.LOST, held_micros__lt=F("amount_micros") - F("sellers_micros"))
    return PaymentDispute.objects.filter(open_ | owed).select_related("deposit__firm").order_by("pk")


def owes(firm: Firm) -> bool:
    """Whether the firm owes a part of a payment that it took back from us."""
    return (
        disputes_in_force()
        .filter(deposit__firm=firm, held_micros__lt=F("amount_micros") - F("sellers_micros"))
        .exists()
    )
