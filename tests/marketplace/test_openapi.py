"""The document says what the API does: no route more, none less, and the committed copy is the one that is served."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.tenancy import api_routes

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document():
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))


def test_every_route_is_documented_and_every_documented_route_exists(document):
    assert set(document["paths"]) == {route.documented() for route in api_routes()}
    for route in api_routes():
        assert {name for name in document["paths"][route.documented()]} == set(route.methods)


def test_the_committed_document_is_the_one_that_is_served(document):
    assert json.loads(COMMITTED.read_text()) == document, "run `make openapi`"


def test_every_operation_names_the_problem_and_how_to_sign_in(document):
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"]
            assert problem == "#/components/schemas/Problem", (method, path)
            assert {"ApiKey": []} in operation["security"], (method, path)


def test_what_moves_money_asks_for_an_idempotency_key(document):
    money = (
        "deposits/",
        "deposits/{public_id}/confirm/",
        "documents/{document_id}/credit/",
        "orders/",
        "orders/{order_id}/cancel/",
        "leases/{lease_id}/end/",
    )
    for path in (*money, "api-keys/"):
        parameters = document["paths"][f"/api/v1/{path}"]["post"]["parameters"]
        (key,) = [each for each in parameters if each["name"] == "Idempotency-Key"]
        assert (key["in"], key["required"]) == ("header", True)


@pytest.mark.django_db
def test_the_document_is_served_to_everybody():
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["info"]["title"] == "Fallow"


def test_the_browsable_page_runs_under_our_policy(settings):
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    answer = Client().get("/api/docs/")
    text = answer.content.decode()
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert not re.findall(r"<script>|<style|\son\w+=|https?://", text)
    files = re.findall(r'(?:src|href)="/static/([^"]+)"', text)
    assert len(files) == 3
    assert all(finders.find(name) for name in files)
