"""Enrolment and inventory over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from nacl.signing import SigningKey
from rest_framework.test import APIClient

from nodes.agent import protocol
from nodes.models import AssignmentLog, Node
from nodes.services.enrolment import create_enrolment_token
from nodes.states import NodeState
from tests.factories import NOON, make_firm
from tests.nodes.builders import card_identity, enrol_request, make_inventory, signed_headers

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(frozen):
    """A key, and the reply to its enrolment."""
    key = SigningKey.generate()
    _, text = create_enrolment_token(
        firm=make_firm(), name="t", uses=1, expires_at=NOON + timedelta(hours=1), now=NOON, addresses=["127.0.0.0/8"]
    )
    answer = post(protocol.ENROL_PATH, protocol.encode(enrol_request(text, key, make_inventory())))
    assert answer.status_code == 201, answer.content
    return key, protocol.decode(protocol.EnrolReply, answer.content)


def post(path, body, headers=None):
    return APIClient().post(path, body, content_type="application/json", headers=headers or {})


def test_a_node_says_anew_what_cards_it_has(host, frozen):
    key, reply = host
    body = protocol.encode(make_inventory(card_identity(), card_identity()))
    headers = signed_headers(key, reply.node, protocol.INVENTORY_PATH, body, frozen.advance(60))
    assert post(protocol.INVENTORY_PATH, body, headers).status_code == 204
    assert Node.objects.get().cards.count() == 3  # the first one is known for life


@pytest.mark.parametrize("what", ["body", "node", "key", "time", "no headers", "retired"])
def test_what_the_node_did_not_sign_is_a_401(host, frozen, what):
    key, reply = host
    body = protocol.encode(make_inventory())
    signer = SigningKey.generate() if what == "key" else key
    at = NOON - timedelta(minutes=11) if what == "time" else NOON
    name = "node_other" if what == "node" else reply.node
    headers = signed_headers(signer, name, protocol.INVENTORY_PATH, body, at)
    if what == "retired":
        Node.objects.update(state=NodeState.RETIRED)
    sent = body + b" " if what == "body" else body
    answer = post(protocol.INVENTORY_PATH, sent, {} if what == "no headers" else headers)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == ("clock_skew" if what in {"time", "no headers"} else "bad_signature")


@pytest.mark.parametrize("text", [f"{NOON.timestamp() * 1000:020.0f}" + "0" * 5000, "\u0663" * 13, "-1", "1e3"])
def test_a_time_that_is_no_number_of_milliseconds_is_a_401(host, text):
    key, reply = host
    body = protocol.encode(make_inventory())
    headers = signed_headers(key, reply.node, protocol.INVENTORY_PATH, body, NOON)
    answer = post(protocol.INVENTORY_PATH, body, headers | {protocol.TIMESTAMP_HEADER: text})
    assert (answer.status_code, answer.json()["code"]) == (401, "clock_skew")


def test_a_length_of_thousands_of_digits_is_a_413():
    answer = APIClient().generic(
        "POST", protocol.ENROL_PATH, b"{}", content_type="application/json", CONTENT_LENGTH="1" * 5000
    )
    assert answer.status_code == 413


def test_a_log_comes_signed_or_not_at_all(host, frozen):
    key, reply = host
    body = protocol.encode(protocol.LogTail("asg_unknown", "text"))
    headers = signed_headers(key, reply.node, protocol.LOGS_PATH, body, NOON)
    assert post(protocol.LOGS_PATH, body, headers).status_code == 204
    assert not AssignmentLog.objects.exists()
    assert post(protocol.LOGS_PATH, body).status_code == 401
    for odd in (protocol.LogTail("asg_\0", "text"), protocol.LogTail("asg_\ud800", "text")):
        body = protocol.encode(odd)
        headers = signed_headers(key, reply.node, protocol.LOGS_PATH, body, NOON)
        assert post(protocol.LOGS_PATH, body, headers).status_code == 204
    wrong = b'{"assignment": 1}'
    assert (
        post(protocol.LOGS_PATH, wrong, signed_headers(key, reply.node, protocol.LOGS_PATH, wrong, NOON)).status_code
        == 400
    )


def test_acks_are_taken_though_one_of_them_is_bad_and_a_body_that_is_no_batch_is_a_400(host):
    key, reply = host

    def send(body):
        return post(protocol.ACKS_PATH, body, signed_headers(key, reply.node, protocol.ACKS_PATH, body, NOON))

    bad = protocol.Ack("asg_\0", "lse_1", {}, protocol.Phase.RUNNING, 2**70, 1, 0, detail="\ud800")
    assert send(protocol.encode(protocol.AckBatch([bad]))).status_code == 204
    assert send(b'{"acks": [{"phase": "dancing"}]}').status_code == 204
    refused = send(b'{"acks": "none"}')
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_message")
    assert refused["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"", b"{}", b"[[", b'{"token": 1}', b"[" * 100_000])
def test_a_malformed_enrolment_is_a_400(body):
    answer = post(protocol.ENROL_PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_a_body_that_is_too_large_is_a_413():
    assert post(protocol.ENROL_PATH, b" " * (protocol.BODY_BYTES_MAX + 1)).status_code == 413


def test_who_enrols_too_often_must_wait_and_the_next_address_need_not(settings):
    settings.ENROL_BURST = 2
    key = SigningKey.generate()
    body = protocol.encode(enrol_request("fal_enrol_wrong", key, make_inventory()))

    def tried(address):
        return APIClient().post(protocol.ENROL_PATH, body, content_type="application/json", REMOTE_ADDR=address)

    answers = [tried("192.0.2.1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert int(answers[2]["Retry-After"]) >= 1
    assert answers[2].json()["code"] == "rate_limited"
    assert tried("192.0.2.2").status_code == 401
