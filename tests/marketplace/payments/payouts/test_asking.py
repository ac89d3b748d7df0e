"""How much may leave, and that asking sets it aside."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.common.errors import Conflict, DomainError, Invalid, Unprocessable
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.ledger.snapshots import take_snapshots
from marketplace.payments.models import Deposit, PaymentDispute, Payout
from marketplace.payments.payouts.free import free_of
from marketplace.payments.payouts.selectors import terms
from marketplace.payments.payouts.services.asking import cancel_payout, pay_weekly, request_payout
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.payments.payouts.conftest import earn, name_account
from tests.marketplace.payments.wire.statements import EURO

DAY = timedelta(days=1)


def ask(firm, euros, key="k", now=NOON):
    return request_payout(firm=firm, currency="EUR", amount_micros=euros * EURO, idempotency_key=key, now=now)[0]


def held(firm, kind):
    return balance_micros(firm=firm, kind=kind, currency="EUR")


def free(firm, now=NOON):
    return terms(firm, "EUR", now).free


@pytest.mark.django_db
def test_asking_sets_the_money_aside_at_once(alice, details):
    earn(alice, 100)
    payout = ask(alice, 60)
    assert (payout.state, payout.bank_details) == ("created", details)
    assert (held(alice, AccountKind.EARNINGS), held(alice, AccountKind.PAYOUT)) == (40 * EURO, 60 * EURO)
    assert ask(alice, 60) == payout
    with pytest.raises(Unprocessable):
        ask(alice, 50)
    with pytest.raises(Conflict, match=r"40\.00 EUR are free"):
        ask(alice, 41, key="k2")
    told = Event.objects.get(firm_id=alice.pk, type="payout.created")
    assert told.data == {"amount_micros": 60 * EURO, "currency": "EUR", "account": "GB…5555"}


@pytest.mark.django_db
def test_what_buyers_may_still_object_to_is_not_free(alice, details):
    earn(alice, 100)
    earn(alice, 30, at=NOON - 7 * DAY + timedelta(seconds=1))
    assert free(alice).free_micros == 100 * EURO
    assert free(alice).uncleared_micros == 30 * EURO
    assert free(alice, NOON + timedelta(seconds=1)).free_micros == 130 * EURO


@pytest.mark.django_db
def test_a_new_sellers_reserve_rolls(alice, details):
    earn(alice, 100, at=NOON - 20 * DAY)
    assert free(alice).held_micros == 10 * EURO
    assert free(alice).free_micros == 90 * EURO
    assert free(alice, NOON + 10 * DAY).free_micros == 100 * EURO
    earn(alice, 100, at=NOON + 79 * DAY)
    assert free(alice, NOON + 90 * DAY).held_micros == 0  # not new any more


@pytest.mark.django_db
def test_money_that_came_back_is_not_new_earnings(alice, details):
    earn(alice, 100)
    cancel_payout(firm=alice, payout_id=ask(alice, 100).public_id, actor="test", now=NOON)
    assert free(alice).free_micros == 100 * EURO


@pytest.mark.django_db
def test_a_snapshot_changes_nothing(alice, details):
    for day in range(60):
        earn(alice, 10, at=NOON - day * DAY)
    before = free(alice)
    assert take_snapshots(now=NOON, least=1, force=True)
    earn(alice, 10, at=NOON)
    assert free(alice).uncleared_micros == before.uncleared_micros + 10 * EURO
    assert free(alice).held_micros == before.held_micros


@pytest.mark.django_db
def test_it_needs_an_account_a_minimum_and_cents(alice, owner):
    earn(alice, 100)
    with pytest.raises(Conflict) as refused:
        ask(alice, 60)
    assert refused.value.code == "no_bank_details"
    name_account(alice, owner, at=NOON)
    with pytest.raises(Conflict):
        ask(alice, 60)
    assert ask(alice, 60, now=NOON + 3 * DAY)
    with pytest.raises(Invalid, match=r"at least 20\.00 EUR"):
        ask(alice, 19, key="k2", now=NOON + 3 * DAY)
    for micros in (30 * EURO + 1, -30 * EURO, 0):
        with pytest.raises(Invalid):
            request_payout(firm=alice, currency="EUR", amount_micros=micros, idempotency_key="k3", now=NOON + 3 * DAY)


@pytest.mark.django_db
def test_a_firm_keeps_what_is_not_sent_yet(alice, details):
    earn(alice, 100)
    payout = ask(alice, 100)
    for _ in range(2):
        cancelled = cancel_payout(firm=alice, payout_id=payout.public_id, actor="usr_x", now=NOON)
    assert (cancelled.state, cancelled.reason) == ("failed", "cancelled_by_firm")
    assert (held(alice, AccountKind.EARNINGS), held(alice, AccountKind.PAYOUT)) == (100 * EURO, 0)


@pytest.mark.django_db(transaction=True)
def test_eight_requests_at_once_never_take_more_than_is_free():
    alice = make_firm()
    name_account(alice, make_person(alice))
    earn(alice, 100)
    made = []

    def run(number):
        try:
            made.append(ask(alice, 30, key=f"k{number}"))
        except Conflict:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert held(alice, AccountKind.PAYOUT) == 90 * EURO


@pytest.mark.django_db
def test_the_clock_asks_once_a_week_for_all_that_is_free(alice, details, settings):
    earn(alice, 100)
    settings.PAYOUT_WEEKDAY = 1
    assert pay_weekly(now=NOON) == 0  # a Monday
    settings.PAYOUT_WEEKDAY = 0
    assert [pay_weekly(now=NOON), pay_weekly(now=NOON + DAY)] == [1, 0]
    payout = Payout.objects.get()
    assert (payout.amount_micros, payout.week) == (100 * EURO, "2026-W48")
    earn(alice, 19)
    assert pay_weekly(now=NOON + 7 * DAY) == 0  # below the minimum
    earn(alice, 1)
    assert pay_weekly(now=NOON + 8 * DAY) == 1
    settings.PAYOUT_WEEKDAY = -1
    earn(alice, 50)
    assert pay_weekly(now=NOON + 15 * DAY) == 0


@pytest.mark.django_db
def test_the_clock_passes_over_firms_without_an_account():
    earn(make_firm(), 100)
    assert pay_weekly(now=NOON) == 0


@pytest.mark.django_db
def test_what_stripe_pays_no_wire_pays_as_well(alice, details, settings):
    earn(alice, 100)
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    with pytest.raises(Conflict) as refused:
        ask(alice, 60)
    assert refused.value.code == "paid_by_stripe"
    assert pay_weekly(now=NOON) == 0
    settings.STRIPE_SELLER_COUNTRIES = ["US"]
    assert pay_weekly(now=NOON) == 1
    assert held(alice, AccountKind.PAYOUT) == 100 * EURO


@pytest.mark.django_db
def test_whoever_owes_is_not_paid(alice, details):
    earn(alice, 100)
    deposit = Deposit.objects.create(
        firm=alice, currency="EUR", amount_micros=50 * EURO, gateway="stripe", reference="RF18539007547034",
        state="confirmed", created_at=NOON, expires_at=NOON,
    )  # fmt: skip
    dispute = PaymentDispute.objects.create(
        deposit=deposit, object_id="dp_1", amount_micros=50 * EURO, held_micros=49 * EURO, reason="fraudulent",
        opened_at=NOON,
    )  # fmt: skip
    with pytest.raises(Conflict) as refused:
        ask(alice, 60)
    assert refused.value.code == "debt_owed"
    assert pay_weekly(now=NOON) == 0
    PaymentDispute.objects.filter(pk=dispute.pk).update(held_micros=50 * EURO)
    assert pay_weekly(now=NOON) == 1


@pytest.mark.django_db
def test_a_currency_without_cents_is_asked_for_in_whole_units(alice, details):
    earn(alice, 100, currency="JPY")
    with pytest.raises(Invalid, match="smallest unit"):
        request_payout(firm=alice, currency="JPY", amount_micros=60_500_000, idempotency_key="k", now=NOON)
    assert request_payout(firm=alice, currency="JPY", amount_micros=60_000_000, idempotency_key="k", now=NOON)[1]


@given(
    earnings=st.integers(0, 10**9), uncleared=st.integers(0, 10**9), before=st.integers(0, 10**9),
    share=st.integers(0, 10_000),
)  # fmt: skip
def test_the_reserve_is_never_less_than_its_share(earnings, uncleared, before, share):
    found = free_of(earnings=earnings, uncleared=uncleared, reserved_from=before, reserve_basis_points=share)
    assert found.held_micros * 10_000 >= before * share > (found.held_micros - 1) * 10_000
    assert 0 <= found.free_micros <= max(0, earnings - uncleared)


@given(st.lists(st.tuples(st.sampled_from(["earn", "ask", "cancel"]), st.integers(1, 90)), max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.django_db
def test_nothing_leaves_that_has_not_cleared(moves):
    """The oracle knows each euro by its day: what has left is never more than what was earned a week before."""
    firm = make_firm()
    name_account(firm, make_person(firm))
    with transaction.atomic():
        earn(firm, 1)  # long ago: no new seller
        earned, out, now = [(NOON - 365 * DAY, 1)], [], NOON
        for number, (move, euros) in enumerate(moves):
            now += 2 * DAY
            if move == "earn":
                earn(firm, euros, at=now)
                earned.append((now, euros))
            elif move == "ask":
                cleared = sum(micros for at, micros in earned if at <= now - 7 * DAY) - sum(e for _, e in out)
                try:
                    out.append((ask(firm, euros, key=f"k{number}", now=now), euros))
                    assert 20 <= euros <= cleared
                except DomainError:
                    assert euros < 20 or euros > cleared
            elif out:
                cancel_payout(firm=firm, payout_id=out.pop()[0].public_id, actor="test", now=now)
        assert held(firm, AccountKind.PAYOUT) == EURO * sum(euros for _, euros in out)
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_payouts_in_the_api(alice, details, frozen):
    earn(alice, 100)
    client = api_of(alice, "read", "finance")
    (line,) = client.get("/api/v1/payouts/terms/").json()["data"]
    assert line["free"] == {"amount": "100.000000", "currency": "EUR"}
    body = {"amount": "60.00", "currency": "EUR"}
    assert client.post("/api/v1/payouts/", body, format="json").json()["code"] == "idempotency_key_required"
    first = client.post("/api/v1/payouts/", body, format="json", headers={"Idempotency-Key": "a"})
    again = client.post("/api/v1/payouts/", body, format="json", headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["account"] == "GB…5555"
    assert client.get(f"/api/v1/payouts/{first.json()['id']}/").json() == first.json()
    assert [each["id"] for each in client.get("/api/v1/payouts/?state=created").json()["data"]] == [first.json()["id"]]
    wallet = client.get("/api/v1/wallet/").json()["data"][0]
    assert wallet["paying_out"]["amount"] == "60.000000"
    over = client.post("/api/v1/payouts/", body, format="json", headers={"Idempotency-Key": "b"})
    assert (over.status_code, over.json()["code"]) == (409, "insufficient_funds")
    unknown = client.post("/api/v1/payouts/", body | {"x": 1}, format="json", headers={"Idempotency-Key": "c"})
    assert unknown.status_code == 400
    assert api_of(alice, "read", "trade").post("/api/v1/payouts/", body, format="json").status_code == 403
    cancelled = client.post(f"/api/v1/payouts/{first.json()['id']}/cancel/").json()
    assert (cancelled["state"], cancelled["reason"]) == ("failed", "cancelled_by_firm")
