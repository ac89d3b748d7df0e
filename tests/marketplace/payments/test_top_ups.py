"""A saved card fills a wallet that runs low, and a charge that fails waits for its owner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Deposit, GatewayCall, SavedCard, TopUpRule
from marketplace.payments.saved_cards import save_card
from marketplace.payments.services import cancel_deposit, expire_deposits
from marketplace.payments.top_ups import end_rule, set_rule, top_up
from tests.factories import api_of, fund, make_firm, make_person
from tests.marketplace.payments.test_disputes import disputed
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)


def saved(here, firm, card="pm_card_visa"):
    found = save_card(firm=firm, key=f"save-{card}", now=here.now)
    here.work()
    found.refresh_from_db()
    here.sim.ask("POST", f"/checkout/{found.page_id}", f"card={card}")
    if card.startswith("pm_card_authentication"):
        intent = here.sim.client().v1.checkout.sessions.retrieve(found.page_id).setup_intent
        here.sim.sim("authenticate", {"intent": intent, "yes": True})
    here.hear()
    found.refresh_from_db()
    assert found.method_id
    return found


def ruled(here, firm, below=10_000_000, amount=50_000_000):
    return set_rule(
        firm=firm, currency="USD", below_micros=below, amount_micros=amount, key=f"rule-{below}", now=here.now,
        actor="test",
    )  # fmt: skip


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def tick(here):
    begun = top_up(now=here.now)
    here.work()
    here.hear()
    return begun


def test_a_wallet_that_runs_low_is_filled_once_and_one_that_does_not_is_left_alone(here):
    firm = make_firm()
    card = saved(here, firm)
    assert card.label == "visa 4242"
    ruled(here, firm)
    assert tick(here) == 1
    assert in_wallet(firm) == 50_000_000
    assert tick(here) == 0
    assert in_wallet(firm) == 50_000_000


def test_nothing_more_is_charged_while_a_top_up_is_on_its_way(here):
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm)
    assert top_up(now=here.now) == 1
    assert top_up(now=here.now) == 0
    assert GatewayCall.objects.filter(operation="charge_saved").count() == 1


@pytest.mark.parametrize("fault", ["reply_lost", "error_after"])
def test_a_lost_answer_charges_the_card_once(here, fault):
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm)
    here.fault(fault, operation="POST /v1/payment_intents")
    top_up(now=here.now)
    here.work_through()
    here.hear()
    assert in_wallet(firm) == 50_000_000
    assert len(here.sim.client().v1.payment_intents.list({}).data) == 1


def test_a_bank_that_asks_gets_a_page_and_nothing_is_charged_until_it_is_answered(here):
    firm = make_firm()
    buyer = browser(make_person(firm))
    saved(here, firm, "pm_card_authenticationRequired")
    ruled(here, firm)
    tick(here)
    rule = TopUpRule.objects.get()
    assert (rule.state, rule.reason, in_wallet(firm)) == ("needs_you", "authentication_required", 0)
    assert Event.objects.filter(firm_id=firm.pk, type="top_up_rule.needs_you").count() == 1
    here.advance(hours=1)
    assert tick(here) == 0
    deposit = Deposit.objects.get()
    assert url("deposit", deposit.public_id) in buyer.get(url("top-ups")).content.decode()
    assert deposit.pay_url in buyer.get(url("deposit", deposit.public_id)).content.decode()
    here.pay(deposit)
    here.hear()
    rule.refresh_from_db()
    assert (rule.state, in_wallet(firm)) == ("on", 50_000_000)


def test_a_declined_card_stops_the_rule_until_another_card_is_saved(here):
    firm = make_firm()
    saved(here, firm, "pm_card_chargeCustomerFail")
    ruled(here, firm)
    tick(here)
    rule = TopUpRule.objects.get()
    assert (rule.state, rule.reason, Deposit.objects.get().state) == ("needs_you", "card_declined", "cancelled")
    assert tick(here) == 0
    saved(here, firm)
    assert tick(here) == 1
    assert in_wallet(firm) == 50_000_000


def test_a_wallet_that_is_emptied_again_and_again_asks_its_owner(here, settings):
    settings.TOP_UPS_PER_DAY_MAX = 2
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm, below=1_000_000_000)
    assert [tick(here) for _ in range(4)] == [1, 1, 0, 0]
    assert TopUpRule.objects.get().reason == "too_many_in_a_day"
    here.advance(days=2)
    assert tick(here) == 0


def test_on_the_pages_a_card_is_saved_and_a_rule_set_and_ended(here):
    firm = make_firm()
    buyer, other = browser(make_person(firm)), browser(make_person(make_firm()))
    assert "No card is saved" in buyer.get(url("top-ups")).content.decode()
    buyer.post(url("card-save"), {"key": "s"})
    here.work()
    card = SavedCard.objects.get()
    assert card.page_url in buyer.get(url("top-ups")).content.decode()
    here.sim.ask("POST", f"/checkout/{card.page_id}", "card=pm_card_visa")
    buyer.get(url("top-ups"), {"back": "1"})
    here.look()
    assert "Visa 4242" in buyer.get(url("top-ups")).content.decode()
    buyer.post(url("top-ups"), {"key": "r", "below": "10.00", "amount": "50.00", "currency": "USD"})
    rule = TopUpRule.objects.get()
    other.post(url("top-up-end", rule.public_id))
    rule.refresh_from_db()
    assert rule.state == "on"
    buyer.post(url("top-up-end", rule.public_id))
    rule.refresh_from_db()
    assert rule.state == "off"
    assert tick(here) == 0


def test_without_a_card_there_is_no_rule(here):
    firm = make_firm()
    fund(firm, 1)
    with pytest.raises(Conflict, match="save a card first"):
        ruled(here, firm)


def test_a_charge_that_is_not_settled_is_neither_cancelled_nor_followed_by_another(here):
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm)
    assert top_up(now=here.now) == 1
    here.fault("reply_lost", operation="POST /v1/payment_intents")
    here.work()
    deposit = Deposit.objects.get()
    with pytest.raises(Conflict, match="being charged"):
        cancel_deposit(firm=firm, deposit_id=deposit.public_id, now=here.now)
    here.now += timedelta(hours=26)
    assert (expire_deposits(now=here.now), top_up(now=here.now)) == (0, 0)
    here.work_through()
    here.hear()
    assert in_wallet(firm) == 50_000_000
    assert len(here.sim.client().v1.payment_intents.list({}).data) == 1


def test_a_page_that_opens_late_does_not_take_the_place_of_a_newer_one(here):
    firm = make_firm()
    for key in ("k", "k2"):
        card = save_card(firm=firm, key=key, now=here.now)
    here.fault("error", operation="POST /v1/customers")
    here.work()
    card.refresh_from_db()
    newer, customer = card.page_id, card.customer_id
    here.work_through()
    assert GatewayCall.objects.filter(state="done").count() == 2
    here.sim.ask("POST", f"/checkout/{newer}", "card=pm_card_visa")
    here.hear()
    card.refresh_from_db()
    assert (card.label, card.customer_id) == ("visa 4242", customer)


def test_a_firm_whose_payment_is_disputed_is_not_charged_again_by_itself(here):
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm)
    disputed(here, firm)
    assert tick(here) == 0
    assert TopUpRule.objects.get().reason == "payment_disputed"


def test_a_rule_that_is_turned_off_while_its_charge_is_booked_holds_no_money_up(here):
    firm = make_firm()
    saved(here, firm, "pm_card_authenticationRequired")
    rule = ruled(here, firm)
    tick(here)
    here.pay(Deposit.objects.get())
    end_rule(firm=firm, rule_id=rule.public_id, now=here.now, actor="test")
    here.hear()
    rule.refresh_from_db()
    assert (rule.state, in_wallet(firm)) == ("off", 50_000_000)


def test_by_the_api_a_rule_is_set_changed_and_stopped(here):
    firm = make_firm()
    client, path = api_of(firm), "/api/v1/top-up-rules/"

    def put(key, **body):
        body = {"currency": "USD", "below": "10.00", "amount": "50.00"} | body
        return client.post(path, body, format="json", headers={"Idempotency-Key": key})

    assert put("a").json()["code"] == "no_card"
    saved(here, firm)
    made = put("a").json()
    assert (made["state"], made["below"], made["amount"]["amount"]) == (
        "on",
        {"amount": "10.000000", "currency": "USD"},
        "50.000000",
    )
    assert put("a", amount="70.00").status_code == 422
    assert put("b", amount="70.00").json()["id"] == made["id"]
    assert put("c", surprise="x").status_code == 400
    assert put("d", amount="0.001").json()["code"] == "bad_amount"
    assert client.get(path).json()["data"][0]["amount"]["amount"] == "70.000000"
    stopped = client.post(f"{path}{made['id']}/stop/")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "off")
    assert client.post(f"{path}{made['id']}/stop/").status_code == 409
    assert tick(here) == 0
    assert client.get(f"{path}{made['id']}/").json()["state"] == "off"


def test_a_page_that_stripe_refuses_is_told_and_the_next_one_opens(here):
    """Somebody deleted the customer in the dashboard."""
    firm = make_firm()
    buyer = browser(make_person(firm))
    SavedCard.objects.create(firm=firm, gateway="stripe", customer_id="cus_nowhere")
    save_card(firm=firm, key="a", now=here.now)
    assert "is being opened" in buyer.get(url("top-ups")).content.decode()
    here.work()
    assert Event.objects.get(type="saved_card.refused", firm_id=firm.pk).reason == "resource_missing"
    assert "No card is saved" in buyer.get(url("top-ups")).content.decode()
    assert saved(here, firm).label == "visa 4242"
