"""Export rules over the API: a firm reads what was decided about it, operators do what their page does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from marketplace.accounts.models import Firm, User
from marketplace.compliance.models import DocumentOnFile, HoldRuling, MatchReview, SkuClearance
from marketplace.compliance.services import decide_lease
from marketplace.events.models import Event
from tests.compliance import fresh_list
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.compliance.test_sales import card, decide

pytestmark = pytest.mark.django_db
RULES = "/api/v1/export-rules/"


@pytest.fixture
def firms(frozen: Any) -> dict[str, Firm]:
    fresh_list(NOON)
    return {"seller": make_firm("Alice", "NL"), "buyer": make_firm("Bob", "DE")}


@pytest.fixture
def operator() -> User:
    return make_person(is_operator=True)


@pytest.fixture
def client(operator: User) -> APIClient:
    made = APIClient()
    made.force_login(operator)
    return made


def post(client: APIClient, path: str, body: dict[str, Any], key: str = "k") -> Any:
    return client.post(f"{RULES}{path}", body, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_an_operator_lists_what_waits_reads_it_and_lets_it_pass(
    client: APIClient, operator: User, firms: dict[str, Firm]
) -> None:
    held = decide(firms, card("rtx-4090"), ships_to="CN")
    decide(firms, card(), subject="sale_2")
    (row,) = client.get(f"{RULES}decisions/", {"waiting": "true"}).json()["data"]
    assert (row["id"], row["buyer"]["name"], row["decided_by"]) == (held.public_id, "Bob", ["cards-to-d5-nac"])
    address = f"decisions/{held.public_id}/"
    record = client.get(RULES + address).json()
    assert record["is_reproduced"] and record["inputs"]["destination_country"] == "CN"
    assert {"nac-confirmation", "technical-data"} <= {each["code"] for each in record["documents"]}
    (nac,) = [each for each in record["rows"] if each["has_decided"]]
    assert (nac["row"], nac["outcome"], nac["effective_from"]) == ("cards-to-d5-nac", "hold", "2023-11-17")
    body = {"outcome": "allow", "reason": "confirmed", "documents": {"nac-confirmation": "A123456"}}
    refused = post(client, f"{address}rule/", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/documents")
    body["documents"] |= {"technical-data": "file 7", "end-use-statement": "file 8"}
    for _ in range(2):
        ruled = post(client, f"{address}rule/", body)
        assert ruled.status_code == 200, ruled.content
        assert [each["outcome"] for each in ruled.json()["rulings"]] == ["allow"]
    assert ruled.json()["rulings"][0]["ruled_by"] == operator.public_id
    assert HoldRuling.objects.count() == 1 and DocumentOnFile.objects.count() == 3
    assert post(client, f"{address}rule/", body | {"reason": "other"}).status_code == 422
    assert client.get(f"{RULES}decisions/", {"waiting": "true"}).json()["data"] == []
    assert decide(firms, card("rtx-4090"), ships_to="CN").outcome == "allow"
    assert Event.objects.get(type="compliance.released").actor == operator.public_id


def test_an_operator_finds_decisions_by_firm_subject_and_outcome(client: APIClient, firms: dict[str, Firm]) -> None:
    decide(firms, card())
    blocked = decide(firms, card(), ships_to="RU", subject="sale_2")
    for query in ({"outcome": "block"}, {"subject": "sale_2"}, {"firm": firms["buyer"].public_id, "limit": 1}):
        rows = client.get(f"{RULES}decisions/", query).json()["data"]
        assert [row["id"] for row in rows] == [blocked.public_id]
    assert client.get(f"{RULES}decisions/", {"state": "held"}).status_code == 400
    assert client.get(f"{RULES}decisions/cmp_0/").status_code == 404


def test_a_licence_is_put_on_file_for_a_blocked_case(client: APIClient, firms: dict[str, Firm]) -> None:
    blocked = decide(firms, card("h100-sxm5-80gb"), ships_to="CN")
    path = f"decisions/{blocked.public_id}/documents/"
    body = {"code": "bis-licence", "reference": "D1234567", "valid_until": "2027-01-01"}
    assert post(client, path, body | {"valid_until": "2026-11-22"}).status_code == 400
    for _ in range(2):
        made = post(client, path, body)
        assert (made.status_code, made.json()["code"], made.json()["valid_until"]) == (201, "bis-licence", "2027-01-01")
    assert DocumentOnFile.objects.count() == 1
    assert decide(firms, card("h100-sxm5-80gb"), ships_to="CN").outcome == "allow"


def test_an_operator_compares_a_similar_name(client: APIClient, firms: dict[str, Firm]) -> None:
    firms["buyer"] = make_firm("Grimshaw Tradings", "DE")
    held = decide(firms, card())
    (similar,) = client.get(f"{RULES}decisions/{held.public_id}/").json()["similar_names"]
    path = f"firms/{firms['buyer'].public_id}/names/"
    body = {"entry": similar["entry"], "is_same": False, "reason": "a bakery in Kent"}
    assert post(client, path, body | {"entry": "EL:s1"}).status_code == 404
    assert post(client, "firms/firm_0/names/", body).status_code == 404
    for _ in range(2):
        made = post(client, path, body, key="again")
        assert (made.status_code, [each["is_same"] for each in made.json()["data"]]) == (201, [False])
    assert MatchReview.objects.count() == 1
    assert decide(firms, card()).outcome == "allow"


CLEARANCE = {
    "gpu": "rtx-4090-d",
    "memory_gib": 48,
    "is_modified": True,
    "item_class": "p",
    "reference": "opinion of counsel 2026/118",
    "reason": "sold for workstations",
    "valid_from": "2026-11-23",
    "valid_until": "2027-05-01",
}


def test_an_operator_clears_a_sku_with_its_days_and_its_basis(client: APIClient, firms: dict[str, Firm]) -> None:
    story = card("rtx-4090-d", is_modified=True, memory_mib=49_140)
    assert decide(firms, story).outcome == "hold"
    wrong: list[dict[str, Any]] = [{"gpu": "rtx-9090"}, {"item_class": "fast"}, {"reference": ""}, {"colour": "red"}]
    for change in [*wrong, {"valid_until": "2026-11-01"}, {"eccn": "x"}]:
        assert post(client, "clearances/", CLEARANCE | change).status_code in {400, 404}, change
    assert not SkuClearance.objects.exists()
    for _ in range(2):
        made = post(client, "clearances/", CLEARANCE)
        assert (made.status_code, made.json()["is_replaced"]) == (201, False)
    assert decide(firms, story).inputs["clearance"] == made.json()["id"]
    assert post(client, "clearances/", CLEARANCE | {"item_class": "unknown"}, key="back").status_code == 201
    assert decide(firms, story).outcome == "hold"
    rows = client.get(f"{RULES}clearances/").json()["data"]
    assert [(row["item_class"], row["is_replaced"]) for row in rows] == [("unknown", False), ("p", True)]


def test_the_state_says_what_decides_and_how_old_it_is(client: APIClient, frozen: Any) -> None:
    empty = client.get(RULES).json()
    assert (empty["screening_state"], empty["screening_list"]) == ("missing", None)
    assert (empty["ruleset"]["age_days"], empty["ruleset"]["trouble"]) == (None, "")
    fresh_list(NOON, days_old=8)
    decide_lease(make_firm(), now=NOON - timedelta(days=3))
    state = client.get(RULES).json()
    assert (state["screening_state"], state["screening_list"]["age_days"], state["screening_days_max"]) == (
        "stale",
        8,
        7,
    )
    assert (state["screening_list"]["entries"], state["ruleset"]["age_days"]) == (6, 3)
    assert state["ruleset"]["version"].startswith("2026-")


def test_only_operators_signed_in_with_a_password_of_their_own(firms: dict[str, Firm], operator: User) -> None:
    assert APIClient().get(RULES).status_code == 401
    refused = api_of(firms["buyer"]).get(RULES)
    assert (refused.status_code, refused.json()["code"]) == (403, "operators_only")
    held = decide(firms, card(), ships_to="UA")
    assert api_of(firms["buyer"]).get(f"{RULES}decisions/{held.public_id}/").status_code == 403
    assert api_of(firms["seller"]).get(f"{RULES}decisions/{held.public_id}/").status_code == 404
    operator.must_change_password = True
    operator.save()
    client = APIClient()
    client.force_login(operator)
    assert client.get(RULES).json()["code"] == "password_change_required"


def test_a_write_without_a_key_changes_nothing(client: APIClient, firms: dict[str, Firm]) -> None:
    answer = client.post(f"{RULES}clearances/", CLEARANCE, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
    assert not SkuClearance.objects.exists()


def test_a_firm_reads_its_own_decisions_with_what_it_can_do_about_them(firms: dict[str, Firm]) -> None:
    held = decide(firms, card("rtx-4090"), ships_to="CN")
    allowed = decide(firms, card(), subject="sale_2")
    client = api_of(firms["buyer"])
    rows = client.get("/api/v1/compliance-decisions/").json()["data"]
    assert [row["id"] for row in rows] == [allowed.public_id, held.public_id]
    told = client.get(f"/api/v1/compliance-decisions/{held.public_id}/").json()
    assert told == rows[1]
    assert [each["row"] for each in told["because"]] == ["cards-to-d5-nac"]
    assert {each["code"] for each in told["documents"]} == {"end-use-statement", "nac-confirmation", "technical-data"}
    assert (told["outcome"], told["subject"], told["stage"]) == ("hold", "sale_1", "order")
    assert "a person of this exchange" in told["detail"]
    (only,) = client.get("/api/v1/compliance-decisions/", {"outcome": "hold"}).json()["data"]
    assert only == told
    assert client.get("/api/v1/compliance-decisions/", {"firm": "x"}).status_code == 400
    assert api_of(firms["seller"]).get("/api/v1/compliance-decisions/").json()["data"] == []
    assert api_of(firms["seller"]).get(f"/api/v1/compliance-decisions/{held.public_id}/").status_code == 404


@pytest.mark.parametrize(
    ("name", "intended_use", "row"),
    [
        ("Grimshaw Tradings", "training of models", "similar-name"),
        ("Grimshaw Trading FZE", "training of models", "listed-party"),
        ("Moorhen Optical Instruments Ltd", "training of models", "unverified-party"),
        ("Bob", "missile guidance", "sensitive-use"),
        ("Bob", "an exascale supercomputer", "supercomputer-use"),
    ],
)
def test_nothing_that_a_firm_reads_says_what_screening_found(
    firms: dict[str, Firm], name: str, intended_use: str, row: str
) -> None:
    """Neither its decisions nor its events: who knows which word was found words the next attempt around it."""
    buyer = firms["buyer"] = make_firm(name, "DE")
    buyer.intended_use = intended_use
    buyer.save()
    decision = decide(firms, card())
    assert decision.decided_by == [row]
    client = api_of(buyer)
    text = "".join(
        client.get(f"/api/v1/{path}").content.decode()
        for path in ("compliance-decisions/", f"compliance-decisions/{decision.public_id}/", "events/")
    )
    assert decision.public_id in text and decision.outcome in text
    for secret in (row, "score", "digest", "SDN", "90001", "UVL", "supplement", "end-use", decision.input_hash):
        assert secret not in text


def test_a_ruling_tells_the_firm_no_more_than_the_hold_did(firms: dict[str, Firm], client: APIClient) -> None:
    buyer = firms["buyer"]
    buyer.intended_use = "nuclear physics"
    buyer.save()
    held = decide(firms, card())
    post(client, f"decisions/{held.public_id}/rule/", {"outcome": "block", "reason": "no such institute"})
    event = Event.objects.get(type="compliance.refused", firm_id=buyer.pk)
    assert (event.reason, "institute" in str(event.data)) == ("", False)
    refused = decide(firms, card())
    told = api_of(buyer).get(f"/api/v1/compliance-decisions/{refused.public_id}/").json()
    assert (told["outcome"], told["because"]) == ("block", [])
