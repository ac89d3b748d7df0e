"""Finding deposits and the gateways that take them."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound
from marketplace.payments.gateway import DepositRequest, Instructions, Operation, PaymentGateway
from marketplace.payments.models import Deposit, DepositRefund, GatewayCall, PaymentDispute, TopUpRule
from marketplace.payments.states import CallState, DepositState, PaymentDisputeState
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
    """How to pay, as long as the money is waited for and the gateway is still here."""
    gateway = gateways().get(deposit.gateway)
    if deposit.state != DepositState.CREATED or gateway is None:
        return None
    return gateway.start_deposit(
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
    """Deposits whose money never came. Of a charge that is not settled nobody knows that yet."""
    overdue = Deposit.objects.filter(state=DepositState.CREATED, expires_at__lte=now)
    charging = GatewayCall.objects.filter(
        operation=Operation.CHARGE_SAVED, state__in=[CallState.WAITING, CallState.ASKING], subject=OuterRef("public_id")
    )
    return overdue.exclude(Exists(charging)).order_by("pk")


def is_being_charged(deposit: Deposit) -> bool:
    """Whether a saved card is, or was, charged for it: the money can still come."""
    charges = GatewayCall.objects.filter(subject=deposit.public_id, operation=Operation.CHARGE_SAVED)
    return charges.exclude(state=CallState.FAILED).exists()


def deposit_for_update(public_id: str) -> Deposit:
    """One deposit, locked until the end of the transaction."""
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=public_id).first()
    if deposit is None:
        raise NotFound
    return deposit


def rules_of(firm: Firm) -> QuerySet[TopUpRule]:
    """The firm's rules of automatic top-up, one per wallet at most."""
    return TopUpRule.objects.filter(firm=firm)


def rule_of(firm: Firm, public_id: str) -> TopUpRule:
    """One of them; NotFound for anything else."""
    rule = rules_of(firm).filter(public_id=public_id).first()
    if rule is None:
        raise NotFound
    return rule


def disputes_of(firm: Firm) -> QuerySet[PaymentDispute]:
    """Every dispute of a deposit of the firm's."""
    return PaymentDispute.objects.filter(deposit__firm=firm).select_related("deposit")


def dispute_of(firm: Firm, public_id: str) -> PaymentDispute:
    """One of them; NotFound for anything else."""
    dispute = disputes_of(firm).filter(public_id=public_id).first()
    if dispute is None:
        raise NotFound
    return dispute


def disputes_in_force() -> QuerySet[PaymentDispute]:
    """Disputes that are not settled: open ones, and lost ones of which the payer still owes a part."""
    open_ = Q(state__in=[PaymentDisputeState.OPEN, PaymentDisputeState.ANSWERED])
    owed = Q(state=PaymentDisputeState.LOST, held_micros__lt=F("amount_micros") - F("sellers_micros"))
    return PaymentDispute.objects.filter(open_ | owed).select_related("deposit__firm").order_by("pk")


def disputed_before(now: datetime) -> dict[int, datetime]:
    """Payer's key → what it began up to then is paid with disputed money; that is up to now while it owes a part."""
    found: dict[int, datetime] = {}
    for dispute in disputes_in_force():
        payer, before = dispute.deposit.firm_id, now if dispute.missing_micros else dispute.opened_at
        found[payer] = max(before, found.get(payer, before))
    return found


def refuse_debtors(firm: Firm) -> None:
    """Conflict `debt_owed` for a firm that owes a part of a payment that it took back."""
    if owes(firm):
        raise Conflict("a part of a payment that was taken back is owed: it is taken first", code="debt_owed")


def owes(firm: Firm) -> bool:
    """Whether the firm owes a part of a payment that went back to it."""
    disputed = disputes_in_force().filter(deposit__firm=firm, held_micros__lt=F("amount_micros") - F("sellers_micros"))
    return disputed.exists() or refunds_owed().filter(deposit__firm=firm).exists()


def refunds_owed() -> QuerySet[DepositRefund]:
    """Refunds made in a gateway's dashboard of which the payer still owes a part."""
    return DepositRefund.objects.filter(missing_micros__gt=0).select_related("deposit__firm").order_by("pk")
