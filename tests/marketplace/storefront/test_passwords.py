"""Wrong passwords are counted on every page that asks for one."""

import pytest
from django.core.exceptions import NON_FIELD_ERRORS
from django.test import Client

from marketplace.accounts.models import User, WrongPassword
from marketplace.payments.models import BankDetails
from tests.factories import make_firm, make_person
from tests.marketplace.payments.wire.statements import THEIRS

pytestmark = pytest.mark.django_db
SIGN_IN, CHANGE, BANK = "/sign-in/", "/account/password/", "/sell/bank-account/"
PASSWORD = "correct horse battery"  # of whom make_person makes
NEW = "a longer horse battery"


@pytest.fixture(autouse=True)
def _limits(settings, frozen):
    settings.PASSWORD_TRIES_PER_HOUR, settings.ADDRESS_TRIES_PER_HOUR = 3, 7


@pytest.fixture
def person():
    return make_person(make_firm())


@pytest.fixture
def signed_in(person):
    client = Client(REMOTE_ADDR="192.0.2.1")
    client.force_login(person)
    return client


def try_in(email, password="wrong", address="192.0.2.1", **headers):
    return Client(REMOTE_ADDR=address).post(SIGN_IN, {"email": email, "password": password}, **headers)


def statuses(email, times, **how):
    return [try_in(email, **how).status_code for _ in range(times)]


def change(client, current):
    return client.post(CHANGE, {"current": current, "password": NEW})


def name_account(client, password):
    form = {"holder": "Alice GmbH", "account": THEIRS, "bic": "", "password": password}
    return client.post(BANK, form)


def test_after_the_limit_the_right_password_is_refused_too_and_the_page_says_until_when(person, frozen):
    assert statuses(person.email, 1) == [422]
    frozen.advance(600)
    assert statuses(person.email, 2) == [422, 422]
    refused = try_in(person.email, PASSWORD, address="198.51.100.9")
    assert refused.status_code == 429
    (said,) = refused.context["form"].errors[NON_FIELD_ERRORS]
    assert said == "Too many wrong passwords: try again from 2026-11-23 13:00:00 UTC on."
    assert said in refused.content.decode()
    assert f'value="{person.email}"' in refused.content.decode()
    assert PASSWORD not in refused.content.decode()
    assert "sessionid" not in refused.cookies


def test_the_hour_is_counted_from_the_oldest_try_and_refused_ones_do_not_count(person, frozen):
    statuses(person.email, 1)
    frozen.advance(1800)
    assert statuses(person.email, 3) == [422, 422, 429]
    frozen.advance(1799)
    assert try_in(person.email, PASSWORD).status_code == 429
    frozen.advance(1)
    assert statuses(person.email, 2) == [422, 429]
    frozen.advance(1800)
    assert try_in(person.email, PASSWORD).status_code == 302


def test_an_unknown_address_is_answered_like_a_known_one(person):
    def answers(email):
        pages = [try_in(email, address=f"192.0.2.{number}") for number in range(5)]
        return [(page.status_code, dict(page.context["form"].errors)) for page in pages]

    known = answers(person.email)
    assert [status for status, _ in known] == [422, 422, 422, 429, 429]
    assert answers("nobody@fallow.example") == known
    assert answers("NOBODY@Fallow.example")[0] == known[-1]


def test_the_right_password_within_the_limit_forgets_what_was_wrong(person):
    assert statuses(person.email, 2) == [422, 422]
    assert try_in(person.email, PASSWORD).status_code == 302
    assert statuses(person.email, 4) == [422, 422, 422, 429]


def test_an_address_is_limited_over_many_people_and_an_account_of_ones_own_does_not_clear_it(person, signed_in):
    for number in range(6):
        assert try_in(f"person{number}@fallow.example").status_code == 422
    assert try_in(person.email, PASSWORD).status_code == 302
    assert try_in(person.email).status_code == 422
    assert try_in(person.email, PASSWORD).status_code == 429
    assert try_in("other@fallow.example").status_code == 429
    assert change(signed_in, PASSWORD).status_code == 429
    assert try_in(person.email, PASSWORD, address="198.51.100.9").status_code == 302
    assert try_in("other@fallow.example").status_code == 429


def test_ones_own_wrong_tries_count_for_the_address_after_the_right_one(person):
    for _ in range(3):
        assert statuses(person.email, 2) == [422, 422]
        assert try_in(person.email, PASSWORD).status_code == 302
    assert statuses(person.email, 2) == [422, 429]


def test_neighbours_in_a_network_of_ipv6_are_one_address():
    for number in range(7):
        assert try_in(f"person{number}@fallow.example", address=f"2001:db8:1:2::{number}").status_code == 422
    assert try_in("other@fallow.example", address="2001:db8:1:2:ffff::1").status_code == 429
    assert try_in("other@fallow.example", address="2001:db8:1:3::1").status_code == 422


def test_behind_a_proxy_nobody_names_an_address_of_his_own(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for number in range(8):
        claimed = f"198.51.100.{number}, 203.0.113.9"
        answer = try_in(f"person{number}@fallow.example", headers={"X-Forwarded-For": claimed})
        assert answer.status_code == (422 if number < 7 else 429)
    assert try_in("other@fallow.example", headers={"X-Forwarded-For": "203.0.113.10"}).status_code == 422


def test_other_ways_to_write_an_address_are_the_same_person(person):
    User.objects.filter(pk=person.pk).update(email="iris@fallow.example")
    assert [try_in(each).status_code for each in ("IRIS@fallow.example", "Iris@FALLOW.example")] == [422, 422]
    assert try_in("\u0130ris@fallow.example", PASSWORD).status_code == 302  # lower() of İ is i, as PostgreSQL has it
    assert statuses("\u0130ris@fallow.example", 3) == [422, 422, 422]
    assert try_in("iris@fallow.example", PASSWORD).status_code == 429


def test_who_signs_up_with_a_lookalike_locks_nobody_out(person):
    User.objects.filter(pk=person.pk).update(email="iris@fallow.example")
    User.objects.create_user("\u0131ris@fallow.example", "another horse battery")
    assert try_in("iris@fallow.example", PASSWORD).status_code == 302
    assert try_in("\u0131ris@fallow.example", PASSWORD).status_code == 422
    assert try_in("\u0131ris@fallow.example", "another horse battery").status_code == 302


def test_changing_the_password_counts_with_signing_in(person, signed_in):
    assert [change(signed_in, "wrong").status_code for _ in range(2)] == [422, 422]
    assert try_in(person.email).status_code == 422
    refused = change(signed_in, PASSWORD)
    assert refused.status_code == 429
    assert "Too many wrong passwords: try again from" in refused.content.decode()
    assert User.objects.get(pk=person.pk).check_password(PASSWORD)


def test_the_password_is_changed_and_what_was_wrong_forgotten(person, signed_in):
    assert change(signed_in, "wrong").status_code == 422
    assert change(signed_in, PASSWORD).status_code == 302
    assert not WrongPassword.objects.exclude(person_hash=None).exists()
    assert statuses(person.email, 3, password=PASSWORD) == [422, 422, 422]
    assert try_in(person.email, NEW).status_code == 429


@pytest.mark.django_db(transaction=True)
def test_a_bank_account_is_not_guessed_at_and_no_rollback_loses_the_count(person, signed_in):
    assert [name_account(signed_in, "wrong").status_code for _ in range(3)] == [422, 422, 422]
    assert WrongPassword.objects.count() == 3
    refused = name_account(signed_in, PASSWORD)
    assert refused.status_code == 429
    assert "Too many wrong passwords: try again from" in refused.content.decode()
    assert not BankDetails.objects.exists()
    assert try_in(person.email, PASSWORD).status_code == 429


def test_the_api_counts_too_and_says_how_long_to_wait(person, signed_in, frozen):
    body = {"holder": "Alice", "account": THEIRS, "password": "wrong"}

    def post(**given):
        return signed_in.post("/api/v1/bank-details/", body | given, content_type="application/json")

    assert [post().status_code for _ in range(3)] == [400, 400, 400]
    frozen.advance(60)
    refused = post(password=PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_tries")
    assert refused["Retry-After"] == "3540"
    frozen.advance(3540)
    assert post(password=PASSWORD).status_code == 201
