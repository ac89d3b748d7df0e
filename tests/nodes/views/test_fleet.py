"""The fleet over the API: a firm sees its own and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from nodes.models import Claim, EnrolmentToken, Node
from nodes.services.availability import process_reports
from nodes.services.inventory import record_inventory
from nodes.states import ClaimKind, NodeState
from tests.factories import NOON, api_of, make_firm
from tests.nodes.builders import HEALTHY, card_identity, heard, make_inventory, make_node

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]


@pytest.fixture
def node():
    """Two cards, one at 20 % and one at 60 %, for the last minute."""
    node, _ = make_node(name="alpha")
    inventory = make_inventory(card_identity(), card_identity())
    record_inventory(node_public_id=node.public_id, inventory=inventory, now=NOON - timedelta(hours=2))
    node.refresh_from_db()
    for seq in range(12):
        at = NOON - timedelta(seconds=60 - 5 * seq)
        heard(node, at, seq + 1, [[20.0, *HEALTHY[1:]], [60.0, *HEALTHY[1:4], float("nan"), *HEALTHY[5:]]])
    process_reports(now=NOON)
    return node


def test_a_node_is_shown_with_its_cards(node):
    (shown,) = api_of(node.firm).get("/api/v1/nodes/").json()["data"]
    assert shown == api_of(node.firm).get(f"/api/v1/nodes/{node.public_id}/").json()
    assert (shown["name"], shown["state"], shown["driver_version"]) == ("alpha", "online", "580.65.06")
    assert shown["last_seen_at"] == "2026-11-23T11:59:55Z"
    first, second = shown["cards"]
    assert first["id"].startswith("card_")
    assert (first["memory_mib"], first["modified"], first["tier"]) == (24564, False, "declared")
    assert first["sample"]["utilisation_percent"] == 20
    assert second["sample"]["power_w"] is None
    assert first["availability"] == "owner_used"


def test_another_firm_sees_nothing_of_it(node):
    stranger = api_of(make_firm(), "fleet")
    assert stranger.get("/api/v1/nodes/").json()["data"] == []
    for path in ("", "telemetry/"):
        assert stranger.get(f"/api/v1/nodes/{node.public_id}/{path}").status_code == 404
    assert stranger.patch(f"/api/v1/nodes/{node.public_id}/", {"name": "mine"}, format="json").status_code == 404
    assert stranger.get("/api/v1/fleet/utilisation/").json()["cards"] == 0


def test_filters_are_checked(node):
    api = api_of(node.firm)
    assert api.get("/api/v1/nodes/?state=lost").json()["data"] == []
    unknown = api.get("/api/v1/nodes/?colour=red")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "unknown_filter")
    assert api.get("/api/v1/nodes/?state=happy").status_code == 400


def test_a_token_is_shown_once_and_can_be_revoked():
    firm = make_firm()
    api = api_of(firm, "fleet")
    body = {"name": "rack 1", "uses": 3, "addresses": ["192.0.2.0/24"]}
    made = api.post("/api/v1/nodes/enrolment-tokens/", body, format="json")
    assert made.status_code == 201
    assert made.json()["token"].startswith("fal_enrol_")
    assert made.json()["expires_at"] == "2026-11-24T12:00:00Z"
    (listed,) = api.get("/api/v1/nodes/enrolment-tokens/").json()["data"]
    assert "token" not in listed
    assert (listed["id"], listed["uses_left"]) == (made.json()["id"], 3)
    path = f"/api/v1/nodes/enrolment-tokens/{listed['id']}/"
    assert api_of(make_firm(), "fleet").delete(path).status_code == 404
    assert api.delete(path).status_code == 204
    assert EnrolmentToken.objects.get().revoked_at == NOON


@pytest.mark.parametrize(
    "body", [{}, {"name": "x", "uses": 0}, {"name": "x", "addresses": ["moon"]}, {"name": "x", "colour": "red"}]
)
def test_a_token_that_makes_no_sense_is_a_400(body):
    answer = api_of(make_firm(), "fleet").post("/api/v1/nodes/enrolment-tokens/", body, format="json")
    assert answer.status_code == 400
    assert not EnrolmentToken.objects.exists()


def test_writing_needs_the_scope_fleet(node):
    api = api_of(node.firm, "trade")
    assert api.post("/api/v1/nodes/enrolment-tokens/", {"name": "x"}, format="json").status_code == 403
    assert api.patch(f"/api/v1/nodes/{node.public_id}/", {"draining": True}, format="json").status_code == 403
    assert api.post(f"/api/v1/nodes/{node.public_id}/retire/").status_code == 403


def test_a_firm_names_places_and_drains_its_node(node):
    make_node(firm=node.firm, name="beta")
    api, path = api_of(node.firm, "fleet"), f"/api/v1/nodes/{node.public_id}/"
    changed = api.patch(path, {"name": "gamma", "region": "eu-west", "country": "IE", "draining": True}, format="json")
    assert {key: changed.json()[key] for key in ("name", "region", "country", "draining")} == {
        "name": "gamma",
        "region": "eu-west",
        "country": "IE",
        "draining": True,
    }
    taken = api.patch(path, {"name": "beta"}, format="json")
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    assert api.patch(path, {"country": "Ireland"}, format="json").status_code == 400


def test_a_node_is_retired_only_when_nobody_has_a_right_to_its_cards(node):
    api, path = api_of(node.firm, "fleet"), f"/api/v1/nodes/{node.public_id}/retire/"
    claim = Claim.objects.create(
        card=node.cards.first(),
        period=DateTimeTZRange(NOON + timedelta(hours=1), NOON + timedelta(hours=2)),
        kind=ClaimKind.LEASE,
        holder="lse_1",
    )
    assert api.post(path).json()["code"] == "cards_claimed"
    claim.delete()
    assert api.post(path).json()["state"] == "retired"
    assert Node.objects.get(pk=node.pk).state == NodeState.RETIRED


def test_telemetry_is_averaged_over_steps(node):
    answer = api_of(node.firm).get(f"/api/v1/nodes/{node.public_id}/telemetry/?step_seconds=30").json()
    first, second = answer["cards"]
    assert [point["utilisation_percent"] for point in first["points"]] == [20, 20]
    assert [point["utilisation_percent"] for point in second["points"]] == [60, 60]
    assert [point["power_w"] for point in second["points"]] == [None, None]
    assert first["points"][0]["at"] == "2026-11-23T11:59:00Z"


FIRST = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-11-23T13:00:00Z",
        "since=2025-01-01T00:00:00Z",
        "step_seconds=1",
        "x=1",
        f"until={FIRST}",
        f"since={FIRST}",
        "since=9999-12-31T23:59:59Z",
    ],
)
def test_a_stretch_that_makes_no_sense_is_a_400(node, query):
    assert api_of(node.firm).get(f"/api/v1/nodes/{node.public_id}/telemetry/?{query}").status_code == 400


@pytest.mark.parametrize("path", ["nodes/{}/telemetry/", "fleet/utilisation/"])
def test_the_first_minute_of_all_is_a_stretch_like_any_other(node, path):
    url = f"/api/v1/{path.format(node.public_id)}?until=0001-01-01T00:01:00Z"
    assert api_of(node.firm).get(url).status_code == 200


def test_utilisation_counts_the_whole_fleet(node):
    Claim.objects.create(
        card=node.cards.first(),
        period=DateTimeTZRange(NOON - timedelta(minutes=30), NOON + timedelta(hours=2)),
        kind=ClaimKind.LEASE,
        holder="lse_1",
    )
    answer = api_of(node.firm).get("/api/v1/fleet/utilisation/").json()
    assert answer["cards"] == 2
    assert answer["by_availability"]["owner_used"] == 2
    assert len(answer["points"]) == 24
    assert answer["points"][-1] == {
        "at": "2026-11-23T11:00:00Z",
        "utilisation_percent": 40,
        "leased_percent": 25,
    }
    assert answer["points"][0]["utilisation_percent"] is None
