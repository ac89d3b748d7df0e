"""What was sold by whom, documents, and the accounts of a date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from marketplace.accounts.models import Firm
from marketplace.books.models import Document
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import NotFound
from marketplace.leases.models import Lease
from marketplace.ledger.folding import CHARGES
from marketplace.ledger.snapshots import LAST, last_entry_before
from marketplace.sales.models import Sale

# What was charged in [since, until), per lease or sale; what a seller got and the fee are what the buyer paid.
CHARGED = """
SELECT j.code, j.subject, e.currency,
    coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = 'earnings'), 0)::bigint,
    coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = 'platform_fee'), 0)::bigint
FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a ON a.id = e.account_id
WHERE j.at >= %s AND j.at < %s AND j.code = ANY(%s) AND e.id <= %s
GROUP BY 1, 2, 3 ORDER BY min(j.id)
"""


# One statement, which sees every journal whole or not at all.
TRIAL = """
SELECT a.currency, a.kind, CASE WHEN a.firm_id IS NULL THEN a.ref ELSE '' END, count(*), sum(
    CASE WHEN a.is_running AND %(at)s::timestamptz IS NULL THEN a.balance_micros ELSE (
        SELECT coalesce(s.balance_micros, 0) + coalesce((
            SELECT sum(e.amount_micros) FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
            WHERE e.account_id = a.id AND e.id > coalesce(s.through_entry, 0) AND e.id <= %(through)s
                AND (%(at)s::timestamptz IS NULL OR j.at < %(at)s)
        ), 0) FROM (VALUES (1)) one LEFT JOIN LATERAL (
            SELECT through_entry, balance_micros FROM ledger_snapshot
            WHERE account_id = a.id AND (%(at)s::timestamptz IS NULL OR newest_at < %(at)s)
            ORDER BY through_entry DESC LIMIT 1
        ) s ON true
    ) END
)::bigint
FROM ledger_account a WHERE %(currency)s::text IS NULL OR a.currency = %(currency)s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Deal:
    """A lease or a sale as documents name it; `tax_of_total` is (tax, total) of a sale's price."""

    subject: str
    seller: Firm
    buyer: Firm
    what: str
    tax_of_total: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a buyer paid for a deal in a period, in micros; `fee_micros` of it is the platform's."""

    deal: Deal
    code: str
    currency: str
    paid_micros: int
    fee_micros: int


@dataclass(frozen=True, slots=True)
class TrialRow:
    """Accounts of one purpose in one currency: how many, and what they held together, in micros."""

    currency: str
    kind: str
    ref: str
    accounts_count: int
    balance_micros: int


def sold_by(firm: Firm, since: datetime, until: datetime) -> list[str]:
    """Ids of the leases and card sales of this seller that can have been charged in the period."""
    leases = Lease.objects.filter(Q(closed_at=None) | Q(closed_at__gte=since), seller=firm, reserved_at__lt=until)
    sales = Sale.objects.filter(Q(closed_at=None) | Q(closed_at__gte=since), seller=firm, agreed_at__lt=until)
    return [*leases.values_list("public_id", flat=True), *sales.values_list("public_id", flat=True)]


def deals(subjects: Collection[str]) -> dict[str, Deal]:
    """Id → the lease or sale, for those of these that are one."""
    names = dict(GpuModel.objects.values_list("slug", "marketing_name"))
    leases = Lease.objects.filter(public_id__in=subjects).select_related("seller", "buyer")
    sales = Sale.objects.filter(public_id__in=subjects).select_related("seller", "buyer", "card__gpu_model")
    found = {
        each.public_id: Deal(
            each.public_id, each.seller, each.buyer, f"Hours of {each.card_count} × {names.get(each.gpu, each.gpu)}"
        )
        for each in leases
    }
    for sale in sales:
        what = f"{sale.card.gpu_model.marketing_name}, one card"
        tax = (sale.tax_micros, sale.price.total_micros)
        found[sale.public_id] = Deal(sale.public_id, sale.seller, sale.buyer, what, tax)
    return found


def charges(since: datetime, until: datetime) -> list[Charge]:
    """Everything that was charged in the period, in the order in which it began."""
    with connection.cursor() as cursor:
        codes = [str(code) for code in CHARGES]
        cursor.execute(CHARGED, [since, until, codes, last_entry_before(until)])
        rows = cursor.fetchall()
    known = deals({row[1] for row in rows})
    return [Charge(known[row[1]], row[0], row[2], row[3] + row[4], row[4]) for row in rows if row[1] in known]


def documents_of(firm: Firm) -> QuerySet[Document]:
    """What the firm issued or received."""
    either = Q(issuer=firm) | Q(recipient=firm)
    return Document.objects.filter(either).select_related("series", "issuer", "recipient", "refers_to__series")


def document_of(firm: Firm, public_id: str) -> Document:
    """One of them; NotFound for anything else."""
    document = documents_of(firm).filter(public_id=public_id).first()
    if document is None:
        raise NotFound
    return document


def any_document(public_id: str) -> Document:
    """One document of anybody's, for operators."""
    found = Document.objects.select_related("series", "issuer", "recipient", "refers_to__series")
    document = found.filter(public_id=public_id).first()
    if document is None:
        raise NotFound
    return document


def credited_micros(invoice: Document) -> int:
    """What credit notes took back of an invoice so far."""
    return int(Document.objects.filter(refers_to=invoice).aggregate(total=Sum("total_micros", default=0))["total"])


def trial_balance(at: datetime | None = None, currency: str | None = None) -> list[TrialRow]:
    """What every kind of account held just before `at`, or holds; the platform's one by one. A currency sums to zero.

    Without `at` no entry of a firm's is read: its accounts know what they hold.
    """
    given = {"at": at, "through": last_entry_before(at) if at else LAST, "currency": currency}
    with connection.cursor() as cursor:
        cursor.execute(TRIAL, given)
        return [TrialRow(*row) for row in cursor.fetchall()]


def totals(rows: Collection[TrialRow]) -> dict[str, int]:
    """Currency → the sum of its accounts, which is zero."""
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row.currency] += row.balance_micros
    return dict(sums)
