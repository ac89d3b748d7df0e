from __future__ import annotations

import os

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.urls import path

from marketplace import urls
from marketplace.common import hints, rate
from marketplace.common.addresses import client_address
from tests.conftest import TEST_DATABASE
from tests.factories import api_of, make_firm, make_person


def explode(_):
    raise RuntimeError("boom")


class Broken:
    """Addresses with one view that raises."""

    handler500 = urls.handler500
    urlpatterns = [path("api/v1/broken/", explode)]


@pytest.mark.parametrize("address", ["/api/v1/nothing/", "/api/", "/agent/v1/nothing"])
def test_an_unknown_address_is_a_problem(address):
    answer = Client().get(address, headers={"X-Request-Id": "abc"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert (answer.json()["code"], answer.json()["request_id"], answer["X-Request-Id"]) == ("not_found", "abc", "abc")


def test_our_own_mistake_is_a_problem_without_details(settings, caplog):
    settings.ROOT_URLCONF = Broken
    answer = Client(raise_request_exception=False).get("/api/v1/broken/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "boom" not in answer.content.decode()
    assert "boom" in caplog.text


@pytest.mark.django_db
def test_a_body_that_is_too_large_is_a_problem():
    body = b'{"name":"' + b"x" * 2_000_000 + b'"}'
    client = api_of(make_firm())
    client.raise_request_exception = False
    answer = client.generic("POST", "/api/v1/api-keys/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer["Content-Type"] == "application/problem+json"


class Unread:
    """A body that nobody may look into."""

    def read(self, *_):
        raise AssertionError("the body was read")

    readline = read


FORM, PLAIN = "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/api/v1/sales/sale_x/evidence/", "/agent/v1/enrol"])
@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (FORM, 16 * 2**20 + 1),
        (FORM.upper(), 10**30),
        (PLAIN, 2**20 + 1),
        ("application/json", 2**20 + 1),
        (PLAIN, "-1"),
    ],
)
@pytest.mark.parametrize("is_member", [False, True])
def test_a_body_that_is_too_long_is_refused_by_its_length_and_not_read(address, kind, length, is_member):
    client = Client(enforce_csrf_checks=True)
    if is_member:
        client.force_login(make_person(make_firm()))
    said = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(length)}
    answer = client.generic("POST", address, b"", content_type=kind, **said)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "Content-Security-Policy" in answer.headers and "X-Request-Id" in answer.headers


@pytest.mark.django_db
@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a":NaN}'])
def test_a_body_that_is_not_an_object_is_a_problem(body):
    answer = api_of(make_firm()).generic("POST", "/api/v1/api-keys/", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"name":' * 50_000, b'{"scopes":' + b"[" * 400_000, b'{"name":"' + b"9" * 10_000 + b"}"],
    ids=["lists", "objects", "a field", "not closed"],
)
def test_a_body_without_a_bottom_is_a_problem(body):
    answer = api_of(make_firm()).generic("POST", "/api/v1/api-keys/", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["api-keys/", "members/", "orders/preview/", "orders/", "capacity-listings/"])
@pytest.mark.parametrize(
    "body", [b'{"name":"\\ud800"}', b'{"\\udfff":1}', b'{"gpu":["\\ud800"],"duration_seconds":60}']
)
def test_half_a_character_is_a_problem(address, body):
    headers = {"Idempotency-Key": "k"}
    answer = api_of(make_firm()).generic(
        "POST", f"/api/v1/{address}", body, content_type="application/json", headers=headers
    )
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["orders/", "leases/", "deposits/", "members/", "wallet/statement/", "nodes/"])
@pytest.mark.parametrize("cursor", ["SW5maW5pdHk", "TmFO", "MWU5OQ", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "W10", "x"])
def test_a_cursor_that_is_not_ours_is_a_problem(address, cursor):
    answer = api_of(make_firm()).get(f"/api/v1/{address}", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.fixture
def refusing_keys(transactional_db):
    """PostgreSQL refuses every new key, as it would when a constraint is broken by somebody who was faster."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE, autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION refuse_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'refused' USING ERRCODE = 'unique_violation'; END $$;"
            "CREATE TRIGGER refuse_key BEFORE INSERT ON accounts_apikey FOR EACH ROW"
            " WHEN (NEW.name = 'refused') EXECUTE FUNCTION refuse_key()"
        )
        yield
        owner.execute("DROP TRIGGER refuse_key ON accounts_apikey; DROP FUNCTION refuse_key")


def test_what_the_database_refuses_is_a_conflict(refusing_keys):
    body = {"name": "refused", "scopes": ["read"]}
    answer = api_of(make_firm()).post("/api/v1/api-keys/", body, format="json", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/api/v1/leases/a%00b/", "/api/v1/orders/a%00b/", "/api/v1/deposits/a%00b/"])
def test_an_address_with_a_nul_is_refused(address):
    assert api_of(make_firm()).get(address).status_code in {400, 404}


@pytest.mark.django_db
def test_an_unchanged_answer_is_not_sent_again():
    client = api_of(make_firm())
    first = client.get("/api/v1/firm/")
    again = client.get("/api/v1/firm/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.django_db
def test_a_caller_that_is_too_fast_is_told_to_wait(settings):
    settings.API_BURST, settings.API_PER_SECOND = 3, 0.001
    client, other = api_of(make_firm()), api_of(make_firm())
    answers = [client.get("/api/v1/firm/") for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each["RateLimit-Remaining"] for each in answers] == ["2", "1", "0", "0"]
    assert int(answers[3]["Retry-After"]) >= 1
    assert answers[3].json()["code"] == "rate_limited"
    assert other.get("/api/v1/firm/").status_code == 200


@pytest.mark.django_db
def test_without_redis_nobody_is_refused(settings):
    settings.API_BURST = 1
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    hints.connection.cache_clear()
    client = api_of(make_firm())
    assert [client.get("/api/v1/firm/").status_code for _ in range(3)] == [200, 200, 200]


def test_a_full_bucket_has_nothing_to_wait_for(settings):
    settings.API_BURST, settings.API_PER_SECOND = 10, 5
    bucket = rate.TokenBucket()
    for tokens, reset in ((10.0, "0"), (3.0, "2")):
        bucket.tokens = tokens
        assert bucket.headers()["RateLimit-Reset"] == reset


@pytest.mark.parametrize(
    ("behind_proxy", "address"), [(False, "10.0.0.1"), (True, "203.0.113.9")], ids=["direct", "behind a proxy"]
)
def test_the_address_is_what_we_or_our_proxy_saw(settings, rf, behind_proxy, address):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if behind_proxy else None
    request = rf.get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    assert client_address(request) == address


@pytest.mark.django_db
def test_it_is_ready_with_both_servers():
    assert Client().get("/healthz").json() == {"status": "alive"}
    assert Client().get("/readyz").json() == {"status": "ready"}


@pytest.mark.django_db
def test_readiness_names_what_is_away(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    hints.connection.cache_clear()
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (503, "Redis does not answer")
    assert "database" not in answer.json()


@pytest.mark.django_db
def test_readiness_counts_missing_migrations():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'payments'")
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert "migrations" in answer.json()["database"]
