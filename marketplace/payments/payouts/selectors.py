"""Bank details, payouts, and how much may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import NotFound
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.payments.fraud.seasoning import unseasoned
from marketplace.payments.models import BankDetails, Payout, PayoutFile, StatementLine
from marketplace.payments.payouts.free import Free, free_of
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.wire.selectors import needs_two
from marketplace.payments.wire.states import LineState

# What came in lately. A payout that came back was cleared before; what was earned before the snapshot is older.
EARNED = """
SELECT coalesce(sum(e.amount_micros) FILTER (WHERE j.at > %(cleared)s), 0)::bigint,
    coalesce(sum(e.amount_micros) FILTER (WHERE j.at <= %(cleared)s), 0)::bigint
FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
WHERE e.account_id = %(account)s AND e.amount_micros > 0 AND j.code <> %(returned)s AND j.at > %(since)s
    AND e.id > coalesce((
        SELECT through_entry FROM ledger_snapshot WHERE account_id = %(account)s AND newest_at <= %(since)s
        ORDER BY through_entry DESC LIMIT 1
    ), 0)
"""
FIRST = """
SELECT j.at FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id WHERE e.account_id = %s
ORDER BY e.id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a firm can ask for in one currency, and why not more: the last time at which some of it is unseasoned."""

    currency: str
    free: Free
    minimum_micros: int
    unseasoned_until: datetime | None = None

    @property
    def may_ask(self) -> bool:
        return self.free.free_micros >= max(self.minimum_micros, 1)


def terms(firm: Firm, currency: str, now: datetime) -> Terms:
    """The terms at a time."""
    minimum = settings.PAYOUT_MINIMUMS.get(currency, 0)
    account = Account.objects.filter(firm=firm, kind=AccountKind.EARNINGS, currency=currency, ref="").first()
    if account is None:
        return Terms(currency, Free(0, 0, 0), minimum)
    share = settings.PAYOUT_RESERVE_BASIS_POINTS if _is_new(account, now) else 0
    cleared = now - timedelta(days=settings.EARNINGS_CLEAR_DAYS)
    since = min(cleared, now - timedelta(days=settings.PAYOUT_RESERVE_DAYS)) if share else cleared
    given: dict[str, Any] = {
        "account": account.pk,
        "cleared": cleared,
        "since": since,
        "returned": str(Code.PAYOUT_RETURN),
    }
    with connection.cursor() as cursor:
        cursor.execute(EARNED, given)
        uncleared, before = cursor.fetchone()
    young = unseasoned(firm, currency, now)
    free = free_of(
        earnings=account.balance_micros,
        uncleared=uncleared,
        reserved_from=max(0, before - young.micros(since=since, until=cleared)),  # what waits already is held once
        reserve_basis_points=share,
        unseasoned=young.micros(until=cleared),
    )
    return Terms(currency, free, minimum, young.free_at(until=cleared))


def all_terms(firm: Firm, now: datetime) -> list[Terms]:
    """One per currency in which the firm ever earned something."""
    earned = Account.objects.filter(firm=firm, kind=AccountKind.EARNINGS).order_by("currency")
    return [terms(firm, currency, now) for currency in earned.values_list("currency", flat=True)]


def _is_new(account: Account, now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(FIRST, [account.pk])
        first = cursor.fetchone()
    return first is None or first[0] > now - timedelta(days=settings.PAYOUT_NEW_SELLER_DAYS)


def details_of(firm: Firm) -> QuerySet[BankDetails]:
    """Every account that the firm ever named."""
    return BankDetails.objects.filter(firm=firm).select_related("created_by")


def details_in_force(firm: Firm, now: datetime) -> BankDetails | None:
    """Where its money goes at a time."""
    usable = details_of(firm).filter(withdrawn_at=None, usable_at__lte=now)
    return usable.order_by("-usable_at", "-pk").first()


def details_held(firm: Firm, now: datetime) -> BankDetails | None:
    """The change that waits for its time."""
    return details_of(firm).filter(withdrawn_at=None, usable_at__gt=now).order_by("-pk").first()


def payouts_of(firm: Firm) -> QuerySet[Payout]:
    """The firm's payouts."""
    return Payout.objects.filter(firm=firm).select_related("bank_details")


def payout_of(firm: Firm, public_id: str) -> Payout:
    """One of them; NotFound for anything else."""
    payout = payouts_of(firm).filter(public_id=public_id).first()
    if payout is None:
        raise NotFound
    return payout


def payout_for_update(public_id: str) -> Payout:
    """One payout, locked until the end of the transaction."""
    found = Payout.objects.select_for_update(of=("self",)).filter(public_id=public_id)
    payout = found.select_related("firm", "bank_details").first()
    if payout is None:
        raise NotFound
    return payout


def payout_by_reference(reference: str) -> Payout | None:
    """The payout that a statement's line names, locked."""
    found = Payout.objects.select_for_update(of=("self",)).filter(reference=reference) if reference else None
    return found.select_related("firm", "bank_details").first() if found is not None else None


def open_payouts() -> QuerySet[Payout]:
    """What operators look at, oldest first."""
    found = Payout.objects.filter(state__in=[PayoutState.CREATED, PayoutState.SENT])
    return found.select_related("firm", "bank_details", "file").prefetch_related("approvals__operator").order_by("pk")


def approvals_missing(payout: Payout) -> int:
    """How many operators must still approve it: one, or two above TWO_PERSON_LIMITS. Those who still are one count."""
    needed = 2 if needs_two(payout.currency, payout.amount_micros) else 1
    people = [each.operator for each in payout.approvals.all()]
    return max(0, needed - sum(person.is_operator and person.is_active for person in people))


def sendable(currency: str) -> list[Payout]:
    """Approved payouts that no file has, locked in the order of their keys."""
    found = Payout.objects.select_for_update(of=("self",)).filter(state=PayoutState.CREATED, currency=currency)
    waiting = found.select_related("firm", "bank_details").prefetch_related("approvals__operator").order_by("pk")
    return [payout for payout in waiting if not approvals_missing(payout)]


def lines_to_return(currency: str) -> QuerySet[StatementLine]:
    """Money that goes back and is in no file, of which it is known where it came from."""
    found = StatementLine.objects.filter(state=LineState.RETURNING, currency=currency, return_file=None)
    return found.exclude(account="").order_by("pk")


def any_file(public_id: str) -> PayoutFile:
    """One order to the bank."""
    found = PayoutFile.objects.filter(public_id=public_id).select_related("made_by").first()
    if found is None:
        raise NotFound
    return found


def files() -> QuerySet[PayoutFile]:
    """Every order to the bank, with the number of its payments, returns to senders among them."""
    payments = Count("payouts", distinct=True) + Count("lines", distinct=True)
    counted = PayoutFile.objects.annotate(payments_count=payments)
    return counted.select_related("made_by")


def firms_with_earnings(week: str) -> Sequence[tuple[int, str]]:
    """(firm, currency) with earnings and without an automatic payout of this week."""
    earning = Account.objects.filter(kind=AccountKind.EARNINGS, balance_micros__gt=0, firm__bank_details__isnull=False)
    paid = set(Payout.objects.filter(week=week).values_list("firm_id", "currency"))
    rows = earning.order_by("pk").values_list("firm_id", "currency").distinct()
    return [(firm, currency) for firm, currency in rows if firm is not None and (firm, currency) not in paid]
