"""Rows to calls: at most one effect outside, whatever fails on the way."""

from __future__ import annotations

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import connections, transaction

from marketplace.common.errors import NotAllowed
from marketplace.events.models import Event
from marketplace.payments.gateway import Operation
from marketplace.payments.models import Deposit, GatewayCall
from marketplace.payments.outbox import CLAIMED_FOR, claim_call, enqueue, stuck_calls, try_call_again
from marketplace.payments.outbox_worker import LONGEST_WAIT_S, wait_seconds, work_one
from marketplace.payments.services import cancel_deposit
from marketplace.payments.transfers import send_earnings
from tests.factories import api_of, make_firm, make_person

pytestmark = pytest.mark.django_db(transaction=True)
CREATE = "POST /v1/checkout/sessions"


def pages(here):
    return here.sim.client().v1.checkout.sessions.list({"limit": 100}).data


def test_a_deposit_by_card_is_a_row_first_and_a_page_after_the_call(here):
    deposit = here.deposit(make_firm())
    call = GatewayCall.objects.get()
    assert (call.state, call.attempts, call.subject) == ("waiting", 0, deposit.public_id)
    assert pages(here) == []
    assert here.work() == 1
    deposit.refresh_from_db()
    (page,) = pages(here)
    assert (deposit.page_id, deposit.pay_url) == (page.id, page.url)
    assert (page.amount_total, page.currency, page.client_reference_id) == (10_000, "usd", deposit.public_id)
    call.refresh_from_db()
    assert (call.state, call.object_id, call.settled_at) == ("done", page.id, here.now)


def test_a_row_that_is_rolled_back_is_never_called(here):
    firm = make_firm()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        here.deposit(firm)
        raise ZeroDivisionError
    assert here.work() == 0
    assert pages(here) == []


def test_no_call_is_made_inside_a_transaction(here):
    here.deposit(make_firm())
    with transaction.atomic(), pytest.raises(AssertionError, match="inside a transaction"):
        work_one(now=here.now)


def test_nothing_is_enqueued_outside_of_a_transaction(here):
    with pytest.raises(AssertionError, match="belongs to the transaction"):
        enqueue(gateway="stripe", operation=Operation.REFUND, params={}, subject="x", firm=None, now=here.now)


@pytest.mark.parametrize("fault", ["reply_lost", "error_after", "error", "rate_limit", "conflict"])
def test_whatever_fails_on_the_way_there_is_one_page(here, fault):
    deposit = here.deposit(make_firm())
    here.fault(fault, operation=CREATE)
    here.work()
    call = GatewayCall.objects.get()
    assert (call.state, call.attempts) == ("waiting", 1)
    assert here.now < call.next_try_at <= here.now + timedelta(seconds=2)
    here.work_through()
    deposit.refresh_from_db()
    assert [page.id for page in pages(here)] == [deposit.page_id]


def test_an_error_that_sticks_to_the_key_is_looked_up_and_not_repeated_for_ever(here):
    """Done, but answered with a 500: Stripe repeats that answer for the key as long as it keeps it."""
    here.deposit(make_firm())
    here.fault("error_after", operation=CREATE)
    here.work_through()
    call = GatewayCall.objects.get()
    assert (call.state, call.attempts) == ("done", 3)  # the 500, the 500 again as a replay, the look
    assert len(pages(here)) == 1


def test_a_call_older_than_the_keys_memory_is_looked_up(here):
    deposit = here.deposit(make_firm())
    here.fault("reply_lost", operation=CREATE)
    here.work()
    here.advance(hours=25)
    here.work_through()
    deposit.refresh_from_db()
    assert [page.id for page in pages(here)] == [deposit.page_id]


def test_what_was_not_done_is_made_with_a_new_key_after_the_look(here):
    here.deposit(make_firm())
    here.fault("error", operation=CREATE)
    here.work()
    before = GatewayCall.objects.get().key
    here.advance(hours=25)
    here.work_through()
    call = GatewayCall.objects.get()
    assert call.state == "done"
    assert call.key != before
    assert len(pages(here)) == 1


def test_a_worker_that_died_loses_the_row_after_a_while_and_not_before(here):
    here.deposit(make_firm())
    assert claim_call(here.now) is not None
    assert claim_call(here.now + CLAIMED_FOR / 2) is None
    here.advance(seconds=CLAIMED_FOR.total_seconds())
    assert here.work() == 1
    assert len(pages(here)) == 1


def test_four_workers_make_each_call_once(here):
    firm = make_firm()
    for number in range(12):
        here.deposit(firm, key=f"k{number}")
    made = []

    def worker():
        try:
            made.append(here.work())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(made) == 12
    assert set(GatewayCall.objects.values_list("state", "attempts")) == {("done", 1)}
    assert len(pages(here)) == 12


def test_what_the_gateway_refuses_for_good_ends_the_deposit(here):
    deposit = here.deposit(make_firm(), micros=100_000)  # Stripe charges half a dollar at least
    here.work()
    deposit.refresh_from_db()
    assert deposit.state == "cancelled"
    call = GatewayCall.objects.get()
    assert (call.state, call.error_code) == ("failed", "amount_too_small")
    assert Event.objects.get(type="deposit.cancelled").reason == "refused_by_gateway"


def test_a_wrong_key_asks_for_an_operator_who_has_it_looked_up_and_made(here, settings):
    operator, firm = make_person(is_operator=True), make_firm()
    deposit = here.deposit(firm)
    settings.STRIPE_SECRET_KEY = "sk_live_wrong"
    here.work()
    call = GatewayCall.objects.get()
    assert (call.state, list(stuck_calls(here.now))) == ("asking", [call])
    with pytest.raises(NotAllowed):
        try_call_again(operator=make_person(firm), call_id=call.public_id, now=here.now)
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    try_call_again(operator=operator, call_id=call.public_id, now=here.now)
    here.work()
    deposit.refresh_from_db()
    assert deposit.pay_url
    assert not stuck_calls(here.now)
    audit = Event.objects.filter(firm_id=None).order_by("pk").values_list("type", "actor")
    assert list(audit) == [("gateway_call.asking", "system"), ("gateway_call.tried_again", operator.public_id)]


def test_a_call_that_is_given_up_is_still_booked_when_it_was_done(here):
    operator, firm = make_person(is_operator=True), make_firm()
    lost, never = here.deposit(firm), here.deposit(firm, key="k2")
    here.fault("reply_lost", "error", operation=CREATE)
    here.work()
    for call in GatewayCall.objects.order_by("pk"):
        try_call_again(operator=operator, call_id=call.public_id, now=here.now, give_up=True)
    here.work_through()
    assert Deposit.objects.get(pk=lost.pk).pay_url
    assert Deposit.objects.get(pk=never.pk).state == "cancelled"
    assert len(pages(here)) == 1


def test_a_call_that_waits_for_long_is_shown_to_operators(here):
    here.deposit(make_firm())
    assert not stuck_calls(here.now)
    assert stuck_calls(here.now + timedelta(minutes=16)).count() == 1


def test_a_follower_waits_for_what_comes_before_it(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    first = GatewayCall.objects.get()
    with transaction.atomic():
        params = {"page_id": "cs_not_there"}
        enqueue(
            gateway="stripe", operation=Operation.CLOSE_CHECKOUT, params=params, subject=deposit.public_id,
            firm=firm, after=first, now=here.now - timedelta(hours=1),
        )  # fmt: skip
    assert work_one(now=here.now)
    first.refresh_from_db()
    assert first.state == "done"


def test_a_page_that_opens_after_the_deposit_was_cancelled_is_closed(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    cancel_deposit(firm=firm, deposit_id=deposit.public_id, now=here.now)
    assert here.work() == 2
    assert [page.status for page in pages(here)] == ["expired"]


def test_waits_grow_up_to_the_longest_and_differ_by_chance():
    assert all(wait_seconds(1) <= 2 for _ in range(20))
    assert all(LONGEST_WAIT_S / 2 <= wait_seconds(99) <= LONGEST_WAIT_S for _ in range(20))
    assert len({wait_seconds(5) for _ in range(20)}) > 1


def test_a_call_that_can_not_even_be_asked_for_holds_nobody_else_up(here):
    firm = make_firm()
    here.deposit(firm)
    broken = GatewayCall.objects.get()
    broken.params = broken.params | {"amount_micros": 1}
    broken.save()
    whole = here.deposit(firm, key="k2")
    assert here.work() == 2
    broken.refresh_from_db()
    assert (broken.state, broken.error_code) == ("asking", "not_asked")
    assert Deposit.objects.get(pk=whole.pk).pay_url


def test_an_operator_does_not_overtake_an_attempt_that_may_still_be_on_its_way(here):
    """What it does can't be found yet: looked up now it would be missing, and made once more."""
    here.deposit(make_firm())
    call = claim_call(here.now)
    try_call_again(operator=make_person(is_operator=True), call_id=call.public_id, now=here.now, give_up=True)
    assert claim_call(here.now) is None
    assert claim_call(here.now + CLAIMED_FOR).must_look


@pytest.fixture
def garbled():
    """The address of a server, and the status with which it answers what is no JSON."""

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(self.status)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [200, 404, 408, 413])
def test_an_answer_that_nobody_can_read_says_nothing_about_what_was_done(here, settings, garbled, status):
    deposit = here.deposit(make_firm())
    settings.STRIPE_API_URL, garbled[1].status = garbled[0], status
    here.work()
    assert GatewayCall.objects.get().state == "waiting"
    settings.STRIPE_API_URL = here.sim.url
    here.work_through()
    deposit.refresh_from_db()
    assert (deposit.state, bool(deposit.pay_url)) == ("created", True)


def test_where_the_key_was_taken_away_deposits_can_be_read_and_calls_ask(here, settings):
    deposit = here.deposit(firm := make_firm())
    settings.STRIPE_SECRET_KEY = ""
    answer = api_of(firm).get("/api/v1/deposits/")
    assert (answer.status_code, answer.json()["data"][0]["instructions"]) == (200, None)
    assert here.work() == 1
    assert GatewayCall.objects.get(subject=deposit.public_id).state == "asking"
    assert send_earnings(now=here.now) == 0
