"""Every decision, kept with what it looked at and the table it was made with, so that it can be made again.

And what operators decide: rulings on cases that wait, clearances of SKUs, papers that were shown, names compared.
All append-only, but for the entries of screening lists, of which only the newest are kept.
"""

from __future__ import annotations

from django.db import models

from marketplace.accounts.models import Firm, User
from marketplace.catalogue.models import GpuModel
from marketplace.common.ids import PublicIdField
from marketplace.compliance.inquiry import Deal, Stage
from marketplace.compliance.items import ItemClass
from marketplace.compliance.rules import Outcome

CLASSES = [(each.value, each.value) for each in ItemClass]


def _choices(values: type[Deal] | type[Stage] | type[Outcome]) -> list[tuple[str, str]]:
    return [(each.value, each.name.title()) for each in values]


class RuleTable(models.Model):
    """The text of a rule file that decided something; append-only."""

    version = models.CharField(max_length=64, unique=True)
    text = models.TextField()
    first_used_at = models.DateTimeField()


class RuleAdoption(models.Model):
    """From `at` on decisions were made with this table; the newest is what stays when a rule file is malformed."""

    table = models.ForeignKey(RuleTable, on_delete=models.PROTECT, related_name="adoptions")
    at = models.DateTimeField()


class ComplianceDecision(models.Model):
    """One answer for one buyer (`firm`); append-only. `inputs` are those of `inquiry.inputs_of`.

    `subject` is the public id of what is decided about, a lease's buyer or a sale. `case_hash` is equal for two looks
    at the same facts.
    """

    public_id = PublicIdField("cmp")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="compliance_decisions")
    seller = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="+")
    deal = models.CharField(max_length=8, choices=_choices(Deal))
    stage = models.CharField(max_length=8, choices=_choices(Stage), default=Stage.LEASE.value)
    subject = models.CharField(max_length=32, blank=True, default="")
    outcome = models.CharField(max_length=8, choices=_choices(Outcome))
    rule_ids = models.JSONField()
    decided_by = models.JSONField(default=list)  # of these, the rows that made the outcome what it is
    required_documents = models.JSONField(default=list)
    inputs = models.JSONField()
    input_hash = models.CharField(max_length=64)
    case_hash = models.CharField(max_length=64, blank=True, default="")
    table = models.ForeignKey(RuleTable, on_delete=models.PROTECT, related_name="decisions")
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(name="compliance_by_firm", fields=["firm", "-at"]),
            models.Index(name="compliance_by_subject", fields=["subject", "stage"]),
            models.Index(name="compliance_held", fields=["id"], condition=models.Q(outcome=Outcome.HOLD.value)),
        ]


class HoldRuling(models.Model):
    """What an operator ruled on a decision that waited: `allow` lets the same case pass, `block` refuses it."""

    public_id = PublicIdField("rul")
    decision = models.ForeignKey(ComplianceDecision, on_delete=models.PROTECT, related_name="rulings")
    outcome = models.CharField(max_length=8, choices=_choices(Outcome))
    reason = models.CharField(max_length=1000)
    ruled_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()


class EndedHold(models.Model):
    """A hold for whose ruling nothing waits any more: what it was about is over, or never came about."""

    decision = models.OneToOneField(
        ComplianceDecision, primary_key=True, on_delete=models.PROTECT, related_name="ended"
    )
    at = models.DateTimeField()


class DocumentOnFile(models.Model):
    """A paper that an operator has seen for a subject: its code in the rule table, and where to find it."""

    public_id = PublicIdField("doc")
    subject = models.CharField(max_length=32, db_index=True)
    code = models.CharField(max_length=64)
    reference = models.CharField(max_length=200)
    valid_until = models.DateField(null=True)
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()


class SkuClearance(models.Model):
    """The class that a person found for a SKU (model, memory, modified), for some days; the newest row leads.

    A row with the class `unknown` takes an earlier one back. `class_digest` is `Ruleset.class_digest` of the table that
    it was found under: when the rows about classes or the maker's ECCN change, a person looks again.
    """

    public_id = PublicIdField("clr")
    gpu_model = models.ForeignKey(GpuModel, on_delete=models.PROTECT, related_name="+")
    memory_gib = models.PositiveIntegerField()
    is_modified = models.BooleanField()
    item_class = models.CharField(max_length=8, choices=CLASSES)
    eccn = models.CharField(max_length=16, blank=True)
    reference = models.CharField(max_length=200)
    reason = models.CharField(max_length=1000)
    valid_from = models.DateField()
    valid_until = models.DateField()
    class_digest = models.CharField(max_length=16, default="")
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(name="clearance_by_sku", fields=["gpu_model", "memory_gib", "is_modified"])]
        constraints = [
            models.CheckConstraint(
                name="clearance_ends_after_it_begins", condition=models.Q(valid_until__gte=models.F("valid_from"))
            )
        ]


class ScreeningList(models.Model):
    """One import of a list of parties with which nobody may deal. The newest counts; older ones keep their line."""

    public_id = PublicIdField("scr")
    file_name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    entries_count = models.PositiveIntegerField()
    published_on = models.DateField()
    imported_at = models.DateTimeField()
    imported_by = models.CharField(max_length=64)


class ScreeningEntry(models.Model):
    """A party on the newest list. `key` names it across imports, `digest` changes with its names."""

    screening_list = models.ForeignKey(ScreeningList, on_delete=models.PROTECT, related_name="entries")
    key = models.CharField(max_length=80)
    source = models.CharField(max_length=8)
    names = models.JSONField()
    digest = models.CharField(max_length=16)


class MatchReview(models.Model):
    """A person compared a firm's name with a list entry: the same party or not. Remembered until either changes."""

    public_id = PublicIdField("rev")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="match_reviews")
    name = models.CharField(max_length=120)  # as it was compared
    entry = models.CharField(max_length=80)
    digest = models.CharField(max_length=16)
    listed_name = models.CharField(max_length=400)
    is_same = models.BooleanField()
    reason = models.CharField(max_length=1000)
    reviewed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(name="review_by_firm", fields=["firm", "entry"])]
