"""Issuing documents: each month's invoices, what came late, and credit notes. Every number is given in PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from marketplace.accounts.models import Firm
from marketplace.books.models import Document, DocumentKind, IssuedMonth, Series
from marketplace.books.months import months, next_month
from marketplace.books.selectors import Charge, charges
from marketplace.common.countries import COUNTRIES
from marketplace.common.errors import Conflict
from marketplace.events.services import record_event
from marketplace.ledger import tax
from marketplace.ledger.models import Journal
from marketplace.ledger.periods import SETTLES_WITHIN


class IssuerMissing(Conflict):
    """The installation does not say where the platform sits, so no document can name it."""

    code = "platform_country_missing"


PLATFORM_PREFIX = "FAL-"
ISSUING = (1179208524, 2)
Parties = tuple[DocumentKind, Firm | None, Firm, str]  # what, issuer, recipient, currency


def issue_due(*, now: datetime) -> int:
    """Issue every month that is over for an hour and was not issued yet; returns how many documents that made."""
    first = Journal.objects.order_by("pk").first()
    if first is None:
        return 0
    done = set(IssuedMonth.objects.values_list("since", flat=True))
    due = [since for since in months(first.at, now - SETTLES_WITHIN) if since not in done]
    return sum(issue_month(since=since, now=now) for since in due)


@transaction.atomic
def issue_month(*, since: datetime, now: datetime, again: bool = False) -> int:
    """Issue what the month was charged and what no document says yet; returns how many documents that made.

    Of two at once one waits and finds everything done. `again` looks at a month that was issued already. Raises
    IssuerMissing, also for a month without fees: what a tax depends on must be known before the first document.
    """
    _platform()
    _issue_alone()
    if not again and IssuedMonth.objects.filter(since=since).exists():
        return 0
    until = next_month(since)
    made = 0
    for parties, lines in _wanted(charges(since, until)).items():
        made += _issue(parties, lines, since, until, now)
    IssuedMonth.objects.get_or_create(since=since, defaults={"at": now, "documents_count": made})
    return made


def series_of(issuer: Firm | None, *, is_credit: bool) -> Series:
    """The issuer's series, begun when it is first needed."""
    prefix = f"{issuer.pk}-" if issuer else PLATFORM_PREFIX
    series, _ = Series.objects.get_or_create(
        issuer=issuer, is_credit=is_credit, defaults={"prefix": f"{prefix}C" if is_credit else prefix}
    )
    return series


def create_document(*, actor: str, now: datetime, **columns: Any) -> Document:
    """Write a document and tell both sides; its number comes with it."""
    issuer, recipient = columns["issuer"], columns["recipient"]
    is_credit = columns["kind"] == DocumentKind.CREDIT_NOTE
    document = Document.objects.create(
        series=series_of(issuer, is_credit=is_credit),
        parties={"issuer": _named(issuer), "recipient": _named(recipient)},
        total_micros=sum(line["amount_micros"] for line in columns["lines"]),
        tax_micros=sum(line["tax_micros"] for line in columns["lines"]),
        issued_at=now,
        **columns,
    )
    document.refresh_from_db(fields=["number"])
    for firm in (recipient, issuer):
        if firm is not None:
            data = {"kind": str(document.kind), "number": document.number_text}
            record_event(
                firm_id=firm.pk, type="document.issued", subject=document.public_id, actor=actor, data=data, now=now
            )
    return document


def _wanted(found: Iterable[Charge]) -> dict[Parties, list[dict[str, Any]]]:
    wanted: dict[Parties, list[dict[str, Any]]] = defaultdict(list)
    for charge in found:
        deal = charge.deal
        fee = _line(charge, charge.fee_micros, _fee_tax(charge), f"Fee: {deal.what.lower()[:1]}{deal.what[1:]}")
        wanted[DocumentKind.FEE_INVOICE, None, deal.seller, charge.currency].append(fee)
        paid = _line(charge, charge.paid_micros, _sale_tax(charge), deal.what)
        wanted[DocumentKind.PURCHASE, deal.seller, deal.buyer, charge.currency].append(paid)
    return wanted


def _line(charge: Charge, amount_micros: int, tax_micros: int, what: str) -> dict[str, Any]:
    return {
        "subject": charge.deal.subject,
        "code": charge.code,
        "what": what,
        "amount_micros": amount_micros,
        "tax_micros": tax_micros,
    }


def _fee_tax(charge: Charge) -> int:
    country = charge.deal.seller.headquarters_country
    supply = tax.Supply(tax.Kind.FEE, settings.PLATFORM_COUNTRY, country)
    return tax.contained_micros(charge.fee_micros, tax.tax_basis_points(supply))


def _sale_tax(charge: Charge) -> int:
    deal = charge.deal
    if deal.tax_of_total:  # a card's was fixed when it was sold; what went back took its part along
        part, total = deal.tax_of_total
        return part * charge.paid_micros // total
    supply = tax.Supply(tax.Kind.HOURS, deal.seller.headquarters_country, deal.buyer.headquarters_country)
    return tax.contained_micros(charge.paid_micros, tax.tax_basis_points(supply))


def _issue(parties: Parties, lines: list[dict[str, Any]], since: datetime, until: datetime, now: datetime) -> int:
    kind, issuer, recipient, currency = parties
    before = Document.objects.filter(kind=kind, issuer=issuer, recipient=recipient, currency=currency, since=since)
    said = _said(before)
    left = [_less(line, said.get((line["subject"], line["code"]), (0, 0))) for line in lines]
    left = [line for line in left if line["amount_micros"] > 0]
    if not left:
        return 0
    create_document(
        kind=kind, issuer=issuer, recipient=recipient, currency=currency, since=since, until=until,
        part=before.count(), lines=left, actor="system", now=now,
    )  # fmt: skip
    return 1


def _said(documents: Iterable[Document]) -> Mapping[tuple[str, str], tuple[int, int]]:
    said: dict[tuple[str, str], tuple[int, int]] = {}
    for document in documents:
        for line in document.lines:
            key = (line["subject"], line["code"])
            amount, taxed = said.get(key, (0, 0))
            said[key] = (amount + line["amount_micros"], taxed + line["tax_micros"])
    return said


def _less(line: dict[str, Any], said: tuple[int, int]) -> dict[str, Any]:
    amount, taxed = line["amount_micros"] - said[0], line["tax_micros"] - said[1]
    return line | {"amount_micros": amount, "tax_micros": max(taxed, 0)}


def _named(firm: Firm | None) -> dict[str, str]:
    if firm is None:
        return _platform()
    return {"name": firm.name, "country": firm.headquarters_country, "id": firm.public_id}


def _platform() -> dict[str, str]:
    if settings.PLATFORM_COUNTRY not in COUNTRIES:
        raise IssuerMissing(
            "set PLATFORM_COUNTRY to the country where this exchange sits, such as FR: invoices name it"
        )
    return {"name": settings.PLATFORM_NAME, "country": settings.PLATFORM_COUNTRY, "id": ""}


def _issue_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", ISSUING)
