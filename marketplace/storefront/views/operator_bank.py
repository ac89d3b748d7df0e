"""The operator's bank account: statements, what waits on suspense, and what another operator must agree to."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import DomainError, Invalid
from marketplace.common.ids import random_text
from marketplace.payments.selectors import STRIPE, gateways
from marketplace.payments.wire.models import BankStatement, StatementLine
from marketplace.payments.wire.selectors import (
    any_line,
    asked_bookings,
    confirmed_by_hand,
    differences,
    needs_two,
    own_account,
    proposals,
    waiting_lines,
)
from marketplace.payments.wire.services.booking import agree, book_difference, decide_line, keep_line, refuse
from marketplace.payments.wire.services.importing import FILE_BYTES_MAX, import_statement
from marketplace.payments.wire.states import Action, BookingState, LineState, Match
from marketplace.storefront.forms.base import PageForm
from marketplace.storefront.http import FORM_REFUSED, blame, newest_first, operator_page
from marketplace.storefront.views.operator import done

PAGE = "storefront:operator-bank"
ROWS_MAX = 200
CREDIT_ACTIONS = (Action.DEPOSIT, Action.FIRM, Action.RETURN, Action.TRANSIT, Action.OWN, Action.COST)
DEBIT_ACTIONS = (Action.COST, Action.OWN)


class FileForm(PageForm):
    """A bank's file."""

    file = forms.FileField(label="Statement file", help_text="camt.053 or the bank's table, at most 5 MiB.")


class LineForm(PageForm):
    """What a line is."""

    action = forms.ChoiceField(label="What to do", widget=forms.RadioSelect)
    deposit_reference = forms.CharField(label="Reference of the deposit", required=False, max_length=40)
    firm_id = forms.CharField(label="Id of the firm", required=False, max_length=32)
    reason = forms.CharField(label="Why", required=False, max_length=500)

    def __init__(self, data: Any, line: StatementLine) -> None:
        super().__init__(data)
        is_credit = line.amount_micros > 0
        actions: tuple[Action, ...] = CREDIT_ACTIONS if is_credit else DEBIT_ACTIONS
        if line.match == Match.PAYOUT:
            actions = (Action.PAYOUT_MADE, *actions)
        if STRIPE.name not in gateways():
            actions = tuple(each for each in actions if each != Action.TRANSIT)
        field = self.fields["action"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(each.value, each.label) for each in actions]
        if not is_credit:
            del self.fields["deposit_reference"], self.fields["firm_id"]


@require_safe
@operator_page
def bank_page(request: HttpRequest) -> HttpResponse:
    """Whether bank and ledger agree, what waits, and the statements."""
    found = differences()
    context = {
        "differences": [(each, needs_two(each.currency, each.balance_micros)) for each in found],
        "by_hand": [row for each in found if not each.is_clean for row in confirmed_by_hand(each.currency)[:ROWS_MAX]],
        "lines": waiting_lines()[:ROWS_MAX],
        "bookings": asked_bookings()[:ROWS_MAX],
        "form": FileForm(),
        "has_account": any(own_account(currency) for currency in settings.CURRENCIES),
        "key": random_text(24),
        "page": newest_first(BankStatement.objects.select_related("file__imported_by"), request),
    }
    return render(request, "storefront/operator/bank.html", context)


@require_POST
@operator_page
def statement_import(request: HttpRequest) -> HttpResponse:
    """Book a file."""
    given = request.FILES.get("file")

    def act(operator: User) -> str:
        if not isinstance(given, UploadedFile):
            raise Invalid("choose a file first")
        if (given.size or 0) > FILE_BYTES_MAX:
            raise Invalid("a statement has at most 5 MiB")
        name = (given.name or "").replace("\0", "")
        imported = import_statement(data=given.read(), name=name, now=clock.now(), operator=operator)
        if not imported.is_new:
            return f"{name} was imported before: nothing was booked."
        return f"{name}: {imported.lines_count} entries, {imported.new_count} of them new."

    return done(request, act, to=PAGE)


@require_http_methods(["GET", "POST"])
@operator_page
def line_page(request: HttpRequest, line_id: str) -> HttpResponse:
    """One line: what the bank says, whose it may be, and what to do with it."""
    line = any_line(line_id)
    form = LineForm(request.POST or None, line)
    if form.is_valid() and _decide(request, line_id, form):
        return redirect(PAGE)
    context = {
        "line": line,
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "proposals": proposals(line),
        "is_waiting": line.state == LineState.WAITING,
        "can_keep": line.state == LineState.RETURNING and line.return_file_id is None,
        "asked": line.bookings.filter(state=BookingState.ASKED).select_related("asked_by").first(),
        "needs_two": needs_two(line.currency, line.amount_micros),
    }
    status = FORM_REFUSED if form.errors else 200
    return render(request, "storefront/operator/bank_line.html", context, status=status)


@require_POST
@operator_page
def line_keep(request: HttpRequest, line_id: str) -> HttpResponse:
    """Do not send it back after all."""

    def act(operator: User) -> str:
        keep_line(operator=operator, line_id=line_id, now=clock.now())
        return "It waits again."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def booking_decide(request: HttpRequest, booking_id: str) -> HttpResponse:
    """Agree with what another operator asks, or refuse it."""

    def act(operator: User) -> str:
        if request.POST.get("answer") == "agree":
            agree(operator=operator, booking_id=booking_id, now=clock.now())
            return "Agreed: it is booked."
        refuse(operator=operator, booking_id=booking_id, now=clock.now())
        return "Refused: nothing was booked."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def difference_book(request: HttpRequest) -> HttpResponse:
    """Book what the ledger lacks of the bank's balance."""
    currency = request.POST.get("currency", "")

    def act(operator: User) -> str:
        found = next((each for each in differences() if each.currency == currency), None)
        if found is None or str(found.balance_micros) != request.POST.get("micros"):
            raise Invalid("the difference is another one by now: look again")
        booking = book_difference(
            operator=operator,
            currency=currency,
            amount_micros=found.balance_micros,
            reason=request.POST.get("reason", "").replace("\0", "")[:500],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
        )
        return _said(booking.state)

    return done(request, act, to=PAGE)


def _decide(request: HttpRequest, line_id: str, form: LineForm) -> bool:
    assert isinstance(request.user, User)
    try:
        booking = decide_line(
            operator=request.user, line_id=line_id, key=f"page-{request.POST.get('key', '')}", now=clock.now(),
            **form.cleaned_data,
        )  # fmt: skip
    except DomainError as error:
        blame(form, error, {"/deposit": "deposit_reference"})
        return False
    messages.success(request, _said(booking.state))
    return True


def _said(state: str) -> str:
    return "Booked." if state == BookingState.DONE else "Asked: another operator must agree."
