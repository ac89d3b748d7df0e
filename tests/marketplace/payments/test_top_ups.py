"""A saved card fills a wallet that runs low, and a charge that fails waits for its owner."""

from __future__ import annotations

import pytest

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Deposit, GatewayCall, SavedCard, TopUpRule
from marketplace.payments.saved_cards import save_card
from marketplace.payments.top_ups import set_rule, top_up
from tests.factories import fund, make_firm, make_person
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
