"""Firms see nothing of each other, and people do only what their role allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from marketplace.accounts.roles import ROLE_SCOPES, Role
from marketplace.compliance.tablefile import table_in_force
from tests.factories import api_of, make_firm, make_person
from tests.tenancy import OBJECT_ROUTES, OPERATOR_READS, WRITES, Route, World, api_routes

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(frozen, settings, tmp_path) -> Iterator[World]:
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[1] / "card_rules.yaml")
    table_in_force.cache_clear()
    yield World(frozen)
    table_in_force.cache_clear()


def ask(client, method, address, number=0):
    headers = {"Idempotency-Key": f"key-{number}", "Prefer": "wait=0"}
    return getattr(client, method)(address, {}, content_type="application/json", headers=headers)


def signed_in(firm, role):
    client = Client()
    client.force_login(make_person(firm, role))
    return client


def test_a_foreign_object_does_not_exist(world):
    stranger = signed_in(make_firm(), Role.OWNER)
    keyed = api_of(make_firm())
    found = []
    for route in api_routes():
        if route.pattern not in OBJECT_ROUTES:
            continue
        _, names = OBJECT_ROUTES[route.pattern](world)
        for method in route.methods:
            by_session = ask(stranger, method, route.address(**names)).status_code
            by_key = getattr(keyed, method)(route.address(**names), {}, format="json").status_code
            if (by_session, by_key) != (404, 404):
                found.append((method, route.pattern, by_session, by_key))
    assert not found


def test_the_owner_of_the_object_does_see_it(world):
    for pattern, names_of in OBJECT_ROUTES.items():
        route = next(each for each in api_routes() if each.pattern == pattern)
        firm, names = names_of(world)
        if "get" in route.methods:
            expected = 403 if pattern in OPERATOR_READS else 200
            assert api_of(firm).get(route.address(**names)).status_code == expected, pattern


def test_what_is_for_operators_is_for_no_role_of_a_firm(world):
    for pattern in OPERATOR_READS:
        firm, names = OBJECT_ROUTES.get(pattern, lambda world: (world.bob, {}))(world)
        address = Route(pattern, ()).address(**names)
        assert signed_in(firm, Role.OWNER).get(address).status_code == 403, pattern
        client = Client()
        client.force_login(make_person(is_operator=True))
        assert client.get(address).status_code == 200, pattern


def test_lists_show_nothing_of_another_firm(world):
    make_person(stranger := make_firm())
    client = api_of(stranger)
    own = {"firm/", "members/", "api-keys/", "events/"}
    for name in (
        "wallet/",
        "wallet/statement/",
        "deposits/",
        "top-up-rules/",
        "payment-disputes/",
        "card-purchases/",
        "payouts/",
        "payouts/terms/",
        "bank-details/",
        "documents/",
        "orders/",
        "leases/",
        "capacity-listings/",
        "nodes/",
        "card-listings/",
        "card-bids/",
        "sales/",
        "member-invitations/",
        "advisor/",
        "compliance-decisions/",
    ):
        assert client.get(f"/api/v1/{name}").json()["data"] == [], name
    for name in own:
        text = client.get(f"/api/v1/{name}").content.decode()
        assert world.bob.public_id not in text
        assert world.key.public_id not in text
        assert world.person.email not in text


@pytest.mark.parametrize("role", Role.values)
def test_a_role_does_what_its_scopes_say_and_no_more(role, world):
    clients = {firm: signed_in(firm, role) for firm in (world.alice, world.bob)}
    wrong = []
    for number, ((method, pattern), scopes) in enumerate(WRITES.items()):
        firm, names = OBJECT_ROUTES.get(pattern, lambda world: (world.bob, {}))(world)
        status = ask(clients[firm], method, Route(pattern, ()).address(**names), number).status_code
        if (status not in {401, 403}) != bool(ROLE_SCOPES[role] & scopes) or status >= 500:
            wrong.append((method, pattern, status))
    assert not wrong


def test_nobody_without_a_key_gets_anything_but_the_public_pages():
    public = {"gpu-models/", "offers/", "passports/key/"}
    for route in api_routes():
        if not route.has_object and "get" in route.methods and route.pattern not in public:
            assert Client().get(route.address()).status_code == 401, route
