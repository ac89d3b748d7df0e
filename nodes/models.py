"""Hosts, the physical cards in them, what was reported of both, and who has a right to a card when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.contrib.postgres.fields.ranges import RangeOperators
from django.db import models
from django.db.models import F, Func, Value

from marketplace.accounts.models import Firm, User
from marketplace.catalogue.models import GpuModel
from marketplace.common.ids import PublicIdField
from nodes.states import NODE_TRANSITIONS, Availability, ClaimKind, NodeState, PassportRole, Seen, Wanted


class EnrolmentToken(models.Model):
    """Lets hosts join a firm's fleet: so many times, until then, from those addresses. Only its hash is kept."""

    public_id = PublicIdField("etk")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="enrolment_tokens")
    name = models.CharField(max_length=80)
    token_hash = models.BinaryField(unique=True)
    uses_left = models.PositiveIntegerField()
    expires_at = models.DateTimeField()
    addresses = ArrayField(models.CharField(max_length=49), default=list)  # CIDR; empty means from anywhere
    region = models.CharField(max_length=40, blank=True)  # where the hosts stand, as buyers search for it
    country = models.CharField(max_length=2, blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)


class Node(models.Model):
    """A host with our agent."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = NODE_TRANSITIONS
    EVENT: ClassVar[str] = "node"

    public_id = PublicIdField("node")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=80)
    state = models.CharField(max_length=12, choices=NodeState, default=NodeState.PENDING)
    public_key = models.BinaryField(unique=True)  # Ed25519, 32 bytes; the private half never leaves the host
    bearer_hash = models.BinaryField(unique=True)
    region = models.CharField(max_length=40)
    country = models.CharField(max_length=2)
    is_draining = models.BooleanField(default=False)  # by the server's side; the agent's own drain is in the reports
    quarantine_reason = models.CharField(max_length=200, blank=True)
    inventory_digest = models.CharField(max_length=16, blank=True)
    inventory = models.JSONField(default=dict)
    inventory_at = models.DateTimeField(null=True)  # since when the cards stand in this order in the reports
    runtime = models.CharField(max_length=16, default="none")
    agent_version = models.CharField(max_length=32, blank=True)
    enrolled_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True)  # moved forward by the tick that reads the reports
    reliability_basis_points = models.PositiveSmallIntegerField(null=True)  # of its recent leases, those that it kept
    proven_at = models.DateTimeField(null=True)  # when a lease of the platform's own had run on it from start to end

    class Meta:
        constraints = [models.UniqueConstraint(name="node_name_in_firm", fields=["firm", "name"])]
        indexes = [models.Index(name="node_not_proven", fields=["id"], condition=models.Q(proven_at=None))]

    def __str__(self) -> str:
        return self.name

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


class NodeProof(models.Model):
    """How the platform's own leases went on a node that is not proven; gone when it is."""

    node = models.OneToOneField(Node, primary_key=True, on_delete=models.CASCADE, related_name="proof")
    running_since_at = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)  # one after another; what its owner took back is none
    failed_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=32, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    next_at = models.DateTimeField()  # not tried before


class Card(models.Model):
    """One physical GPU for life. Its firm and node are those that report it now."""

    public_id = PublicIdField("card")
    uuid = models.CharField(max_length=64, unique=True)
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="cards")
    node = models.ForeignKey(Node, null=True, on_delete=models.PROTECT, related_name="cards")
    index = models.PositiveSmallIntegerField()  # its place in the node's reports
    gpu_model = models.ForeignKey(GpuModel, on_delete=models.PROTECT, related_name="cards")
    memory_mib = models.PositiveIntegerField()  # measured
    is_modified = models.BooleanField(default=False)
    recognition = models.JSONField(default=dict)  # how the model was found, for people
    tier = models.CharField(max_length=10, default="declared")  # declared, measured, attested
    identity = models.JSONField(default=dict)
    epoch = models.BigIntegerField(default=0)  # raised when an assignment is created or revoked
    first_seen_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(name="card_by_model", fields=["gpu_model", "firm"])]


class CardOrder(models.Model):
    """From `since_at` on a node's reports have its cards in this order. Append-only: money is read by it."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="card_orders")
    since_at = models.DateTimeField()
    uuids = ArrayField(models.CharField(max_length=64))

    class Meta:
        indexes = [models.Index(name="card_order_of_node", fields=["node", "-since_at"])]


class CardState(models.Model):
    """What a card was doing when it was last decided. `version` grows with every change that the market must see."""

    card = models.OneToOneField(Card, primary_key=True, on_delete=models.CASCADE, related_name="status")
    availability = models.CharField(max_length=10, choices=Availability, default=Availability.LOST)
    reasons = ArrayField(models.CharField(max_length=64), default=list)
    version = models.BigIntegerField(default=0)
    since_at = models.DateTimeField()
    observed_at = models.DateTimeField(null=True)
    baseline_mib = models.PositiveIntegerField(null=True)
    sample = models.JSONField(default=dict)  # the newest reading by name, for people

    class Meta:
        indexes = [models.Index(name="card_state_idle", fields=["availability", "observed_at"])]


class NodeReportState(models.Model):
    """The newest report of a node. The ingest process writes it and only ever moves it forward on (run, seq)."""

    node = models.OneToOneField(Node, primary_key=True, on_delete=models.CASCADE, related_name="report_state")
    run = models.BigIntegerField()
    seq = models.BigIntegerField()
    received_at = models.DateTimeField()
    inventory_digest = models.CharField(max_length=16)
    draining = models.BooleanField(default=False)
    state_version = models.BigIntegerField(default=1)
    processed_version = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(
                name="report_state_waiting",
                fields=["node"],
                condition=models.Q(state_version__gt=F("processed_version")),
            )
        ]


class Report(models.Model):
    """One report as it came; the table is partitioned by day of `received_at` and has no unique index on purpose."""

    node = models.ForeignKey(Node, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    run = models.BigIntegerField()
    seq = models.BigIntegerField()
    received_at = models.DateTimeField()
    observed_at = models.DateTimeField()  # received_at less the time that it waited on the host
    mono_ms = models.BigIntegerField()
    is_live = models.BooleanField()
    cards = ArrayField(models.FloatField())  # CARD_FIELDS per card, one card after the other; NaN for no reading
    leases = models.JSONField(null=True)  # [[lease, epoch, phase], …]

    class Meta:
        managed = False
        db_table = "nodes_report"


class Claim(models.Model):
    """The only right to a card over time. PostgreSQL refuses two that overlap, so a card is never given twice."""

    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="claims", db_index=False)
    period = DateTimeRangeField()
    kind = models.CharField(max_length=12, choices=ClaimKind)
    holder = models.CharField(max_length=32, db_index=True)  # the public id of the lease or sale

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="card_claimed_once",
                expressions=[
                    (
                        Func(F("card_id"), F("card_id"), Value("[]"), function="int8range"),
                        RangeOperators.OVERLAPS,
                    ),
                    ("period", RangeOperators.OVERLAPS),
                ],
            )
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(F("period__endswith"), name="claim_by_end")]


class Assignment(models.Model):
    """What a node must run for a lease. `payload` and `signature` are what the agent gets, made when it was written."""

    public_id = PublicIdField("asg")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="assignments")
    holder = models.CharField(max_length=32, unique=True)  # the lease's public id
    wanted = models.CharField(max_length=4, choices=Wanted, default=Wanted.RUN)
    seen = models.CharField(max_length=8, choices=Seen, default=Seen.NONE)
    running_epochs = models.JSONField()  # card UUID → epoch while it runs: what its reports name
    epochs = models.JSONField()  # the same, higher once it was revoked: nothing older may run
    payload = models.TextField()
    signature = models.TextField()
    relay_ports = ArrayField(models.PositiveIntegerField(), default=list)
    ack_run = models.BigIntegerField(default=0)
    ack_seq = models.BigIntegerField(default=0)
    progress_percent = models.PositiveSmallIntegerField(null=True)
    reason = models.CharField(max_length=32, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    ssh_user = models.CharField(max_length=32, blank=True)
    ssh_host_key = models.CharField(max_length=800, blank=True)
    memory_at_baseline = models.BooleanField(null=True)
    created_at = models.DateTimeField()
    running_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                name="assignment_wanted", fields=["node"], condition=~models.Q(wanted=Wanted.STOP, seen=Seen.EXITED)
            )
        ]


class AssignmentLog(models.Model):
    """The last of what a workload wrote; apart from its assignment, which every report of the node reads."""

    assignment = models.OneToOneField(Assignment, primary_key=True, on_delete=models.CASCADE, related_name="log")
    text = models.TextField()
    at = models.DateTimeField()


class RelayPort(models.Model):
    """A public port of the relay; free when nobody holds it."""

    port = models.PositiveIntegerField(primary_key=True)
    holder = models.CharField(max_length=32, blank=True, db_index=True)  # the lease's public id


class IdentityConflict(models.Model):
    """One UUID seen on a second node while the first still has it; an operator decides which is the real one."""

    public_id = PublicIdField("idc")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="conflicts")
    newcomer = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="conflicts")
    seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    ruling = models.CharField(max_length=12, blank=True)  # keep, move or arrived

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_open_conflict_per_card_and_node",
                fields=["card", "newcomer"],
                condition=models.Q(resolved_at=None),
            )
        ]


class ConflictEvidence(models.Model):
    """What one of the two nodes of a conflict measured, and how long its nonce was out by our own clock.

    One card can't answer on two hosts at once: answers whose times overlap are two cards with one UUID.
    """

    conflict = models.ForeignKey(IdentityConflict, on_delete=models.PROTECT, related_name="evidence")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+")
    nonce = models.CharField(max_length=64)
    body = models.TextField()
    node_signature = models.CharField(max_length=88)
    tier = models.CharField(max_length=10)
    function_grade = models.CharField(max_length=2)
    findings = models.JSONField(default=list)
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="evidence_once_per_nonce", fields=["conflict", "nonce"])]


class IdentityChange(models.Model):
    """A card said something else of itself than before. Append-only but for the operator's acceptance."""

    public_id = PublicIdField("ich")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="identity_changes")
    node = models.ForeignKey(Node, on_delete=models.PROTECT)
    changes = models.JSONField()  # field → [before, now]
    is_blocking = models.BooleanField()
    seen_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                name="identity_change_blocking", fields=["card"], condition=models.Q(is_blocking=True, accepted_at=None)
            )
        ]


class CardTransfer(models.Model):
    """A card is expected at another firm: where its UUID turns up there, it has moved and is no clone."""

    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="transfers")
    to_firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="+")
    holder = models.CharField(max_length=32)  # the sale's public id, which also holds the card's claim
    since_at = models.DateTimeField()
    arrived_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_open_transfer_per_card", fields=["card"], condition=models.Q(ended_at=None)
            )
        ]


class Passport(models.Model):
    """The signed record of what a card measured. Append-only: PostgreSQL refuses to change or delete one.

    `body` is the node's canonical text, `record` the market's, which names the body's hash and the one before;
    `sha256` is the record's, so a card's passports are a chain that can't be rewritten unseen.
    """

    public_id = PublicIdField("pas")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="passports")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="passports")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="passports")  # who measured
    role = models.CharField(max_length=6, choices=PassportRole)
    subject = models.CharField(max_length=32, blank=True)  # the public id of the sale that it was measured for
    seq = models.PositiveIntegerField()
    nonce = models.CharField(max_length=64, unique=True)
    body = models.TextField()
    record = models.TextField()
    sha256 = models.CharField(max_length=64, unique=True)
    prev_sha256 = models.CharField(max_length=64, blank=True)
    node_signature = models.CharField(max_length=88)
    market_signature = models.CharField(max_length=88)
    tier = models.CharField(max_length=10)
    function_grade = models.CharField(max_length=2)
    findings = models.JSONField(default=list)
    measured_at = models.DateTimeField()  # when the market gave the nonce: it was measured after that
    expires_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="passport_once_in_its_chain", fields=["card", "seq"]),
            models.CheckConstraint(name="passport_chain_begins_at_one", condition=models.Q(seq__gte=1)),
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """The body as values."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def recorded(self) -> dict[str, Any]:
        """The market's record as values."""
        found: dict[str, Any] = json.loads(self.record)
        return found


class IngestClock(models.Model):
    """One row: since when the ingest has been up without a pause, and its last beat."""

    up_since_at = models.DateTimeField()
    beat_at = models.DateTimeField()
