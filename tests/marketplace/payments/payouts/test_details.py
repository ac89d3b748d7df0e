"""Where a firm's money goes: checked, sealed, held, and told to its people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import CryptoError

from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound
from marketplace.events.models import Event
from marketplace.payments.models import BankDetails
from marketplace.payments.payouts.sealing import unsealed
from marketplace.payments.payouts.selectors import details_held, details_in_force
from marketplace.payments.payouts.services.details import withdraw_bank_details
from marketplace.payments.wire.account_numbers import is_bic, is_iban, is_other
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.payments.payouts.conftest import name_account
from tests.marketplace.payments.wire.statements import OURS, THEIRS

LATER = NOON + timedelta(hours=72)


@pytest.mark.parametrize("number", [OURS, THEIRS, "FR1420041010050500013M02606", "NO9386011117947"])
def test_ibans_of_the_registry_pass(number):
    assert is_iban(number)
    assert not is_other(number)


@given(place=st.integers(4, len(OURS) - 1), digit=st.sampled_from("0123456789"))
def test_an_iban_with_one_wrong_digit_does_not(place, digit):
    changed = OURS[:place] + digit + OURS[place + 1 :]
    assert is_iban(changed) == (changed == OURS)


def test_other_accounts_and_bics():
    assert is_other("0012345678")
    assert not is_other("12-3")
    assert is_bic("COBADEFF") and is_bic("COBADEFFXXX") and not is_bic("COBADEFFX")


@pytest.mark.django_db
def test_a_change_is_held_for_three_days_and_the_old_account_counts_until_then(alice, owner):
    first = name_account(alice, owner, at=NOON)
    assert details_in_force(alice, NOON) is None
    assert details_held(alice, NOON) == first
    assert details_in_force(alice, LATER) == first
    second = name_account(alice, owner, account=OURS, at=LATER)
    assert details_in_force(alice, LATER + timedelta(hours=71)) == first
    assert details_in_force(alice, LATER + timedelta(hours=72)) == second
    told = Event.objects.filter(firm_id=alice.pk, type="bank_details.changed").latest("pk")
    assert (told.actor, told.subject, told.data["account"]) == (owner.public_id, second.public_id, "DE…3000")
    with pytest.raises(Conflict, match="held"):
        name_account(alice, owner, at=LATER)


@pytest.mark.django_db
def test_a_held_change_is_taken_back(alice, owner):
    held = name_account(alice, owner, at=NOON)
    withdraw_bank_details(firm=alice, person=owner, details_id=held.public_id, now=NOON)
    assert details_in_force(alice, LATER) is None
    other = name_account(alice, owner, at=NOON)
    with pytest.raises(Conflict, match="in force"):
        withdraw_bank_details(firm=alice, person=owner, details_id=other.public_id, now=LATER)
    with pytest.raises(NotFound):
        withdraw_bank_details(firm=make_firm(), person=owner, details_id=other.public_id, now=NOON)
    assert Event.objects.filter(firm_id=alice.pk, type="bank_details.withdrawn").count() == 1


@pytest.mark.django_db
def test_the_number_is_in_no_table(alice, owner, settings):
    details = name_account(alice, owner, account="gb33 BUKB 2020 1555 5555 55")
    row = str(BankDetails.objects.values().get()) + str(Event.objects.values())
    assert "20201555555555" not in row
    assert details.hint == "GB…5555"
    assert unsealed(bytes(details.sealed_account)) == THEIRS
    settings.BANK_DETAILS_KEY = "11" * 32
    with pytest.raises(CryptoError):
        unsealed(bytes(details.sealed_account))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"account": OURS[:-1] + "1"}, "/account"),
        ({"account": "x"}, "/account"),
        ({"account": "0012345678"}, "/bic"),
        ({"bic": "nonsense!"}, "/bic"),
        ({"holder": "  "}, "/holder"),
    ],
)
def test_numbers_that_can_not_be_are_refused(alice, owner, given, pointer):
    with pytest.raises(Invalid) as refused:
        name_account(alice, owner, **given)
    assert [each.pointer for each in refused.value.errors] == [pointer]


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["trader", "fleet", "finance", "viewer"])
def test_only_an_owner_names_an_account(alice, role):
    for person in (make_person(alice, role), make_person(), None):
        with pytest.raises(NotAllowed):
            name_account(alice, person)


@pytest.mark.django_db
def test_an_owner_needs_the_password_and_a_key_is_not_enough(alice, owner, frozen):
    body = {"holder": "Alice", "account": OURS, "password": "correct horse battery"}
    address = "/api/v1/bank-details/"
    assert api_of(alice).post(address, body, format="json").json()["code"] == "owners_only"
    client = Client()
    client.force_login(owner)
    wrong = client.post(address, body | {"password": "guess"}, content_type="application/json")
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/password")
    made = client.post(address, body, content_type="application/json")
    assert (made.status_code, made.json()["account"], made.json()["state"]) == (201, "DE…3000", "held")
    (listed,) = client.get(address).json()["data"]
    assert listed == made.json()
    assert OURS not in str(listed)
    withdrawn = client.post(f"{address}{listed['id']}/withdraw/")
    assert withdrawn.json()["state"] == "withdrawn"


@pytest.mark.django_db
@pytest.mark.parametrize("holder", ["北京云算科技有限公司", "ООО Ромашка", "Wolke 云 Ltd"])
def test_a_holder_that_no_bank_could_read_is_refused(alice, owner, holder):
    with pytest.raises(Invalid) as refused:
        name_account(alice, owner, holder=holder)
    assert refused.value.errors[0].pointer == "/holder"
    assert name_account(alice, owner, holder="Łódź Søren & Søn (Nr. 2)")
