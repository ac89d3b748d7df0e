"""Nobody comes into a firm by having been first to sign in with somebody's address."""

from __future__ import annotations

import pytest
from django.test import Client

from marketplace.accounts.models import Invitation, Membership, User
from marketplace.events.models import Event
from tests.factories import api_of, make_firm, make_person

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def invite(firm, person, role="trader"):
    answer = api_of(firm).post("/api/v1/members/", {"email": person.email.upper(), "role": role}, format="json")
    assert answer.status_code == 202, answer.json()
    return answer.json()


def signed_in(person):
    client = Client()
    client.force_login(person)
    return client


def accept(client, invitation, code):
    return client.post(f"/api/v1/invitations/{invitation}/accept/", {"code": code}, content_type="application/json")


def events(firm):
    return list(Event.objects.filter(firm_id=firm.pk).order_by("pk").values_list("type", "actor"))


def test_who_took_the_address_first_does_not_come_in():
    attacker, victim = make_firm(), make_firm()
    body = {"email": "dora@example.com", "role": "viewer", "password": PASSWORD}
    assert api_of(attacker).post("/api/v1/members/", body, format="json").status_code == 200
    squatter = User.objects.get(email="dora@example.com")
    User.objects.update(must_change_password=False)  # the attacker knows the first password
    invitation = invite(victim, squatter)
    assert not Membership.objects.filter(firm=victim).exists()
    answer = accept(signed_in(User.objects.get(pk=squatter.pk)), invitation["id"], "guess")
    assert (answer.status_code, answer.json()["code"]) == (400, "wrong_code")
    assert not Membership.objects.filter(firm=victim).exists()


def test_a_password_for_somebody_who_signs_in_already_is_refused():
    person, alice = make_person(), make_firm()
    body = {"email": person.email, "role": "viewer", "password": PASSWORD}
    answer = api_of(alice).post("/api/v1/members/", body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "person_exists")
    assert not Membership.objects.exists()
    assert not Invitation.objects.exists()


def test_an_invited_person_joins_with_the_code_and_once():
    person, alice = make_person(), make_firm()
    invitation = invite(alice, person)
    client = signed_in(person)
    (shown,) = client.get("/api/v1/invitations/").json()["data"]
    assert (shown["id"], shown["firm"], shown["role"]) == (invitation["id"], alice.public_id, "trader")
    assert invitation["code"] not in str(shown)
    assert accept(client, invitation["id"], invitation["code"]).json()["role"] == "trader"
    assert Membership.objects.get().user == person
    assert accept(client, invitation["id"], invitation["code"]).status_code == 404
    assert [each for each, _ in events(alice)][-3:] == ["invitation.created", "member.set", "invitation.accepted"]
    assert events(alice)[-1][1] == person.public_id


def test_a_second_invitation_replaces_the_first():
    person, alice = make_person(), make_firm()
    first, second = invite(alice, person), invite(alice, person, "viewer")
    assert first["id"] == second["id"]
    client = signed_in(person)
    assert accept(client, first["id"], first["code"]).status_code == 400
    assert accept(client, first["id"], second["code"]).json()["role"] == "viewer"


def test_both_sides_can_end_an_invitation():
    person, alice = make_person(), make_firm()
    client = api_of(alice)
    first = invite(alice, person)["id"]
    assert [each["id"] for each in client.get("/api/v1/member-invitations/").json()["data"]] == [first]
    assert client.delete(f"/api/v1/member-invitations/{first}/").status_code == 204
    second = invite(alice, person)["id"]
    assert signed_in(person).post(f"/api/v1/invitations/{second}/decline/").status_code == 204
    assert not Invitation.objects.exists()
    assert not Membership.objects.exists()
    ended = [each for each, _ in events(alice) if each.startswith("invitation.") and each != "invitation.created"]
    assert ended == ["invitation.withdrawn", "invitation.declined"]


def test_invitations_are_for_people_and_not_for_keys_or_strangers():
    person, alice = make_person(), make_firm()
    invitation = invite(alice, person)
    assert accept(signed_in(make_person(make_firm())), invitation["id"], invitation["code"]).status_code == 404
    body = {"code": invitation["code"]}
    answer = api_of(alice).post(f"/api/v1/invitations/{invitation['id']}/accept/", body, format="json")
    assert answer.status_code == 404
    assert Client().get("/api/v1/invitations/").status_code == 401
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(person)
    assert accept(guarded, invitation["id"], invitation["code"]).status_code == 403
