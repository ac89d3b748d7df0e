"""What operators do to the books: close a period, and take a part of an invoice back."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from marketplace.accounts.models import User
from marketplace.books.issuing import create_document, issue_month
from marketplace.books.models import Document, DocumentKind
from marketplace.books.months import months
from marketplace.books.selectors import any_document, credited_micros
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.events.services import once
from marketplace.ledger.models import AccountKind, Code, Journal, PeriodLock
from marketplace.ledger.periods import close_until
from marketplace.ledger.selectors import account_for, lock_accounts
from marketplace.ledger.services import Leg, post


@transaction.atomic
def close_books(*, operator: User, until: datetime, now: datetime, reason: str = "") -> PeriodLock:
    """Close the ledger and issue what its months were charged and no document says yet.

    Months that were closed before are not looked at again: nothing of them can have changed. Raises as `close_until`,
    and IssuerMissing.
    """
    first = Journal.objects.order_by("pk").first()
    lock = close_until(operator=operator, until=until, now=now, reason=reason)
    before = PeriodLock.objects.filter(pk__lt=lock.pk).order_by("-pk").first()
    if first:
        for since in months(max(first.at, before.closed_until) if before else first.at, until):
            issue_month(since=since, now=now, again=True)
    return lock


def issue_credit_note(
    *, operator: User, document_id: str, amount_micros: int, reason: str, key: str | None, now: datetime
) -> Document:
    """Take a part of an invoice back and move the money with it: a fee to the seller, a price to the buyer.

    Raises NotAllowed, NotFound, Invalid for more than is left of the invoice, InsufficientFunds when the seller has
    not got it, and as `once`: an operator's keys are kept apart from those of others and of every firm.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator issues credit notes", code="operators_only")
    invoice = any_document(document_id)
    body = {"credit": document_id, "amount_micros": amount_micros, "reason": reason}

    def make() -> str:
        return str(_credit(operator, invoice, amount_micros, reason.strip(), now).public_id)

    try:
        public_id, _ = once(firm_id=-operator.pk, key=key, body=body, now=now, make=make)
    except IntegrityError as error:
        if "do not exceed" not in str(error):
            raise
        raise Conflict("another credit note was faster: less is left of the invoice now") from error
    return any_document(public_id)


def _credit(operator: User, invoice: Document, amount_micros: int, reason: str, now: datetime) -> Document:
    if invoice.kind == DocumentKind.CREDIT_NOTE:
        raise Invalid("a credit note refers to an invoice", code="not_an_invoice")
    if not reason:
        raise Invalid("say why", code="reason_missing", errors=(FieldError("/reason", "required", "say why"),))
    left = invoice.total_micros - credited_micros(invoice)
    if not 0 < amount_micros <= left:
        raise Invalid(
            "no more can be taken back than is left of the invoice",
            code="exceeds_invoice",
            errors=(FieldError("/amount", "range", "more than is left of the invoice"),),
        )
    line = {
        "subject": invoice.public_id,
        "code": str(Code.CREDIT_NOTE),
        "what": reason,
        "amount_micros": amount_micros,
        "tax_micros": invoice.tax_micros * amount_micros // invoice.total_micros,
    }
    note = create_document(
        kind=DocumentKind.CREDIT_NOTE, issuer=invoice.issuer, recipient=invoice.recipient, refers_to=invoice,
        currency=invoice.currency, since=invoice.since, until=invoice.until, lines=[line], reason=reason,
        actor=operator.public_id, now=now,
    )  # fmt: skip
    post(
        ref=f"credit_note:{note.public_id}",
        code=Code.CREDIT_NOTE,
        legs=_legs(invoice, amount_micros),
        subject=note.public_id,
        data={"invoice": invoice.public_id},
        now=now,
    )
    return note


def _legs(invoice: Document, amount_micros: int) -> list[Leg]:
    currency, recipient = invoice.currency, invoice.recipient
    if invoice.issuer is None:
        fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency=currency)
        return [
            Leg(fee, -amount_micros),
            Leg(account_for(firm=recipient, kind=AccountKind.EARNINGS, currency=currency), amount_micros),
        ]
    earnings = account_for(firm=invoice.issuer, kind=AccountKind.EARNINGS, currency=currency)
    wallet = account_for(firm=invoice.issuer, kind=AccountKind.WALLET, currency=currency)
    buyers = account_for(firm=recipient, kind=AccountKind.WALLET, currency=currency)
    lock_accounts([earnings.pk, wallet.pk, buyers.pk])
    earnings.refresh_from_db()
    first = min(amount_micros, earnings.balance_micros)
    return [Leg(earnings, -first), Leg(wallet, first - amount_micros), Leg(buyers, amount_micros)]
