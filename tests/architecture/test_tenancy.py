"""A new address can't be forgotten where firms are kept apart and roles are checked: both tables name every one."""

from __future__ import annotations

from tests.tenancy import OBJECT_ROUTES, PUBLIC_ROUTES, WRITES, api_routes


def test_every_address_of_an_object_has_its_line_in_the_tenancy_table():
    """Add what is missing to OBJECT_ROUTES in tests/tenancy.py."""
    assert {route.pattern for route in api_routes() if route.has_object} == set(OBJECT_ROUTES) | PUBLIC_ROUTES


def test_every_write_has_its_line_in_the_role_matrix():
    """Add what is missing to WRITES in tests/tenancy.py."""
    written = {(method, route.pattern) for route in api_routes() for method in route.methods if method != "get"}
    assert written == set(WRITES)
