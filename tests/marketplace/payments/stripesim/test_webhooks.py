"""Events and their delivery, by https://docs.stripe.com/webhooks."""

from __future__ import annotations

import contextlib
import json

import pytest
import stripe

from tests.stripesim import until


@pytest.fixture
def endpoint(client, receiver):
    return client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})


def idle(stripesim):
    return until(lambda: stripesim.sim("status")["deliveries_idle"])


def test_events_are_signed_so_that_the_real_client_takes_them(stripesim, client, pay, endpoint, receiver):
    """https://docs.stripe.com/webhooks#verify-events"""
    intent = pay(1_000)
    assert until(lambda: "payment_intent.succeeded" in receiver.types())
    for body, header in receiver.got:
        event = stripe.Webhook.construct_event(body, header, endpoint.secret)
        assert client.v1.events.retrieve(event.id).type == event.type
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body + b" ", header, endpoint.secret)
    assert intent.id in {json.loads(body)["data"]["object"]["id"] for body, _ in receiver.got}
    assert idle(stripesim)
    assert all(each.pending_webhooks == 0 for each in client.v1.events.list({"delivery_success": True}).data)


def test_only_what_was_asked_for_and_connected_accounts_apart(stripesim, client, receiver):
    """https://docs.stripe.com/connect/webhooks"""
    client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["account.updated"], "connect": True})
    account = client.v1.accounts.create({"country": "US", "capabilities": {"transfers": {"requested": True}}}).id
    client.v1.customers.create({})
    stripesim.sim("onboard", {"account": account})
    assert until(lambda: receiver.types() == ["account.updated"])
    assert json.loads(receiver.got[0][0])["account"] == account


def test_a_refused_event_is_tried_three_more_times(stripesim, client, endpoint, receiver):
    """https://docs.stripe.com/webhooks#automatic-retries: in a sandbox three times over some hours."""
    receiver.answer = 500
    client.v1.customers.create({})
    for tries, wait in ((1, 60), (2, 1_800), (3, 7_200), (4, 86_400)):
        assert until(lambda tries=tries: len(receiver.got) == tries)
        assert idle(stripesim)
        stripesim.sim("clock", {"advance": wait})
    assert idle(stripesim)
    assert len(receiver.got) == 4
    assert stripesim.sim("status")["deliveries"] == {"refused": 4, "given_up": 1}
    assert len(client.v1.events.list({"delivery_success": False}).data) == 1


def test_an_event_that_waits_is_sent_after_a_restart(stripesim, client, endpoint, receiver):
    receiver.answer = 503
    client.v1.customers.create({})
    assert until(lambda: len(receiver.got) == 1)
    assert idle(stripesim)
    stripesim.stop()
    receiver.answer = 200
    stripesim.start()
    stripesim.sim("clock", {"advance": 60})
    assert until(lambda: len(receiver.got) == 2)


def test_events_may_come_twice_late_or_never_and_false_ones_may_come(stripesim, client, endpoint, receiver):
    """https://docs.stripe.com/webhooks#handle-duplicate-events, #event-ordering; dropped ones are in events.list."""
    for names in (["drop"], ["duplicate", "forge"], ["late"]):
        stripesim.sim("faults", {"next": [{"fault": name} for name in names], "late_seconds": 600})
        client.v1.customers.create({"name": " ".join(names)})
    assert until(lambda: len(receiver.got) == 3)
    assert idle(stripesim)
    assert names_of_genuine(receiver, endpoint.secret) == ["duplicate forge"] * 2
    stripesim.sim("clock", {"advance": 600})
    assert until(lambda: len(receiver.got) == 4)
    assert names_of_genuine(receiver, endpoint.secret) == ["duplicate forge"] * 2 + ["late"]
    assert idle(stripesim)
    assert [each.pending_webhooks for each in client.v1.events.list().data] == [0, 0, 1]
    counts = stripesim.sim("status")["deliveries"]
    assert counts == {"delivered": 2, "dropped": 1, "copies_taken": 1, "forged_taken": 1}


def names_of_genuine(receiver, secret):
    """What a receiver keeps that checks signatures."""
    names = []
    for body, header in receiver.got:
        with contextlib.suppress(stripe.SignatureVerificationError):
            names.append(stripe.Webhook.construct_event(body, header, secret).data.object["name"])
    return names


def test_a_seed_repeats_its_faults(stripesim, client):
    def struck() -> dict[str, int]:
        stripesim.sim("faults", {"seed": 7, "requests": {"rate_limit": 0.2, "error": 0.2}})
        for _ in range(40):
            stripesim.ask("GET", "/v1/balance")
        return stripesim.sim("faults")["struck"]

    assert struck() == struck() != {}
    assert stripesim.ask("POST", "/_sim/faults", '{"requests": {"nonsense": 1}}')[0] == 400


def test_the_simulator_sends_to_this_machine_alone(client):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.webhook_endpoints.create({"url": "https://example.com/hook", "enabled_events": ["*"]})
    assert refused.value.code == "url_invalid"
