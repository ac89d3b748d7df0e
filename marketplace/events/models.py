"""The append-only feed of everything that a party would want to know, and the keys of repeated requests."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Func

from marketplace.common.ids import PublicIdField


class CurrentTransaction(Func):
    """The writing transaction's number; with it a reader knows which events can still appear before one."""

    template = "(pg_current_xact_id()::text::bigint)"
    arity = 0
    output_field = models.BigIntegerField()


class Event(models.Model):
    """One fact, told to one firm (or to the operators only, when `firm_id` is empty). Feed and audit log in one."""

    public_id = PublicIdField("evt")
    xact = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)
    at = models.DateTimeField()
    firm_id = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=64)  # a user's or key's public id, `node_…`, or `system`
    type = models.CharField(max_length=64)  # such as lease.active
    subject = models.CharField(max_length=32)  # the public id of what it is about
    reason = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(name="event_feed", fields=["firm_id", "xact", "id"]),
            models.Index(name="event_subject", fields=["subject", "id"]),
            BrinIndex(name="event_at", fields=["at"]),
        ]


class IdempotencyKey(models.Model):
    """A key that a firm has used, and what it made; stored in the transaction of the effect."""

    firm_id = models.BigIntegerField()  # below zero: an operator's
    key = models.CharField(max_length=255)
    body_hash = models.BinaryField()
    resource = models.CharField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="idempotency_key_used_once", fields=["firm_id", "key"])]
        indexes = [models.Index(name="idempotency_key_age", fields=["created_at"])]
