"""Earnings to sellers' accounts at the gateway once they have cleared, and back again when a payer is refunded."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code, Entry
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.fraud.seasoning import unseasoned
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.models import GatewayCall, SellerAccount, SellerTransfer
from marketplace.payments.outbox import enqueue
from marketplace.payments.selectors import gateway_named, owes
from marketplace.payments.states import SellerAccountState, TransferState


def cleared_micros(firm: Firm, currency: str, now: datetime) -> int:
    """What of a firm's earnings is older than EARNINGS_CLEAR_DAYS, if the oldest leaves first; 0 at least."""
    account = Account.objects.filter(firm=firm, kind=AccountKind.EARNINGS, currency=currency, ref="").first()
    if account is None:
        return 0
    since = now - timedelta(days=settings.EARNINGS_CLEAR_DAYS)
    young = Entry.objects.filter(account=account, amount_micros__gt=0, journal__at__gt=since)
    return max(0, account.balance_micros - (young.aggregate(sum=Sum("amount_micros"))["sum"] or 0))


def sendable_micros(firm: Firm, currency: str, now: datetime) -> int:
    """What of a firm's earnings has cleared and was not paid with money that can still be taken back."""
    cleared = cleared_micros(firm, currency, now)
    if cleared < settings.TRANSFER_MICROS_MIN:
        return 0  # the rest need not be known
    young = unseasoned(firm, currency, now).micros(until=now - timedelta(days=settings.EARNINGS_CLEAR_DAYS))
    return max(0, cleared - young)


def send_earnings(*, now: datetime) -> int:
    """Begin a transfer of what has cleared for every seller that is ready; returns how many were begun."""
    ready = SellerAccount.objects.filter(state=SellerAccountState.READY).select_related("firm").order_by("pk")
    return sum(
        _send(account, currency, tick, now)
        for account in ready
        for currency, tick in gateway_named(account.gateway).capabilities().ticks_micros.items()
    )


@transaction.atomic
def _send(account: SellerAccount, currency: str, tick: int, now: datetime) -> bool:
    lock_firm(account.firm)
    if account.transfers.filter(currency=currency, state=TransferState.CREATED).exists() or owes(account.firm):
        return False
    sendable = sendable_micros(account.firm, currency, now)
    amount = sendable - sendable % tick  # what is below a coin stays on the ledger
    if amount < settings.TRANSFER_MICROS_MIN:
        return False
    transfer = SellerTransfer.objects.create(account=account, currency=currency, amount_micros=amount, created_at=now)
    _move(transfer, Code.PAYOUT, "asked", AccountKind.EARNINGS, AccountKind.PAYOUT, now)
    params = {
        "transfer_id": transfer.public_id,
        "account_id": account.account_id,
        "currency": currency,
        "amount_micros": amount,
    }
    enqueue(
        gateway=account.gateway,
        operation=Operation.TRANSFER,
        params=params,
        subject=transfer.public_id,
        firm=account.firm,
        now=now,
    )
    return True


def _move(
    transfer: SellerTransfer, code: Code, what: str, out_of: AccountKind, into: AccountKind, now: datetime
) -> None:
    firm, currency = transfer.account.firm, transfer.currency
    refs = {AccountKind.PAYOUT: transfer.public_id}
    legs = [
        Leg(account_for(firm=firm, kind=kind, currency=currency, ref=refs.get(kind, "")), sign * transfer.amount_micros)
        for kind, sign in ((out_of, -1), (into, 1))
    ]
    post(ref=f"transfer:{transfer.public_id}:{what}", code=code, legs=legs, subject=transfer.public_id, now=now)


def _transfer_of(call: GatewayCall, public_id: str) -> SellerTransfer:
    rows = SellerTransfer.objects.select_related("account__firm").select_for_update(of=("self",))
    return rows.get(public_id=public_id)


def transferred(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The money has left for the seller's account."""
    transfer = _transfer_of(call, call.subject)
    transition(transfer, TransferState.PAID, now=now, object_id=receipt.object_id)
    firm, currency, amount = transfer.account.firm, transfer.currency, transfer.amount_micros
    leaving = account_for(firm=firm, kind=AccountKind.PAYOUT, currency=currency, ref=transfer.public_id)
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=call.gateway)
    post(
        ref=f"{call.gateway}:{receipt.data['entry_id']}",
        code=Code.PAYOUT_PAID,
        legs=[Leg(leaving, -amount), Leg(outside, amount)],
        subject=transfer.public_id,
        now=now,
    )


def transfer_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """It did not leave: the earnings are the seller's to be sent again."""
    transfer = _transfer_of(call, call.subject)
    transition(transfer, TransferState.FAILED, now=now, reason=refusal.code)
    _move(transfer, Code.PAYOUT_RETURN, "refused", AccountKind.PAYOUT, AccountKind.EARNINGS, now)


def take_back(
    seller: Firm, currency: str, amount_micros: int, *, into: tuple[Firm, str], now: datetime
) -> tuple[int, GatewayCall | None]:
    """Ask transfers back, newest first, into the account PAYOUT of a firm with a `ref`; call it inside a transaction.

    Returns how much can't be had that way, and the last of the calls, each of which follows the one before.
    """
    last: GatewayCall | None = None
    left = amount_micros
    rows = SellerTransfer.objects.select_for_update(of=("self",)).filter(account__firm=seller, currency=currency)
    for transfer in rows.filter(state=TransferState.PAID).select_related("account").order_by("-pk"):
        part = min(left, transfer.amount_micros - transfer.reversed_micros)
        if not part:
            continue
        SellerTransfer.objects.filter(pk=transfer.pk).update(reversed_micros=F("reversed_micros") + part)
        last, left = _reverse(transfer, part, into, last, now), left - part
    return left, last


def _reverse(
    transfer: SellerTransfer, micros: int, into: tuple[Firm, str], after: GatewayCall | None, now: datetime
) -> GatewayCall:
    params = {
        "object_id": transfer.object_id,
        "currency": transfer.currency,
        "amount_micros": micros,
        "into": [into[0].pk, into[1]],
    }
    return enqueue(
        gateway=transfer.account.gateway,
        operation=Operation.REVERSE_TRANSFER,
        params=params,
        subject=transfer.public_id,
        firm=transfer.account.firm,
        after=after,
        now=now,
    )


def taken_back(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The money is back from the seller's account, and on its way to whom it was asked back for."""
    params = call.params
    firm_id, ref = params["into"]
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=params["currency"], ref=call.gateway)
    leaving = account_for(
        firm=Firm.objects.get(pk=firm_id), kind=AccountKind.PAYOUT, currency=params["currency"], ref=ref
    )
    post(
        ref=f"{call.gateway}:{receipt.data['entry_id']}",
        code=Code.PAYOUT_RETURN,
        legs=[Leg(outside, -params["amount_micros"]), Leg(leaving, params["amount_micros"])],
        subject=call.subject,
        now=now,
    )


def not_taken_back(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """The seller's account keeps it: what was to follow asks an operator (`outbox_worker`)."""
    SellerTransfer.objects.filter(public_id=call.subject).update(
        reversed_micros=F("reversed_micros") - call.params["amount_micros"]
    )
