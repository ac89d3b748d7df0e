"""Shapes of the fleet's API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from marketplace.common.api import PageQuery, StrictSerializer, page_shape
from nodes.models import Card, EnrolmentToken, Node, Passport
from nodes.passport_key import short_code
from nodes.passports.severity import Severity
from nodes.passports.verify import FILE_SCHEMA
from nodes.selectors import is_blocked, is_newest, must_be_proven, proof_of
from nodes.states import Availability, NodeState

STEP_SECONDS_MIN = 5
PROOF_STATES = ("waiting", "running", "failed")


class TokenInput(StrictSerializer):
    """A token to make. It is good for one host and one day unless said otherwise."""

    name = serializers.CharField(max_length=80)
    uses = serializers.IntegerField(min_value=1, max_value=10_000, default=1)
    expires_at = serializers.DateTimeField(required=False)
    addresses = serializers.ListField(child=serializers.CharField(max_length=49), max_length=64, default=list)


class TokenShape(serializers.Serializer[Any]):
    """A token as it can be seen afterwards."""

    id = serializers.CharField()
    name = serializers.CharField()
    uses_left = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
    addresses = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)


class NewTokenShape(TokenShape):
    """A token with its text, which is shown this once."""

    token = serializers.CharField()


class NodeQuery(PageQuery):
    """Filters of the list of nodes."""

    state = serializers.ChoiceField(choices=NodeState.choices, required=False)


class NodeInput(StrictSerializer):
    """What the firm decides about a node."""

    name = serializers.CharField(max_length=80, required=False)
    region = serializers.RegexField(r"^[a-z0-9-]{1,40}$", required=False)
    country = serializers.RegexField(r"^[A-Z]{2}$", required=False)
    draining = serializers.BooleanField(required=False)


class CardShape(serializers.Serializer[Any]):
    """A card; `availability` is what it was doing at `observed_at`."""

    id = serializers.CharField()
    uuid = serializers.CharField()
    gpu = serializers.CharField()
    name = serializers.CharField()
    memory_mib = serializers.IntegerField()
    modified = serializers.BooleanField()
    tier = serializers.CharField()
    availability = serializers.ChoiceField(choices=Availability.choices)
    reasons = serializers.ListField(child=serializers.CharField())
    since_at = serializers.DateTimeField()
    observed_at = serializers.DateTimeField(allow_null=True)
    sample = serializers.DictField(child=serializers.FloatField(allow_null=True))


class ProofShape(serializers.Serializer[Any]):
    """How the lease of the platform's own goes that must have run on a node before its cards are offered."""

    state = serializers.ChoiceField(choices=PROOF_STATES)
    running_since_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField(help_text="one after another; what the owner took back is none")
    failed_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_null=True)
    next_at = serializers.DateTimeField(allow_null=True, help_text="not tried before; null where it was not tried yet")


class NodeShape(serializers.Serializer[Any]):
    """A host with our agent."""

    id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(choices=NodeState.choices)
    quarantine_reason = serializers.CharField()
    region = serializers.CharField()
    country = serializers.CharField()
    draining = serializers.BooleanField()
    runtime = serializers.CharField()
    agent_version = serializers.CharField()
    driver_version = serializers.CharField(allow_null=True)
    enrolled_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    proven_at = serializers.DateTimeField(allow_null=True)
    proving = ProofShape(allow_null=True, help_text="null when it is proven, or need not be")
    cards = CardShape(many=True)


class SeriesQuery(serializers.Serializer[Any]):
    """A stretch of time in steps; the last hour in steps of a minute unless said otherwise."""

    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    step_seconds = serializers.IntegerField(min_value=STEP_SECONDS_MIN, max_value=86_400, required=False)


class PointShape(serializers.Serializer[Any]):
    """Averages over one step; null where nothing was read."""

    at = serializers.DateTimeField()
    utilisation_percent = serializers.FloatField(allow_null=True)
    memory_used_mib = serializers.FloatField(allow_null=True)
    power_w = serializers.FloatField(allow_null=True)
    temperature_c = serializers.FloatField(allow_null=True)


class CardSeriesShape(serializers.Serializer[Any]):
    """One card's points."""

    card = serializers.CharField()
    points = PointShape(many=True)


class TelemetryShape(serializers.Serializer[Any]):
    """Cards over time."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    step_seconds = serializers.IntegerField()
    cards = CardSeriesShape(many=True)


class UtilisationPointShape(serializers.Serializer[Any]):
    """The whole fleet over one step: how busy its cards were, and which share of their time was leased."""

    at = serializers.DateTimeField()
    utilisation_percent = serializers.FloatField(allow_null=True)
    leased_percent = serializers.FloatField(allow_null=True)


class UtilisationShape(serializers.Serializer[Any]):
    """What the fleet is doing now and did before."""

    cards = serializers.IntegerField()
    by_availability = serializers.DictField(child=serializers.IntegerField())
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    step_seconds = serializers.IntegerField()
    points = UtilisationPointShape(many=True)


class CheckShape(serializers.Serializer[Any]):
    """One check of a file; `ok` is null where the file does not hold what it takes."""

    name = serializers.CharField()
    ok = serializers.BooleanField(allow_null=True)
    detail = serializers.CharField()


class PassportFileInput(StrictSerializer):
    """A passport's file as it was handed out: the public part, or the whole with `body`."""

    schema = serializers.CharField(max_length=64)
    record = serializers.DictField()
    market_signature = serializers.CharField(max_length=88)
    body = serializers.DictField(required=False)
    node_signature = serializers.CharField(max_length=88, required=False)


class PassportFileShape(serializers.Serializer[Any]):
    """What anyone can check offline with the published key."""

    schema = serializers.CharField()
    record = serializers.DictField()
    market_signature = serializers.CharField()
    body = serializers.DictField(required=False)
    node_signature = serializers.CharField(required=False)


class PassportShape(serializers.Serializer[Any]):
    """What everybody may see of a passport. `card_code` stands for the card: the same in all of its passports."""

    id = serializers.CharField()
    card_code = serializers.CharField()
    gpu = serializers.CharField()
    role = serializers.CharField()
    seq = serializers.IntegerField()
    tier = serializers.CharField()
    function_grade = serializers.CharField()
    measured_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    expired = serializers.BooleanField()
    newest = serializers.BooleanField()
    blocked = serializers.BooleanField()
    sha256 = serializers.CharField()
    file = PassportFileShape()


class FindingShape(serializers.Serializer[Any]):
    """One thing that is not as with a healthy factory card."""

    code = serializers.CharField()
    severity = serializers.ChoiceField(choices=[each.value for each in Severity])
    evidence = serializers.DictField()


class CardPassportShape(serializers.Serializer[Any]):
    """A card's newest passport, null where it has none that has not expired."""

    card = serializers.CharField()
    blocked = serializers.BooleanField()
    passport = PassportShape(allow_null=True)
    findings = FindingShape(many=True)


class PassportKeyShape(serializers.Serializer[Any]):
    """The market's public key."""

    algorithm = serializers.CharField()
    public_key = serializers.CharField()


class VerificationShape(serializers.Serializer[Any]):
    """What became of every check."""

    genuine = serializers.BooleanField()
    known = serializers.BooleanField()
    checks = CheckShape(many=True)
    passport = PassportShape(allow_null=True)


TokenPage = page_shape("EnrolmentTokenPage", TokenShape)
NodePage = page_shape("NodePage", NodeShape)


def token_json(token: EnrolmentToken) -> dict[str, Any]:
    """An enrolment token without its text."""
    return {
        "id": token.public_id,
        "name": token.name,
        "uses_left": token.uses_left,
        "expires_at": token.expires_at,
        "addresses": token.addresses,
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }


def node_json(node: Node) -> dict[str, Any]:
    """A node with its cards; they must have been read with it."""
    return {
        "id": node.public_id,
        "name": node.name,
        "state": node.state,
        "quarantine_reason": node.quarantine_reason,
        "region": node.region,
        "country": node.country,
        "draining": node.is_draining,
        "runtime": node.runtime,
        "agent_version": node.agent_version,
        "driver_version": node.inventory.get("driver_version"),
        "enrolled_at": node.enrolled_at,
        "last_seen_at": node.last_seen_at,
        "proven_at": node.proven_at,
        "proving": proof_json(node),
        "cards": [card_json(card) for card in sorted(node.cards.all(), key=lambda card: card.index)],
    }


def proof_json(node: Node) -> dict[str, Any] | None:
    """How the proving of a node goes; None when it is proven, or need not be."""
    if not must_be_proven(node):
        return None
    proof = proof_of(node)
    failures = proof.failures if proof else 0
    return {
        "state": "running" if proof and proof.running_since_at else "failed" if failures else "waiting",
        "running_since_at": proof and proof.running_since_at,
        "failures": failures,
        "failed_at": proof and proof.failed_at,
        "reason": (proof and proof.reason) or None,
        "detail": (proof and proof.detail) or None,
        "next_at": proof and proof.next_at,
    }


def card_json(card: Card) -> dict[str, Any]:
    """A card and its newest reading."""
    return {
        "id": card.public_id,
        "uuid": card.uuid,
        "gpu": card.gpu_model.slug,
        "name": card.gpu_model.marketing_name,
        "memory_mib": card.memory_mib,
        "modified": card.is_modified,
        "tier": card.tier,
        "availability": card.status.availability,
        "reasons": card.status.reasons,
        "since_at": card.status.since_at,
        "observed_at": card.status.observed_at,
        "sample": card.status.sample,
    }


def passport_file(passport: Passport, *, whole: bool) -> dict[str, Any]:
    """The file of a passport; the whole one names the card's UUID and is for its parties."""
    file = {"schema": FILE_SCHEMA, "record": passport.recorded, "market_signature": passport.market_signature}
    return file | ({"body": passport.facts, "node_signature": passport.node_signature} if whole else {})


def passport_json(passport: Passport, *, now: datetime, whole: bool = False) -> dict[str, Any]:
    """A passport; read with its card and model."""
    return {
        "id": passport.public_id,
        "card_code": short_code(passport.card.uuid),
        "gpu": passport.card.gpu_model.slug,
        "role": passport.role,
        "seq": passport.seq,
        "tier": passport.tier,
        "function_grade": passport.function_grade,
        "measured_at": passport.measured_at,
        "expires_at": passport.expires_at,
        "expired": passport.expires_at <= now,
        "newest": is_newest(passport),
        "blocked": is_blocked(passport.card),
        "sha256": passport.sha256,
        "file": passport_file(passport, whole=whole),
    }


def card_passport_json(card: Card, passport: Passport | None, *, now: datetime) -> dict[str, Any]:
    """A card with its newest passport, for its owner."""
    return {
        "card": card.public_id,
        "blocked": is_blocked(card),
        "passport": passport_json(passport, now=now, whole=True) if passport else None,
        "findings": passport.findings if passport else [],
    }
