"""Documents of what was charged. PostgreSQL numbers them without gaps and keeps them as they were issued (ADR 0008)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm
from marketplace.common.ids import PublicIdField


class DocumentKind(models.TextChoices):
    """Who says what to whom."""

    FEE_INVOICE = "fee_invoice", "Fee invoice"  # the platform to a seller
    PURCHASE = "purchase", "Purchase invoice"  # a seller to a buyer, issued in the seller's name
    CREDIT_NOTE = "credit_note", "Credit note"  # takes back a part of one of these


INVOICES = frozenset({DocumentKind.FEE_INVOICE, DocumentKind.PURCHASE})


class Series(models.Model):
    """The numbers of one issuer, who is the platform when there is no firm. Only the documents' trigger counts on."""

    issuer = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="series")
    is_credit = models.BooleanField()
    prefix = models.CharField(max_length=16)
    last_number = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_series_per_issuer", fields=["issuer", "is_credit"], nulls_distinct=False),
        ]


class Document(models.Model):
    """An invoice or a credit note for [since, until). Amounts are micros and include the tax; append-only.

    `lines` are {"subject", "code", "what", "amount_micros", "tax_micros"} and sum to the totals. `part` is above 0 when
    something of the period came after its first invoice. `parties` are names and countries as they were.
    """

    public_id = PublicIdField("doc")
    kind = models.CharField(max_length=12, choices=DocumentKind)
    series = models.ForeignKey(Series, on_delete=models.PROTECT, related_name="documents")
    number = models.BigIntegerField(default=0, editable=False)
    issuer = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="documents_issued")
    recipient = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="documents_received")
    refers_to = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="credit_notes")
    parties = models.JSONField()
    currency = models.CharField(max_length=3)
    since = models.DateTimeField()
    until = models.DateTimeField()
    part = models.PositiveIntegerField(default=0)
    total_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField(default=0)
    lines = models.JSONField()
    reason = models.CharField(max_length=500, blank=True)
    issued_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_document_per_number", fields=["series", "number"]),
            models.UniqueConstraint(
                name="one_invoice_per_period_and_part",
                fields=["kind", "issuer", "recipient", "currency", "since", "part"],
                condition=~Q(kind="credit_note"),
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="document_is_of_money", condition=Q(total_micros__gt=0, tax_micros__gte=0)),
            models.CheckConstraint(
                name="credit_notes_refer_to_an_invoice",
                condition=Q(kind="credit_note", refers_to__isnull=False) | (~Q(kind="credit_note") & Q(refers_to=None)),
            ),
        ]
        indexes = [
            models.Index(name="document_received", fields=["recipient", "id"]),
            models.Index(name="document_issued", fields=["issuer", "id"]),
        ]

    @property
    def number_text(self) -> str:
        """The number as it is printed."""
        return f"{self.series.prefix}{self.number:06d}"


class IssuedMonth(models.Model):
    """A month whose documents were issued; append-only. What comes later is issued when the month is closed."""

    since = models.DateTimeField(unique=True)
    at = models.DateTimeField()
    documents_count = models.PositiveIntegerField()
