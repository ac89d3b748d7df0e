"""Passports over HTTP: the agent's side, the owner's view and the public one."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient

from nodes.agent import passport as wire
from nodes.agent import protocol
from nodes.models import Card, Passport
from nodes.passport_key import passport_public_key
from tests.factories import NOON, api_of, make_firm
from tests.nodes.builders import signed_headers
from tests.nodes.passports.measuring import UUID, Measurer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]


@pytest.fixture
def host():
    return Measurer(NOON)


def post(host, path, message):
    body = protocol.encode(message)
    headers = signed_headers(host.key, host.node.public_id, path, body, NOON)
    return APIClient().post(path, body, content_type="application/json", headers=headers)


def test_an_agent_asks_measures_and_hands_in(host, frozen):
    answer = post(host, wire.CHALLENGES_PATH, wire.ChallengeRequest(UUID, "seller"))
    assert answer.status_code == 201
    challenge = protocol.decode(wire.SignedChallenge, answer.content)
    frozen.advance(90)
    answer = post(host, wire.PASSPORTS_PATH, host.answer(challenge))
    assert answer.status_code == 201
    reply = protocol.decode(wire.PassportReply, answer.content)
    assert (reply.tier, reply.function_grade, reply.findings) == ("measured", "F1", [])
    assert reply.url.endswith(f"/passports/{Passport.objects.get().public_id}/")
    again = post(host, wire.PASSPORTS_PATH, host.answer(challenge))
    assert (again.status_code, again.json()["code"]) == (409, "passport_replayed")
    unknown = post(host, wire.CHALLENGES_PATH, wire.ChallengeRequest("GPU-x", "seller"))
    assert unknown.status_code == 404


@pytest.mark.parametrize("path", [wire.CHALLENGES_PATH, wire.PASSPORTS_PATH])
def test_only_nodes_speak_there_and_only_the_protocol(host, path):
    assert APIClient().post(path, b"{}", content_type="application/json").status_code == 401
    answer = post(host, path, wire.SignedChallenge("a", "b"))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_the_owner_sees_the_whole_and_others_the_public_part(host):
    card = Card.objects.get()
    owner, address = api_of(host.node.firm), f"/api/v1/cards/{card.public_id}/passport/"
    empty = {"card": card.public_id, "blocked": False, "passport": None, "findings": []}
    assert owner.get(address).json() == empty
    passport = host.measure(NOON)
    assert owner.get(address).json()["passport"]["file"]["body"]["views"]["nvml"]["uuid"] == UUID
    assert api_of(make_firm()).get(address).status_code == 404
    public = APIClient().get(f"/api/v1/passports/{passport.public_id}/")
    assert public.status_code == 200
    assert (public.json()["function_grade"], public.json()["newest"], public.json()["expired"]) == ("F1", True, False)
    assert UUID not in public.content.decode() and "body" not in public.json()["file"]
    assert APIClient().get("/api/v1/passports/pas_0/").status_code == 404


def test_anybody_can_have_a_file_checked(host, frozen):
    assert APIClient().get("/api/v1/passports/key/").json()["public_key"] == passport_public_key()
    passport = host.measure(NOON)
    address = f"/api/v1/cards/{Card.objects.get().public_id}/passport/"
    whole = api_of(host.node.firm).get(address).json()["passport"]["file"]
    public = APIClient().get(f"/api/v1/passports/{passport.public_id}/").json()["file"]

    def verified(file):
        return APIClient().post("/api/v1/passports/verify/", file, format="json")

    for file in (whole, public):
        said = verified(file).json()
        assert (said["genuine"], said["known"], said["passport"]["id"]) == (True, True, passport.public_id)
    forged = json.loads(json.dumps(whole))
    forged["record"]["function_grade"] = "F0"
    said = verified(forged).json()
    assert (said["genuine"], said["known"], said["passport"]) == (False, False, None)
    assert {each["name"]: each["ok"] for each in said["checks"]}["market_signature"] is False
    frozen.advance(15 * 24 * 3600)
    said = verified(public).json()
    assert (said["genuine"], said["passport"]["expired"]) == (True, True)


@pytest.mark.parametrize("file", [{}, {"record": 1}, {"schema": "x", "record": {}, "market_signature": "x", "more": 1}])
def test_a_file_of_another_shape_is_a_400(file):
    assert APIClient().post("/api/v1/passports/verify/", file, format="json").status_code == 400


def test_a_file_of_the_right_shape_and_any_content_is_not_genuine():
    for record in ({}, {"a": 1.5}, {"a": {"b": [None]}}, {"expires_at": "yesterday"}):
        file = {"schema": "x", "record": record, "market_signature": "AA=="}
        body = json.dumps(file)
        answer = APIClient().post("/api/v1/passports/verify/", body, content_type="application/json")
        assert (answer.status_code, answer.json()["genuine"]) == (200, False)
