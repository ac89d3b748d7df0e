from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from hypothesis import assume, given
from hypothesis import strategies as st

from marketplace.common.errors import NotAllowed
from marketplace.events.models import Event
from marketplace.events.transitions import WrongState
from marketplace.ledger.models import AccountKind, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Deposit
from marketplace.payments.reference import ALPHABET, is_reference, new_reference, reference_for
from marketplace.payments.services import (
    cancel_deposit,
    confirm_deposit,
    confirm_deposit_once,
    expire_deposits,
    start_deposit,
)
from tests.factories import NOON, api_of, make_firm, make_person

BODY = {"amount": "100.00", "currency": "USD"}


def announce(firm, key="k1", micros=100_000_000):
    return start_deposit(firm=firm, currency="USD", amount_micros=micros, idempotency_key=key, now=NOON)[0]


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def test_the_reference_of_the_standards_example_has_its_check_digits():
    assert reference_for("539007547034") == "RF18539007547034"
    assert is_reference("rf18 5390 0754 7034")


@given(place=st.integers(4, 17), other=st.sampled_from(ALPHABET))
def test_a_reference_with_one_wrong_character_is_noticed(place, other):
    # A digit for a letter shifts what follows, which two check digits can miss; within a class they never do.
    reference = new_reference()
    assert is_reference(reference)
    assume(other.isdigit() == reference[place].isdigit())
    changed = reference[:place] + other + reference[place + 1 :]
    assert is_reference(changed) == (changed == reference)


@pytest.mark.django_db
def test_announcing_moves_no_money_and_confirming_does():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit = announce(alice)
    assert in_wallet(alice) == 0
    confirmed = confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    assert (confirmed.state, confirmed.confirmed_at, confirmed.confirmed_by) == ("confirmed", NOON, operator)
    assert in_wallet(alice) == 100_000_000
    assert balance_micros(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="wire") == -100_000_000
    types = (
        Event.objects.filter(firm_id=alice.pk, subject=deposit.public_id).order_by("pk").values_list("type", flat=True)
    )
    assert list(types) == ["deposit.created", "deposit.confirmed"]


@pytest.mark.django_db
def test_confirming_twice_moves_the_money_once():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit = announce(alice)
    for _ in range(2):
        confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    assert in_wallet(alice) == 100_000_000


@pytest.mark.django_db(transaction=True)
def test_eight_operators_at_once_move_the_money_once():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit, errors = announce(alice), []

    def confirm():
        try:
            confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=confirm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert in_wallet(alice) == 100_000_000
    assert Journal.objects.filter(subject=deposit.public_id).count() == 1


@pytest.mark.django_db
def test_a_member_of_the_firm_cannot_confirm():
    alice = make_firm()
    deposit = announce(alice)
    with pytest.raises(NotAllowed):
        confirm_deposit(operator=make_person(alice), deposit_id=deposit.public_id, now=NOON)
    assert in_wallet(alice) == 0


@pytest.mark.django_db
def test_a_wire_that_comes_after_its_deposit_was_cancelled_is_booked_and_says_so():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit = announce(alice)
    cancel_deposit(firm=alice, deposit_id=deposit.public_id, now=NOON)
    for _ in range(2):
        confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    assert in_wallet(alice) == 100_000_000
    told = Event.objects.get(firm_id=alice.pk, type="deposit.confirmed")
    assert (told.reason, told.data["from"], told.actor) == ("came_late", "cancelled", operator.public_id)


@pytest.mark.django_db
def test_a_confirmed_deposit_cannot_be_cancelled():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit = announce(alice)
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    with pytest.raises(WrongState):
        cancel_deposit(firm=alice, deposit_id=deposit.public_id, now=NOON)
    assert in_wallet(alice) == 100_000_000


@pytest.mark.django_db
def test_waiting_ends_and_a_late_wire_still_counts():
    alice, operator = make_firm(), make_person(is_operator=True)
    deposit = announce(alice)
    assert expire_deposits(now=deposit.expires_at - timedelta(seconds=1)) == 0
    assert expire_deposits(now=deposit.expires_at) == 1
    deposit.refresh_from_db()
    assert deposit.state == "expired"
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=deposit.expires_at)
    assert in_wallet(alice) == 100_000_000


@pytest.mark.django_db
def test_a_repeated_post_shows_the_same_deposit_and_another_body_is_refused():
    client = api_of(make_firm())
    first = client.post("/api/v1/deposits/", BODY, format="json", headers={"Idempotency-Key": "a"})
    again = client.post("/api/v1/deposits/", BODY, format="json", headers={"Idempotency-Key": "a"})
    other = client.post("/api/v1/deposits/", BODY | {"amount": "7"}, format="json", headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert first.json() == again.json()
    assert first.json()["amount"] == {"amount": "100.000000", "currency": "USD"}
    assert is_reference(first.json()["instructions"]["reference"])
    assert Deposit.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e30", "1" * 31, "0.001", 5, 0.5, None, "", "1\x00"])
def test_it_refuses_an_amount_that_is_no_money(amount):
    body = BODY | {"amount": amount}
    answer = api_of(make_firm()).post("/api/v1/deposits/", body, format="json", headers={"Idempotency-Key": "a"})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == "/amount"
    assert not Deposit.objects.exists()


@pytest.mark.django_db
def test_it_needs_an_idempotency_key():
    answer = api_of(make_firm()).post("/api/v1/deposits/", BODY, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")


@pytest.mark.django_db
def test_a_signed_in_operator_confirms_and_a_key_or_a_member_does_not():
    alice = make_firm()
    address = f"/api/v1/deposits/{announce(alice).public_id}/confirm/"
    member, operator = Client(), Client()
    member.force_login(make_person(alice))
    operator.force_login(make_person(is_operator=True))
    assert api_of(alice).post(address).status_code == 403
    assert member.post(address).status_code == 403
    assert Client().post(address).status_code == 401
    assert operator.post(address).json()["code"] == "idempotency_key_required"
    assert in_wallet(alice) == 0
    for key in ("a", "a", "b"):
        assert operator.post(address, headers={"Idempotency-Key": key}).json()["state"] == "confirmed"
    assert in_wallet(alice) == 100_000_000
    other = f"/api/v1/deposits/{announce(alice, 'k2').public_id}/confirm/"
    assert operator.post(other, headers={"Idempotency-Key": "a"}).status_code == 422


@pytest.mark.django_db
def test_a_confirmation_needs_the_csrf_token():
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(make_person(is_operator=True))
    answer = operator.post(f"/api/v1/deposits/{announce(make_firm()).public_id}/confirm/")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


@pytest.mark.django_db
def test_two_operators_with_the_same_key_do_not_see_each_others_answer():
    firm = make_firm()
    mine, yours = (
        start_deposit(firm=firm, currency="USD", amount_micros=10_000, idempotency_key=key, now=NOON)[0] for key in "ab"
    )
    for deposit in (mine, yours):
        operator = make_person(is_operator=True)
        for _ in range(2):
            found = confirm_deposit_once(operator=operator, deposit_id=deposit.public_id, key="same", now=NOON)
            assert found.pk == deposit.pk
            assert found.state == "confirmed"
