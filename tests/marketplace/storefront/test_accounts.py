"""Signing up, keys that are shown once, members and the theme."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.accounts.models import ApiKey, Firm, Invitation, Membership
from marketplace.events.models import Event
from tests.factories import api_of, make_firm
from tests.storefront import PASSWORD

pytestmark = pytest.mark.django_db
FIRST = "correct horse battery"
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


def test_a_member_is_invited_and_joins_with_the_code(client, scene):
    client.force_login(scene.buyer)
    form = {"email": scene.seller.email, "role": "viewer"}
    shown = client.post(url("members"), form, follow=True).content.decode()
    code = re.search(r">(\w{16})<", shown)[1]
    assert code not in client.get(url("members")).content.decode()
    assert not Membership.objects.filter(user=scene.seller, firm=scene.market.bob).exists()
    client.force_login(scene.seller)
    invitation = Invitation.objects.get()
    assert scene.market.bob.name in client.get(url("invitations")).content.decode()
    wrong = client.post(url("invitation-accept", invitation.public_id), {"code": "x"}, follow=True)
    assert "not the code" in wrong.content.decode()
    client.post(url("invitation-accept", invitation.public_id), {"code": code})
    assert Membership.objects.get(user=scene.seller, firm=scene.market.bob).role == "viewer"


def test_an_invitation_can_be_declined_and_withdrawn_on_the_pages(client, scene):
    for who, name in ((scene.seller, "invitation-decline"), (scene.buyer, "invitation-withdraw")):
        client.force_login(scene.buyer)
        client.post(url("members"), {"email": scene.seller.email, "role": "viewer"})
        client.force_login(who)
        client.post(url(name, Invitation.objects.get().public_id))
        assert not Invitation.objects.exists()


def test_inviting_an_unknown_address_says_so(client, scene):
    client.force_login(scene.buyer)
    answer = client.post(url("members"), {"email": "nobody@fallow.example", "role": "viewer"})
    assert answer.status_code == 422


def test_a_first_password_is_good_for_nothing_but_another_one():
    alice = make_firm()
    body = {"email": "dora@example.com", "role": "trader", "password": FIRST}
    assert api_of(alice).post("/api/v1/members/", body, format="json").status_code == 200
    client = Client()
    entered = client.post("/sign-in/", {"email": "dora@example.com", "password": FIRST, "next": "/wallet/"})
    assert entered["Location"] == "/account/password/"
    assert client.get("/wallet/")["Location"] == "/account/password/"
    for path in ("firm/", "invitations/"):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "password_change_required")
    for current, new in (("wrong", PASSWORD), (FIRST, FIRST), (FIRST, "password12")):
        assert client.post("/account/password/", {"current": current, "password": new}).status_code == 422
    other = Client()
    other.post("/sign-in/", {"email": "dora@example.com", "password": FIRST})
    assert client.post("/account/password/", {"current": FIRST, "password": PASSWORD}).status_code == 302
    assert client.get("/api/v1/firm/").status_code == 200
    assert other.get("/wallet/")["Location"].startswith("/sign-in/")  # whoever else knew the first one is out
    assert Event.objects.filter(type="user.password_changed").exists()


def test_a_form_without_its_token_is_refused_on_a_page(scene):
    response = Client(enforce_csrf_checks=True).post(url("sign-in"), {})
    assert response.status_code == 403
    assert "too old or comes from elsewhere" in response.content.decode()


def test_without_scripts_the_theme_is_switched_by_the_server(client):
    response = client.post(url("theme"), {"next": "/offers/"})
    assert response["Location"] == "/offers/"
    assert 'data-theme="soil"' in client.get(url("sign-in")).content.decode()
