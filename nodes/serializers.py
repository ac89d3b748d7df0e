"""Shapes of the fleet's API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.common.api import PageQuery, StrictSerializer, page_shape
from nodes.models import Card, EnrolmentToken, Node
from nodes.states import Availability, NodeState

STEP_SECONDS_MIN = 5


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
        "cards": [card_json(card) for card in sorted(node.cards.all(), key=lambda card: card.index)],
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
