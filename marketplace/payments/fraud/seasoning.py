"""What a seller earned of money that can still be taken back: read from the ledger when somebody wants to be paid.

Nothing is stored (docs/adr/0009). A firm's journals are replayed from its first young inflow on; what it had before is
old. Settlements of one lease within an hour are one move: what they spend of their order's money does not depend on
where between its other moves they stand (`origins.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.db import connection

from marketplace.accounts.models import Firm
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.payments.fraud.links import linked_firms
from marketplace.payments.fraud.origins import Move, Origin, Payment, Pockets
from marketplace.payments.models import Deposit, PaymentDispute
from marketplace.payments.selectors import disputable_gateways

FROM_ANOTHER_FIRM = (Code.CANCELLATION_CREDIT, Code.CREDIT_NOTE)
POCKETS = (AccountKind.WALLET, AccountKind.ESCROW, AccountKind.PAYOUT, AccountKind.FROZEN)
# Entries behind the last snapshot from before `since`.
NEWER = """coalesce((
    SELECT through_entry FROM ledger_snapshot s WHERE s.account_id = a.id AND s.newest_at <= %(since)s
    ORDER BY through_entry DESC LIMIT 1
), 0)"""

# Who paid a seller lately: one journal of each thing that it sold is looked at.
PAYERS = """
WITH earned AS (
    SELECT max(j.id) AS journal_id
    FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id AND e.id > %(newer)s
    JOIN ledger_journal j ON j.id = e.journal_id
    WHERE a.id = %(account)s AND e.amount_micros > 0 AND j.at > %(since)s
    GROUP BY j.code, j.subject, CASE WHEN j.subject = '' THEN j.id END
)
SELECT DISTINCT a.firm_id FROM earned JOIN ledger_entry e ON e.journal_id = earned.journal_id AND e.amount_micros < 0
JOIN ledger_account a ON a.id = e.account_id WHERE a.firm_id <> %(firm)s
"""

# The first entry of money that can be taken back: from a card, or from another firm, which may have had it from one.
FIRST_YOUNG = """
SELECT a.firm_id, min(e.id) FROM ledger_account a
JOIN ledger_entry e ON e.account_id = a.id AND e.id > %(newer)s AND e.amount_micros > 0
JOIN ledger_journal j ON j.id = e.journal_id AND j.at > %(since)s
WHERE a.firm_id = ANY(%(firms)s) AND a.currency = %(currency)s AND a.kind IN ('wallet', 'escrow') AND (
    j.code = ANY(%(credits)s) OR EXISTS (
        SELECT 1 FROM ledger_entry o JOIN ledger_account c ON c.id = o.account_id
        WHERE o.journal_id = j.id AND o.amount_micros < 0 AND c.kind = 'clearing' AND c.ref = ANY(%(cards)s)
    )
)
GROUP BY a.firm_id
"""
FIRST_OF_DEPOSIT = """
SELECT min(e.id) FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a
ON a.id = e.account_id WHERE j.subject = %(deposit)s AND j.code = %(code)s AND a.firm_id = %(firm)s
"""

# Every leg of what touched a firm's pockets since an entry, with what each account holds now: one statement, so that
# both are of the same moment.
LEGS = """
WITH touched AS (
    SELECT e.journal_id, max(a.id) FILTER (WHERE a.kind = 'escrow') AS held
    FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id AND e.id >= %(first)s
    WHERE a.firm_id = %(firm)s AND a.currency = %(currency)s AND a.kind = ANY(%(pockets)s)
    GROUP BY e.journal_id
), journals AS (
    SELECT j.id, j.code, j.subject, max(j.id) OVER same AS place, min(j.at) OVER same AS at
    FROM touched t JOIN ledger_journal j ON j.id = t.journal_id
    WINDOW same AS (PARTITION BY t.held, j.subject, date_trunc('hour', j.at), j.at <= %(cleared)s,
        CASE WHEN t.held IS NULL OR j.code <> 'settlement' THEN j.id END)
)
SELECT j.place, j.at, j.code, j.subject, a.id, a.firm_id, a.kind, a.ref, a.balance_micros, sum(e.amount_micros)::bigint
FROM journals j JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a ON a.id = e.account_id
GROUP BY j.place, j.at, j.code, j.subject, a.id ORDER BY j.place, min(e.id)
"""

# What linked firms paid, by the hour.
BY_LINKED = """
SELECT min(j.at), max(j.at), sum(e.amount_micros)::bigint
FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id AND e.id > %(newer)s
JOIN ledger_journal j ON j.id = e.journal_id
WHERE a.id = %(account)s AND e.amount_micros > 0 AND j.at > %(since)s AND EXISTS (
    SELECT 1 FROM ledger_entry p JOIN ledger_account b ON b.id = p.account_id
    WHERE p.journal_id = j.id AND p.amount_micros < 0 AND b.firm_id = ANY(%(linked)s)
)
GROUP BY date_trunc('hour', j.at), j.at <= %(cleared)s
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Earnings of about one time that can't leave before `until`."""

    earned_at: datetime
    micros: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Unseasoned:
    """A seller's earnings that wait for the money that they were paid with."""

    parts: tuple[Part, ...] = ()

    def micros(self, *, until: datetime, since: datetime | None = None) -> int:
        """Of what was earned in (since, until]."""
        return sum(part.micros for part in self._of(until, since))

    def free_at(self, *, until: datetime) -> datetime | None:
        """When all of what was earned until then is free; None when it is."""
        return max((part.until for part in self._of(until, None)), default=None)

    def _of(self, until: datetime, since: datetime | None) -> list[Part]:
        return [part for part in self.parts if part.earned_at <= until and (since is None or part.earned_at > since)]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A firm's pockets as they are now, and what it paid since."""

    pockets: Pockets
    payments: tuple[Payment, ...]


def unseasoned(firm: Firm, currency: str, now: datetime) -> Unseasoned:
    """What both ways out of a seller's earnings leave here: payouts by wire and transfers to its account.

    Card money is young for CARD_SEASON_DAYS after it came; what a linked buyer paid, with whatever, waits as long after
    it was earned. Parts end at the edge of EARNINGS_CLEAR_DAYS, so that what is not cleared is not counted twice.
    """
    account = Account.objects.filter(firm=firm, kind=AccountKind.EARNINGS, currency=currency, ref="").first()
    if account is None or settings.CARD_SEASON_DAYS <= 0:
        return Unseasoned()
    linked = linked_firms(firm)
    cards = has_cards(currency)
    if not linked and not cards:
        return Unseasoned()
    given = _given(firm, currency, now) | {"account": account.pk, "linked": list(linked)}
    payers = _payers(given)
    found = _paid_by_linked(given) if payers & set(linked) else []
    if cards:
        young = _rows(FIRST_YOUNG, given | {"firms": sorted(payers - set(linked))})
        for payer, first in young:
            payments = replay(payer, currency, first, now).payments
            found += [part for each in payments if each.payee == account.pk for part in _parts(each, now)]
    return Unseasoned(tuple(found))


def payers_of(firm: Firm, currency: str, now: datetime) -> set[int]:
    """Keys of the firms that paid this one within the season."""
    account = Account.objects.filter(firm=firm, kind=AccountKind.EARNINGS, currency=currency, ref="").first()
    return _payers(_given(firm, currency, now) | {"account": account.pk}) if account else set()


def paid_from(deposit: Deposit, now: datetime) -> list[Payment]:
    """Where a deposit's money went: what others got, with the lots that are of it alone."""
    paid = []
    for each in _replayed(deposit, now).payments:
        lots = tuple(lot for lot in each.lots if lot.origin.name == deposit.public_id)
        if lots:
            paid.append(Payment(each.at, each.payee, each.subject, lots))
    return paid


def left_in_wallet_micros(deposit: Deposit, now: datetime) -> int:
    """What of a deposit's money the payer has not spent."""
    wallet = Account.objects.filter(
        firm=deposit.firm, kind=AccountKind.WALLET, currency=deposit.currency, ref=""
    ).first()
    return _replayed(deposit, now).pockets.micros_of(wallet.pk, deposit.public_id) if wallet else 0


def has_cards(currency: str) -> bool:
    """Whether money ever came that can be taken back."""
    cards = Account.objects.filter(kind=AccountKind.CLEARING, currency=currency, ref__in=disputable_gateways())
    return cards.exists()


def replay(firm_id: int, currency: str, first_entry: int, now: datetime) -> Replayed:
    """A firm's journals from an entry on: what it had before is old."""
    rows = _rows(LEGS, {
        "firm": firm_id, "currency": currency, "first": first_entry, "pockets": [str(kind) for kind in POCKETS],
        "cleared": _cleared(now),
    })  # fmt: skip
    own = {row[4]: row for row in rows if row[5] == firm_id and row[6] in POCKETS}
    held = {pocket: int(row[8]) for pocket, row in own.items()}
    for row in rows:
        if row[4] in held:
            held[row[4]] -= row[9]
    wallet = next((pocket for pocket, row in own.items() if row[6] == AccountKind.WALLET), None)
    pockets, payments = Pockets(wallet=wallet, held=held), []
    disputed = _disputed(firm_id)
    for _, legs in groupby(rows, key=lambda row: row[0]):
        payments += pockets.apply(_move(list(legs), disputed))
    return Replayed(pockets, tuple(payments))


def _payers(given: Mapping[str, Any]) -> set[int]:
    return {payer for (payer,) in _rows(PAYERS, given)}


def _replayed(deposit: Deposit, now: datetime) -> Replayed:
    given = {"deposit": deposit.public_id, "code": str(Code.DEPOSIT), "firm": deposit.firm_id}
    ((first,),) = _rows(FIRST_OF_DEPOSIT, given)
    if first is None:
        return Replayed(Pockets(wallet=None, held={}), ())
    return replay(deposit.firm_id, deposit.currency, first, now)


def _move(legs: list[Any], disputed: Mapping[str, str]) -> Move:
    place, at, code, subject = legs[0][:4]
    is_card = any(kind == AccountKind.CLEARING and ref in disputable_gateways() and micros < 0
                  for *_, kind, ref, _, micros in legs)  # fmt: skip
    seasoned_at = at + _season() if is_card or code in FROM_ANOTHER_FIRM else None
    prefer = disputed.get(subject, "")
    if code == Code.DEPOSIT_REFUND:
        prefer = subject
    return Move(
        at=at,
        legs=tuple((account, micros) for _, _, _, _, account, _, _, _, _, micros in legs),
        origin=Origin(place, subject if is_card else "", seasoned_at),
        subject=subject,
        prefer=prefer,
    )


def _parts(payment: Payment, now: datetime) -> list[Part]:
    lots = [lot for lot in payment.lots if lot.origin.seasoned_at and lot.origin.seasoned_at > now]
    return [Part(payment.at, lot.micros, lot.origin.seasoned_at) for lot in lots if lot.origin.seasoned_at]


def _paid_by_linked(given: Mapping[str, Any]) -> list[Part]:
    return [Part(first, micros, last + _season()) for first, last, micros in _rows(BY_LINKED, given)]


def _disputed(firm_id: int) -> dict[str, str]:
    """Dispute → the deposit whose money is frozen for it first."""
    return dict(PaymentDispute.objects.filter(deposit__firm=firm_id).values_list("public_id", "deposit__public_id"))


def _given(firm: Firm, currency: str, now: datetime) -> dict[str, Any]:
    return {
        "firm": firm.pk,
        "currency": currency,
        "since": now - _season(),
        "cleared": _cleared(now),
        "cards": list(disputable_gateways()),
        "credits": [str(code) for code in FROM_ANOTHER_FIRM],
    }


def _season() -> timedelta:
    return timedelta(days=settings.CARD_SEASON_DAYS)


def _cleared(now: datetime) -> datetime:
    return now - timedelta(days=settings.EARNINGS_CLEAR_DAYS)


def _rows(sql: str, given: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("%(newer)s", NEWER), given)
        return list(cursor.fetchall())
