"""Notices to facts: whatever arrives, how often and in which order, the books say what Stripe says."""

from __future__ import annotations

import json
import random
import threading
from datetime import timedelta

import pytest
import stripe
from django.db import connection, connections, transaction
from django.test import Client

from marketplace.common import clock
from marketplace.common.errors import NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments import inbox
from marketplace.payments.gateway import GatewayError, Notice
from marketplace.payments.models import Deposit, GatewayNotice, NoticeCursor, NoticeSource
from marketplace.payments.stripe_gateway.notices import verified
from tests.factories import make_firm, make_person
from tests.marketplace.payments.conftest import SECRET
from tests.stripesim import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent(here, receiver, settings):
    """What the simulator sends, signed with a secret of ours; a deposit of 100 is paid with it."""
    endpoint = here.sim.client().v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_an_older_one", endpoint.secret]
    deposit = here.deposit(make_firm())
    here.work()
    here.pay(deposit)
    assert until(lambda: "checkout.session.completed" in receiver.types())
    assert until(lambda: here.sim.sim("status")["deliveries_idle"])
    return deposit, list(receiver.got)


def post(body, header):
    return Client().post("/stripe/webhook", body, content_type="application/json", headers={"Stripe-Signature": header})


def elsewhere(act):
    """What `act` returns on a connection of its own."""
    found = []

    def run():
        try:
            found.append(act())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def in_wallet(deposit):
    return balance_micros(firm=deposit.firm, kind=AccountKind.WALLET, currency=deposit.currency)


def test_events_are_kept_and_answered_and_only_then_booked(here, sent):
    deposit, got = sent
    assert {post(*each).status_code for each in got} == {200}
    assert in_wallet(deposit) == 0
    here.look()
    assert in_wallet(deposit) == 100_000_000
    assert set(GatewayNotice.objects.values_list("state", flat=True)) == {"done"}


def test_duplicates_and_any_order_end_in_the_same_books(here, sent):
    deposit, got = sent
    shuffled = got * 5
    random.Random(7).shuffle(shuffled)
    for each in shuffled:
        assert post(*each).status_code == 200
        here.look()
    assert GatewayNotice.objects.count() == len(got)
    assert in_wallet(deposit) == 100_000_000
    assert Journal.objects.count() == 1


def test_what_was_never_sent_is_found_in_the_list(here, sent):
    deposit, got = sent
    first = got[0]
    assert post(*first).status_code == 200
    assert inbox.fill_gaps(now=here.now) >= len(got) - 1
    assert inbox.fill_gaps(now=here.now) == 0
    here.look()
    assert in_wallet(deposit) == 100_000_000
    assert NoticeCursor.objects.get().listed_until == here.now


def test_a_gap_that_is_longer_than_the_overlap_is_read_from_where_the_last_list_ended(here):
    inbox.fill_gaps(now=here.now)
    deposit = here.deposit(make_firm())
    here.work()
    here.pay(deposit)
    here.advance(hours=30)
    here.hear()
    assert in_wallet(deposit) == 100_000_000


def test_forgeries_are_refused_and_nothing_is_kept(here, sent):
    _, got = sent
    body, header = got[0]
    forged = {
        "another body": (body.replace(b'"livemode"', b'"livemodf"'), header),
        "another signature": (body, header[:-1] + ("0" if header[-1] != "0" else "1")),
        "none": (body, ""),
        "garbage": (body, "t=,v1=;"),
        "not utf-8": (b"\xff\xfe", header),
    }
    answers = {name: post(*each).status_code for name, each in forged.items()}
    signed_at = here.now
    for name, shift in (("old", 310), ("early", -310)):
        here.now = signed_at + timedelta(seconds=shift)
        answers[name] = post(body, header).status_code
    assert answers == dict.fromkeys(answers, 400)
    assert not GatewayNotice.objects.exists()


def test_every_secret_in_rotation_signs_and_no_other(here, sent, settings):
    _, got = sent
    settings.STRIPE_WEBHOOK_SECRETS = settings.STRIPE_WEBHOOK_SECRETS[::-1]
    assert post(*got[0]).status_code == 200
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_an_older_one"]
    assert post(*got[1]).status_code == 400
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert post(*got[1]).status_code == 400


def test_without_stripe_there_is_no_such_address(settings):
    settings.STRIPE_SECRET_KEY = ""
    assert post(b"{}", "t=1,v1=x").status_code == 404
    assert Client().get("/stripe/webhook").status_code == 405


def test_signed_nonsense_is_no_event(here):
    header = stripe.WebhookSignature.generate_signature_header("[]", SECRET)
    with pytest.raises(GatewayError, match="no event"):
        verified(b"[]", header, now=clock.now())


def test_a_thing_that_can_not_be_fetched_now_is_fetched_later(here, sent):
    deposit, got = sent
    for each in got:
        post(*each)
    here.fault(*["error"] * 20)
    here.look()
    assert in_wallet(deposit) == 0
    assert set(GatewayNotice.objects.exclude(error="").values_list("state", flat=True)) == {"waiting"}
    here.sim.sim("faults", {})
    here.now += timedelta(minutes=16)
    here.look()
    assert in_wallet(deposit) == 100_000_000


def test_a_thing_that_is_not_there_asks_for_an_operator_who_tries_again(here):
    operator = make_person(is_operator=True)
    inbox.look_at("stripe", "checkout.session", "cs_test_nowhere", now=here.now)
    here.look()
    (notice,) = inbox.stuck_notices(here.now)
    assert notice.state == "asking"
    assert Event.objects.get(type="gateway_notice.asking").firm_id is None
    with pytest.raises(NotAllowed):
        inbox.try_notice_again(operator=make_person(make_firm()), notice_id=notice.public_id, now=here.now)
    inbox.try_notice_again(operator=operator, notice_id=notice.public_id, now=here.now)
    notice.refresh_from_db()
    assert notice.state == "waiting"
    assert Event.objects.get(type="gateway_notice.tried_again").actor == operator.public_id


def test_events_of_things_that_nothing_here_depends_on_are_done_at_once(here):
    here.sim.client().v1.customers.create({})
    here.hear()
    assert list(GatewayNotice.objects.values_list("type", "state")) == [("customer.created", "done")]


def test_the_body_is_not_kept(here, sent):
    """It has names and addresses of people; all that is needed is fetched."""
    _, got = sent
    post(*got[0])
    row = GatewayNotice.objects.get()
    assert json.loads(got[0][0])["data"]["object"]["id"] == row.object_id
    assert not hasattr(row, "payload")


def test_a_payment_of_somebody_else_on_the_same_account_is_left_alone(here):
    given = {"amount": 700, "currency": "usd", "payment_method": "pm_card_visa", "off_session": True, "confirm": True}
    here.sim.client().v1.payment_intents.create(given)
    here.hear()
    assert not Journal.objects.exists()
    assert not Deposit.objects.exists()
    assert not inbox.stuck_notices(here.now)


def test_the_first_time_in_the_header_is_the_signed_one(here, sent):
    """A header with a second, younger time would carry an old event past the tolerance."""
    _, got = sent
    body, header = got[0]
    here.now += timedelta(seconds=310)
    assert post(body, f"{header},t={int(here.now.timestamp())}").status_code == 400
    assert post(body, f"{header},t=x").status_code == 400


def test_what_is_looked_at_is_not_fetched_before_its_writer_is_done(here):
    """An event came first: fetched now it would not find what is being written, and nothing would ask again."""
    inbox.look_at("stripe", "refund", "re_1", now=here.now)
    with transaction.atomic():
        inbox.look_at("stripe", "refund", "re_1", now=here.now)
        assert elsewhere(lambda: inbox.claim_notices(here.now)) == []
    assert len(inbox.claim_notices(here.now)) == 1


def test_what_the_database_does_not_take_now_is_booked_later(here):
    deposit = here.deposit(make_firm())
    here.work()
    here.pay(deposit)
    inbox.fill_gaps(now=here.now)

    def impatient():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        here.look()

    with transaction.atomic():
        Deposit.objects.select_for_update().get(pk=deposit.pk)
        elsewhere(impatient)
    assert "asking" not in GatewayNotice.objects.values_list("state", flat=True)
    here.now += timedelta(minutes=1)
    here.look()
    assert in_wallet(deposit) == 100_000_000


def test_payments_on_a_sellers_own_account_are_not_ours(here):
    """A transfer is a payment there, of which an endpoint for connected accounts hears."""
    notices = [Notice(f"evt_{kind}", kind, kind, f"{kind}_1", "acct_1", here.now) for kind in ("charge", "refund")]
    inbox.take("stripe", notices, source=NoticeSource.SENT, now=here.now)
    here.look()
    assert set(GatewayNotice.objects.values_list("state", flat=True)) == {"done"}
