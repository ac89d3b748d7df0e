"""The protocol itself: keys, closed parameters, repeated requests, what is not simulated, and the apartness."""

from __future__ import annotations

import ast
import json
import threading
from pathlib import Path

import pytest
import stripe

from marketplace.payments.stripesim import operations
from marketplace.payments.stripesim.operations.table import TABLE
from marketplace.payments.stripesim.protocol.specification import Specification
from tests.stripesim import ROOT, Simulated, until

CONTRACT = Path(__file__).with_name("contract.json")
GIVEN = "amount=1000&currency=usd&payment_method=pm_card_visa&off_session=true&confirm=true"


def contract() -> dict[str, str]:
    """What the installed SDK says of every simulated operation, as digests."""
    operations.load()
    specification = Specification()
    digests = {key: specification.digest(specification.operations[key]) for key in sorted(TABLE)}
    return {"sdk": specification.sdk_version, "api_version": specification.api_version, **digests}


def test_the_sdk_has_not_changed_what_is_simulated():
    """After another pin of `stripe`: read what changed, then run this file with `python -m` to write it anew."""
    assert contract() == json.loads(CONTRACT.read_text())


def test_the_judge_sees_what_is_missing_and_what_is_made_up():
    specification = Specification()
    operation = specification.operations["GET /v1/balance"]
    amounts = [{"amount": 1, "currency": "usd", "source_types": {"card": 1}}]
    balance = {"object": "balance", "available": amounts, "pending": amounts, "livemode": False}
    assert specification.drift(operation, balance) is None
    assert "colour" in str(specification.drift(operation, {**balance, "colour": "red"}))
    assert "pending" in str(specification.drift(operation, {key: balance[key] for key in balance if key != "pending"}))
    assert "amount" in str(specification.drift(operation, {**balance, "pending": [{**amounts[0], "amount": "1"}]}))


def test_nothing_is_shared_with_the_application():
    home = ROOT / "marketplace/payments/stripesim"
    inside = "marketplace.payments.stripesim"
    for folder in ("marketplace", "listings", "nodes"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    if home in path.parents:
                        ours = name.startswith(("marketplace", "listings", "nodes", "django"))
                        assert not ours or name.startswith(inside), path
                    elif "demo" not in path.parts:
                        assert not name.startswith(inside), path


@pytest.mark.parametrize("key", ["sk_live_x", "rk_test_x", "whatever"])
def test_only_secret_keys_of_the_test_mode(stripesim, key):
    """https://docs.stripe.com/keys"""
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient(key, base_addresses={"api": stripesim.url}).v1.balance.retrieve()


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ("amount=x&currency=usd", "amount", "parameter_invalid_integer"),
        ("amount=1000", "currency", "parameter_missing"),
        ("amount=1000&currency=usd&bogus=1", "bogus", "parameter_unknown"),
        ("amount=1000&currency=usd&payment_method_data[hue]=1", "payment_method_data[hue]", "parameter_unknown"),
    ],
)  # fmt: skip
def test_what_the_sdk_does_not_know_is_refused(stripesim, given, param, code):
    """https://docs.stripe.com/error-codes"""
    status, _, body = stripesim.ask("POST", "/v1/payment_intents", given)
    assert (status, json.loads(body)["error"]["param"], json.loads(body)["error"]["code"]) == (400, param, code)


def test_no_answer_is_made_up(stripesim, client, pay, tell):
    with pytest.raises(stripe.APIError) as unknown:
        client.v1.invoices.create()
    assert unknown.value.http_status == 501
    with pytest.raises(stripe.APIError, match="the parameter transfer_data"):
        pay(transfer_data={"destination": "acct_1"})
    coverage = stripesim.sim("status")["coverage"]
    tell(f"{coverage['count']} of the SDK's {coverage['of']} operations are simulated")
    assert [key for key in coverage["implemented"] if key not in json.loads(CONTRACT.read_text())] == []


def test_the_same_key_gives_the_same_answer_and_another_request_is_refused(stripesim):
    """https://docs.stripe.com/api/idempotent_requests"""
    first = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    again = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    assert again[2] == first[2]
    assert (first[1].get("idempotent-replayed"), again[1]["idempotent-replayed"]) == (None, "true")
    status, _, body = stripesim.ask("POST", "/v1/payment_intents", GIVEN + "&description=x", Idempotency_Key="k")
    assert (status, json.loads(body)["error"]["type"]) == (400, "idempotency_error")
    stripesim.sim("clock", {"advance": 86_400})
    later = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    assert json.loads(later[2])["id"] != json.loads(first[2])["id"]


def test_refusals_are_kept_too_but_not_those_of_the_parameters(stripesim):
    """https://docs.stripe.com/error-low-level#idempotency: saved once the endpoint began to execute."""
    declined = GIVEN.replace("pm_card_visa", "pm_card_chargeDeclined")
    first = stripesim.ask("POST", "/v1/payment_intents", declined, Idempotency_Key="k")
    again = stripesim.ask("POST", "/v1/payment_intents", declined, Idempotency_Key="k")
    assert (first[0], again[0], again[2] == first[2], again[1]["idempotent-replayed"]) == (402, 402, True, "true")
    assert stripesim.ask("POST", "/v1/payment_intents", "amount=x", Idempotency_Key="p")[0] == 400
    assert stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="p")[0] == 200


def test_a_key_in_use_is_a_conflict(stripesim):
    """https://docs.stripe.com/error-low-level#status-codes: 409 while the first request is being worked on."""
    stripesim.sim("faults", {"slow_seconds": 3, "next": [{"fault": "slow"}]})
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")[0])

    first = threading.Thread(target=ask)
    first.start()
    assert until(lambda: stripesim.sim("faults")["struck"].get("slow") == 1)
    ask()
    first.join()
    assert statuses == [409, 200]


def test_the_real_client_survives_a_lost_reply_with_one_charge(stripesim, client):
    """https://docs.stripe.com/error-low-level#idempotency: the client sends its own key and tries again."""
    patient = stripesim.client(max_network_retries=3)
    for fault in ("reply_lost", "conflict"):
        stripesim.sim("faults", {"next": [{"fault": fault, "operation": "POST /v1/payment_intents"}]})
        given = {
            "amount": 500,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "off_session": True,
            "confirm": True,
        }
        assert patient.v1.payment_intents.create(given).status == "succeeded"
    assert len(client.v1.charges.list().data) == 2


@pytest.mark.parametrize(
    ("fault", "status", "kept"),
    [("rate_limit", 429, 0), ("conflict", 409, 0), ("error", 500, 0), ("error_after", 500, 1)],
)
def test_faults_say_whether_the_work_was_done(stripesim, client, fault, status, kept):
    """https://docs.stripe.com/error-low-level: a 500 leaves it open; before that nothing was done."""
    stripesim.sim("faults", {"next": [{"fault": fault}]})
    first = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    assert (first[0], len(client.v1.charges.list().data)) == (status, kept)
    again = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    assert again[0] == (500 if kept else 200)
    assert len(client.v1.charges.list().data) == 1
    assert stripesim.sim("faults")["struck"] == {fault: 1}


@pytest.mark.parametrize("hard", [False, True])
def test_state_survives_a_restart(stripesim: Simulated, pay, hard):
    """Also when it is killed: what was answered is there."""
    intent = pay(1_000)
    stripesim.sim("clock", {"advance": 50})
    before = stripesim.sim("status")["now"]
    first = stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")
    customer = stripesim.client().v1.customers.create({"name": "the last word"}).id
    stripesim.stop(hard=hard)
    with stripesim.data.open("ab") as file:
        file.write(b'[{"id": "cut sho')
    stripesim.start()
    client = stripesim.client()
    assert stripesim.sim("status")["now"] == before
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert client.v1.customers.retrieve(customer).name == "the last word"
    assert client.v1.balance.retrieve().pending[0].amount == 1_882
    assert stripesim.ask("POST", "/v1/payment_intents", GIVEN, Idempotency_Key="k")[2] == first[2]


def test_lists_are_paged(client, pay):
    """https://docs.stripe.com/api/pagination"""
    made = [pay(1_000 + number).id for number in range(5)]
    page = client.v1.payment_intents.list({"limit": 2})
    assert ([each.id for each in page.data], page.has_more) == (made[:2:-1], True)
    assert [each.id for each in page.auto_paging_iter()] == made[::-1]
    back = client.v1.payment_intents.list({"limit": 2, "ending_before": made[0]})
    assert ([each.id for each in back.data], back.has_more) == ([made[2], made[1]], True)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.list({"starting_after": "pi_nobody"})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.list({"limit": 101})


if __name__ == "__main__":
    CONTRACT.write_text(json.dumps(contract(), indent=1) + "\n")
