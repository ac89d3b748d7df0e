"""What the bank said, what waits, and whether the ledger says the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Sum

from marketplace.accounts.models import Firm, Membership, User
from marketplace.common.errors import NotAllowed, NotFound
from marketplace.ledger.models import Account, AccountKind
from marketplace.ledger.selectors import account_for
from marketplace.ledger.snapshots import balances_at
from marketplace.payments.models import Deposit, Payout
from marketplace.payments.states import DepositState
from marketplace.payments.wire.gateway import WireGateway
from marketplace.payments.wire.models import BankStatement, ManualBooking, StatementLine
from marketplace.payments.wire.states import BookingState, LineState

GATEWAY = WireGateway.name
UNSETTLED = (LineState.WAITING, LineState.RETURNING)
PROPOSED_MAX = 5
FOREVER = datetime(9990, 1, 1, tzinfo=UTC)
ONE_AT_A_TIME = 0x66616C62  # an advisory lock


@dataclass(frozen=True, slots=True)
class Difference:
    """What the bank says, what the ledger says, in micros; each of the two differences is zero when all is well."""

    currency: str
    statement: BankStatement
    bank_micros: int
    ledger_micros: int
    by_hand_micros: int  # confirmed by operators, on no statement yet
    suspense_micros: int
    unsettled_micros: int

    @property
    def balance_micros(self) -> int:
        """What the ledger lacks of the bank's balance; below zero what it has too much."""
        return self.bank_micros - self.ledger_micros

    @property
    def unnamed_micros(self) -> int:
        """What stands on suspense without a line that waits."""
        return self.suspense_micros - self.unsettled_micros

    @property
    def is_clean(self) -> bool:
        return not self.balance_micros and not self.unnamed_micros


@dataclass(frozen=True, slots=True)
class Proposal:
    """Whose a line may be, and why."""

    firm: Firm
    why: str
    deposit: Deposit | None = None


def own_account(currency: str) -> str:
    """The platform's account for a currency, as statements name it; empty when there is none."""
    return "".join(settings.WIRE_ACCOUNTS.get(currency, settings.WIRE_IBAN).split()).upper()


def clearing_of(currency: str) -> Account:
    """The bank account on the ledger: below zero by what is on it."""
    return account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=GATEWAY)


def suspense_of(currency: str) -> Account:
    """What is at the bank and nobody's yet."""
    return account_for(firm=None, kind=AccountKind.SUSPENSE, currency=currency, ref=GATEWAY)


def lock_bank() -> None:
    """Until the end of the transaction nobody else imports a file or books a difference."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])


def needs_two(currency: str, amount_micros: int) -> bool:
    """Whether this much needs a second operator."""
    return abs(amount_micros) > settings.TWO_PERSON_LIMITS.get(currency, 0)


def check_not_own(operator: User, firm: Firm | None) -> None:
    """NotAllowed when an operator would move money of a firm that they work for."""
    if firm is not None and Membership.objects.filter(firm=firm, user=operator).exists():
        raise NotAllowed("an operator decides nothing about a firm of their own", code="own_firm")


def differences() -> list[Difference]:
    """One per currency that has a statement, clean ones too."""
    found = (difference_in(currency) for currency in settings.CURRENCIES)
    return [each for each in found if each is not None]


def newest_statement(currency: str) -> BankStatement | None:
    """The one that reaches furthest; of several, the one that the bank made last."""
    found = BankStatement.objects.filter(currency=currency)
    return found.order_by("-to_on", "-created_at", "-pk").first()


def difference_in(currency: str) -> Difference | None:
    """What bank and ledger say of a currency; None before its first statement."""
    statement = newest_statement(currency)
    if statement is None:
        return None
    unsettled = StatementLine.objects.filter(currency=currency, state__in=UNSETTLED)
    return Difference(
        currency=currency,
        statement=statement,
        bank_micros=statement.closing_micros,
        ledger_micros=-_held(clearing_of(currency)),
        by_hand_micros=_total(confirmed_by_hand(currency)),
        suspense_micros=_held(suspense_of(currency)),
        unsettled_micros=_total(unsettled),
    )


def confirmed_by_hand(currency: str) -> QuerySet[Deposit]:
    """Deposits that an operator confirmed and no statement has shown yet."""
    mine = Deposit.objects.filter(gateway=GATEWAY, currency=currency, state=DepositState.CONFIRMED)
    return mine.filter(lines=None).select_related("firm")


def waiting_lines() -> QuerySet[StatementLine]:
    """What stands on suspense, oldest first."""
    found = StatementLine.objects.filter(state__in=UNSETTLED).select_related("deposit__firm")
    return found.prefetch_related("bookings").order_by("pk")


def asked_bookings() -> QuerySet[ManualBooking]:
    """What waits for a second operator."""
    asked = ManualBooking.objects.filter(state=BookingState.ASKED)
    return asked.select_related("line", "deposit__firm", "firm", "asked_by").order_by("pk")


def any_line(public_id: str) -> StatementLine:
    """One line, for operators."""
    found = StatementLine.objects.select_related("statement__file", "deposit__firm").filter(public_id=public_id)
    line = found.first()
    if line is None:
        raise NotFound
    return line


def line_for_update(public_id: str) -> StatementLine:
    """One line, locked until the end of the transaction."""
    line = StatementLine.objects.select_for_update(of=("self",)).filter(public_id=public_id).first()
    if line is None:
        raise NotFound
    return line


def any_booking(public_id: str) -> ManualBooking:
    """One booking by hand, for operators."""
    found = ManualBooking.objects.select_related("line", "deposit__firm", "firm", "asked_by", "decided_by")
    booking = found.filter(public_id=public_id).first()
    if booking is None:
        raise NotFound
    return booking


def booking_for_update(public_id: str) -> ManualBooking:
    """One booking, locked until the end of the transaction."""
    booking = ManualBooking.objects.select_for_update(of=("self",)).filter(public_id=public_id).first()
    if booking is None:
        raise NotFound
    return booking


def known_references(written: Collection[str]) -> set[str]:
    """Those of these references that are a wire's deposit, a payout, or money that goes back."""
    deposits = Deposit.objects.filter(reference__in=written, gateway=GATEWAY).values_list("reference", flat=True)
    payouts = Payout.objects.filter(reference__in=written).values_list("reference", flat=True)
    lines = StatementLine.objects.filter(return_reference__in=written).values_list("return_reference", flat=True)
    return {*deposits, *payouts, *filter(None, lines)}


def proposals(line: StatementLine) -> list[Proposal]:
    """Whose the money may be: by the reference, by the amount, by the account that it came from, by the name."""
    if line.amount_micros < 0:
        return []
    found: dict[tuple[int, int | None], Proposal] = {}
    for proposal in _proposed(line):
        found.setdefault((proposal.firm.pk, proposal.deposit.pk if proposal.deposit else None), proposal)
    return list(found.values())[:PROPOSED_MAX]


def _proposed(line: StatementLine) -> Iterable[Proposal]:
    if line.deposit:
        yield Proposal(line.deposit.firm, "its reference was written", line.deposit)
    waiting = Deposit.objects.filter(
        gateway=GATEWAY, state=DepositState.CREATED, currency=line.currency, amount_micros=line.amount_micros
    )
    for deposit in waiting.select_related("firm").order_by("pk")[:PROPOSED_MAX]:
        yield Proposal(deposit.firm, "it waits for exactly this amount", deposit)
    if line.account:
        paid = Firm.objects.filter(deposits__lines__account=line.account, deposits__lines__state=LineState.BOOKED)
        for firm in paid.distinct()[:PROPOSED_MAX]:
            yield Proposal(firm, "it paid from this account before")
    if line.name:
        for firm in Firm.objects.filter(name__iexact=line.name)[:PROPOSED_MAX]:
            yield Proposal(firm, "the sender has its name")


def _held(account: Account) -> int:
    """What it holds, counted on from its newest snapshot: operators' pages ask for it each time."""
    return balances_at(FOREVER, [account.pk]).get(account.pk, 0)


def _total(rows: QuerySet[Deposit] | QuerySet[StatementLine]) -> int:
    return int(rows.aggregate(total=Sum("amount_micros", default=0))["total"])
