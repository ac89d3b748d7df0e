"""Sellers who answer for a disputed payment: linked with its payer, or paid for what was not delivered.

A chargeback after the hours were used is the platform's. Not so where buyer and seller are one, or where nothing was
given for the money: then what the seller earned of that deposit is frozen with the dispute and taken when it is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from marketplace.accounts.models import Firm
from marketplace.events.services import record_event
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.fraud.links import linked_firms
from marketplace.payments.fraud.models import DisputeShare, ShareReason
from marketplace.payments.fraud.seasoning import paid_from
from marketplace.payments.models import PaymentDispute
from marketplace.payments.states import PaymentDisputeState


def sellers_paid(dispute: PaymentDispute, now: datetime) -> list[tuple[Firm, str, int]]:
    """(seller, what was sold, micros) of the disputed deposit's own money."""
    totals: dict[tuple[int, str], int] = defaultdict(int)
    for payment in paid_from(dispute.deposit, now):
        totals[payment.payee, payment.subject] += sum(lot.micros for lot in payment.lots)
    earnings = Account.objects.filter(pk__in={payee for payee, _ in totals}, kind=AccountKind.EARNINGS)
    sellers = {account.pk: account.firm for account in earnings.select_related("firm")}
    found = [(sellers.get(payee), subject, micros) for (payee, subject), micros in totals.items()]
    return [(firm, subject, micros) for firm, subject, micros in found if firm and firm != dispute.deposit.firm]


def find_linked(dispute: PaymentDispute, now: datetime) -> None:
    """Make those answer who are linked with the payer and were paid with the deposit's money."""
    linked = linked_firms(dispute.deposit.firm) if dispute.state != PaymentDisputeState.WON else {}
    if not linked:
        return
    paid: dict[Firm, int] = defaultdict(int)
    for seller, _, micros in sellers_paid(dispute, now):
        paid[seller] += micros
    for seller, micros in paid.items():
        if seller.pk in linked:
            make_answer(dispute, seller, ShareReason.LINKED, micros, linked[seller.pk], now)


def make_answer(
    dispute: PaymentDispute, seller: Firm, reason: ShareReason, micros: int, evidence: Sequence[str], now: datetime
) -> DisputeShare:
    """What a seller earned of the deposit, said once more when it has become more. Nothing is taken yet."""
    share, is_new = DisputeShare.objects.get_or_create(
        dispute=dispute,
        seller=seller,
        defaults={
            "reason": reason,
            "amount_micros": micros,
            "evidence": [each[:300] for each in evidence],
            "found_at": now,
        },
    )
    if is_new:
        data = {"seller": seller.public_id, "amount_micros": micros, "evidence": list(evidence)}
        record_event(
            firm_id=None, type="payment_dispute.seller_answers", subject=dispute.public_id, reason=reason, data=data,
            now=now,
        )  # fmt: skip
    elif micros > share.amount_micros:
        share.amount_micros = micros
        share.save(update_fields=["amount_micros"])
    return share


def earnings_of(dispute: PaymentDispute, seller: Firm) -> Account:
    """What the seller has earned in the dispute's currency."""
    return account_for(firm=seller, kind=AccountKind.EARNINGS, currency=dispute.deposit.currency)


def frozen_of(dispute: PaymentDispute, seller: Firm) -> Account:
    """What of it is frozen for the dispute."""
    currency = dispute.deposit.currency
    return account_for(firm=seller, kind=AccountKind.FROZEN, currency=currency, ref=dispute.public_id)


def loss_of(dispute: PaymentDispute) -> Account:
    """What the platform bears of disputes."""
    return account_for(firm=None, kind=AccountKind.DISPUTE_LOSS, currency=dispute.deposit.currency)


def accounts_of(dispute: PaymentDispute) -> list[Account]:
    """Everything of sellers that the dispute can touch, to be locked with what is the payer's."""
    sellers = {share.seller for share in dispute.shares.select_related("seller")}
    return [account for seller in sellers for account in (earnings_of(dispute, seller), frozen_of(dispute, seller))]


def hold(dispute: PaymentDispute, now: datetime) -> None:
    """Take what is still missing from the sellers who answer: frozen, or into the loss once it is lost.

    Call it with the dispute and `accounts_of` it locked.
    """
    for share in dispute.shares.select_related("seller").order_by("pk"):
        earnings = earnings_of(dispute, share.seller)
        micros = min(share.amount_micros - share.held_micros, dispute.missing_micros, earnings.balance_micros)
        if micros > 0:
            _hold(dispute, share, earnings, micros, now)


def _hold(dispute: PaymentDispute, share: DisputeShare, earnings: Account, micros: int, now: datetime) -> None:
    lost = dispute.state == PaymentDisputeState.LOST
    into = loss_of(dispute) if lost else frozen_of(dispute, share.seller)
    post(
        ref=f"dispute:{share.public_id}:held:{share.held_micros}",
        code=Code.SET_OFF if lost else Code.DISPUTE,
        legs=[Leg(earnings, -micros), Leg(into, micros)],
        subject=dispute.public_id,
        now=now,
    )
    share.held_micros += micros
    share.save(update_fields=["held_micros"])
    dispute.sellers_micros += micros
    dispute.save(update_fields=["sellers_micros"])
    data = {"amount_micros": micros, "currency": dispute.deposit.currency}
    record_event(
        firm_id=share.seller_id, type="payment_dispute.earnings_held", subject=dispute.public_id, reason=share.reason,
        data=data, now=now,
    )  # fmt: skip


def settle(dispute: PaymentDispute, now: datetime) -> None:
    """Won: each seller gets back what was held, out of the loss where it was lost before. Lost: the loss gets it."""
    loss = loss_of(dispute)
    for share in dispute.shares.select_related("seller").order_by("pk"):
        frozen = frozen_of(dispute, share.seller)
        is_frozen = frozen.balance_micros > 0
        if dispute.state == PaymentDisputeState.WON:
            source = frozen if is_frozen else loss
            legs = [Leg(source, -share.held_micros), Leg(earnings_of(dispute, share.seller), share.held_micros)]
        elif dispute.state == PaymentDisputeState.LOST and is_frozen:
            legs = [Leg(frozen, -share.held_micros), Leg(loss, share.held_micros)]
        else:
            continue
        ref = f"dispute:{share.public_id}:{dispute.state}"
        post(ref=ref, code=Code.DISPUTE, legs=legs, subject=dispute.public_id, now=now)
