from __future__ import annotations

import pytest
from django.test import Client

from marketplace.accounts.models import ApiKey, Membership
from marketplace.events.models import Event
from tests.factories import api_of, make_firm, make_person
from tests.waiting import let_older_transactions_end

KEY = {"name": "robot", "scopes": ["read", "trade"]}


def make(client, body, key="k"):
    return client.post("/api/v1/api-keys/", body, format="json", headers={"Idempotency-Key": key})


@pytest.mark.django_db
def test_the_firm_shows_itself():
    alice = make_firm("Alice GmbH")
    assert api_of(alice).get("/api/v1/firm/").json()["name"] == "Alice GmbH"


@pytest.mark.django_db
def test_a_key_is_shown_once_works_and_ends():
    alice = make_firm()
    client = api_of(alice)
    made, again = make(client, KEY), make(client, KEY)
    assert (made.status_code, again.status_code, again.json()["key"]) == (201, 200, None)
    new = {"Authorization": f"Bearer {made.json()['key']}"}
    assert Client().get("/api/v1/firm/", headers=new).status_code == 200
    listed = client.get("/api/v1/api-keys/").json()["data"]
    assert made.json()["id"] in {each["id"] for each in listed}
    assert made.json()["key"] not in str(listed)
    assert client.delete(f"/api/v1/api-keys/{made.json()['id']}/").status_code == 204
    assert Client().get("/api/v1/firm/", headers=new).status_code == 401
    assert client.delete(f"/api/v1/api-keys/{made.json()['id']}/").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer fal_live_" + "0" * 36, "Bearer ü"])
def test_a_wrong_key_is_nobody(header):
    answer = Client().get("/api/v1/firm/", headers={"Authorization": header})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "unauthorised"


@pytest.mark.django_db
def test_nobody_gives_away_more_than_they_have():
    alice = make_firm()
    client = api_of(alice, "admin")
    count = ApiKey.objects.count()
    assert make(client, {"name": "x", "scopes": ["finance"]}).json()["code"] == "scope_missing"
    body = {"email": "new@example.com", "role": "owner", "password": "correct horse battery"}
    assert client.post("/api/v1/members/", body, format="json").status_code == 403
    assert ApiKey.objects.count() == count
    assert not Membership.objects.exists()


@pytest.mark.django_db
def test_members_join_change_and_leave():
    alice = make_firm()
    owner = make_person(alice)
    client = api_of(alice)
    body = {"email": "Dora@example.com", "role": "trader"}
    assert client.post("/api/v1/members/", body, format="json").json()["code"] == "no_such_person"
    dora = client.post("/api/v1/members/", body | {"password": "correct horse battery"}, format="json").json()
    assert dora["role"] == "trader"
    changed = client.post("/api/v1/members/", {"email": "dora@example.com", "role": "finance"}, format="json").json()
    assert (changed["id"], changed["role"]) == (dora["id"], "finance")
    assert [each["role"] for each in client.get("/api/v1/members/").json()["data"]] == ["owner", "finance"]
    assert client.delete(f"/api/v1/members/{dora['id']}/").status_code == 204
    assert client.delete(f"/api/v1/members/{owner.public_id}/").json()["code"] == "last_owner"


@pytest.mark.django_db
def test_the_last_owner_cannot_become_less():
    alice = make_firm()
    owner = make_person(alice)
    body = {"email": owner.email, "role": "viewer"}
    answer = api_of(alice).post("/api/v1/members/", body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")


@pytest.mark.django_db(transaction=True)
def test_the_feed_goes_on_where_the_reader_was():
    alice, bob = make_firm(), make_firm()
    client = api_of(alice)
    make(api_of(bob), KEY)
    for number in range(3):
        make(client, KEY, f"k{number}")
    let_older_transactions_end()
    first = client.get("/api/v1/events/?limit=3").json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = client.get("/api/v1/events/", {"after": first["next_cursor"]}).json()
    nothing = client.get("/api/v1/events/", {"after": rest["next_cursor"]}).json()
    assert (nothing["data"], nothing["has_more"], nothing["next_cursor"]) == ([], False, rest["next_cursor"])
    seen = [each["id"] for each in first["data"] + rest["data"]]
    assert seen == list(Event.objects.filter(firm_id=alice.pk).order_by("pk").values_list("public_id", flat=True))
    foreign = Event.objects.filter(firm_id=bob.pk).latest("pk").public_id
    assert client.get("/api/v1/events/", {"after": foreign}).status_code == 400
