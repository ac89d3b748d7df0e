"""Every decision, kept with what it looked at and the table it was made with, so that it can be made again."""

from __future__ import annotations

from django.db import models

from marketplace.accounts.models import Firm
from marketplace.common.ids import PublicIdField
from marketplace.compliance.inquiry import Deal
from marketplace.compliance.rules import Outcome


class RuleTable(models.Model):
    """The text of a rule file that decided something; append-only."""

    version = models.CharField(max_length=64, unique=True)
    text = models.TextField()
    first_used_at = models.DateTimeField()


class ComplianceDecision(models.Model):
    """One answer for one firm; append-only. `inputs` are those of `rules.inputs_of`."""

    public_id = PublicIdField("cmp")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="compliance_decisions")
    deal = models.CharField(max_length=8, choices=[(each.value, each.name.title()) for each in Deal])
    outcome = models.CharField(max_length=8, choices=[(each.value, each.name.title()) for each in Outcome])
    rule_ids = models.JSONField()
    inputs = models.JSONField()
    input_hash = models.CharField(max_length=64)
    table = models.ForeignKey(RuleTable, on_delete=models.PROTECT, related_name="decisions")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(name="compliance_by_firm", fields=["firm", "-at"])]
