"""Signing up, keys that are shown once, members and the theme."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.accounts.models import ApiKey, Firm, Membership
from tests.storefront import PASSWORD

pytestmark = pytest.mark.django_db
NEWCOMER = {
    "email": "carol@fallow.example",
    "password": PASSWORD,
    "name": "Carol's Cards",
    "headquarters_country": "NL",
    "intended_use": "rendering",
}


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


def test_signing_up_makes_a_person_and_a_firm_and_signs_in(client):
    assert client.post(url("sign-up"), NEWCOMER).status_code == 302
    firm = Firm.objects.get()
    assert (firm.headquarters_country, firm.ultimate_parent_country) == ("NL", "NL")
    assert Membership.objects.get().role == "owner"
    assert client.get(url("wallet")).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"), [("password", "password12"), ("email", "no"), ("headquarters_country", "")]
)
def test_signing_up_names_what_is_wrong(client, field, value):
    response = client.post(url("sign-up"), NEWCOMER | {field: value})
    assert response.status_code == 422
    assert not Firm.objects.exists()


def test_a_known_address_can_not_sign_up_again(client):
    client.post(url("sign-up"), NEWCOMER)
    client.post(url("sign-out"))
    response = client.post(url("sign-up"), NEWCOMER | {"email": "Carol@fallow.example"})
    assert "sign in instead" in response.content.decode()


def test_signing_in_needs_the_password_and_goes_to_our_pages_only(client, scene):
    form = {"email": "bob@fallow.example", "password": "wrong"}
    assert client.post(url("sign-in"), form).status_code == 422
    form |= {"password": PASSWORD, "next": "https://elsewhere.example/"}
    assert client.post(url("sign-in"), form)["Location"] == url("home")


def test_a_key_is_shown_once_and_then_never_again(client, scene):
    client.force_login(scene.buyer)
    shown = client.post(url("keys"), {"name": "CI", "scopes": ["read"]}, follow=True).content.decode()
    key = re.search(r"fal_live_\w{36}", shown)[0]
    assert key not in client.get(url("keys")).content.decode()
    row = ApiKey.objects.get(name="CI")
    client.post(url("key-revoke", row.public_id))
    row.refresh_from_db()
    assert row.revoked_at is not None


def test_an_enrolment_line_is_shown_once(client, scene):
    client.force_login(scene.seller)
    form = {"name": "rack 3", "uses": "8", "hours": "24"}
    shown = client.post(url("enrol"), form, follow=True).content.decode()
    assert "fallow-agent enrol --server" in shown
    assert "fallow-agent enrol --server" not in client.get(url("enrol")).content.decode()


def test_the_last_owner_can_not_be_removed(client, scene):
    client.force_login(scene.buyer)
    page = client.post(url("member-remove", scene.buyer.public_id), follow=True).content.decode()
    assert "at least one owner" in page
    assert Membership.objects.filter(user=scene.buyer).exists()


def test_a_form_without_its_token_is_refused_on_a_page(scene):
    response = Client(enforce_csrf_checks=True).post(url("sign-in"), {})
    assert response.status_code == 403
    assert "too old or comes from elsewhere" in response.content.decode()


def test_without_scripts_the_theme_is_switched_by_the_server(client):
    response = client.post(url("theme"), {"next": "/offers/"})
    assert response["Location"] == "/offers/"
    assert 'data-theme="soil"' in client.get(url("sign-in")).content.decode()
