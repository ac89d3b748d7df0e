"""How connected accounts, transfers, payouts and disputes behave, by Stripe's documentation."""

from __future__ import annotations

import urllib.parse

import pytest
import stripe

DAY_S = 86_400


def available(client, account=None):
    options = {"stripe_account": account} if account else {}
    return {each.currency: each.amount for each in client.v1.balance.retrieve(options=options).available}


def test_a_transfer_needs_available_money_unless_it_is_tied_to_its_charge(stripesim, client, pay, seller):
    """https://docs.stripe.com/connect/separate-charges-and-transfers#transfer-availability"""
    charge = pay(10_000).latest_charge.id
    given = {"amount": 6_000, "currency": "usd", "destination": seller.id}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.transfers.create(given)
    assert refused.value.code == "balance_insufficient"
    transfer = client.v1.transfers.create({**given, "source_transaction": charge})
    with pytest.raises(stripe.InvalidRequestError, match="must not exceed the source amount"):
        client.v1.transfers.create({**given, "source_transaction": charge})
    assert available(client, seller.id) == {"usd": 0}
    stripesim.sim("clock", {"advance": 2 * DAY_S})
    assert available(client, seller.id) == {"usd": 6_000}
    assert available(client) == {"usd": 3_680}
    assert client.v1.transfers.retrieve(transfer.id).amount == 6_000


def test_the_transfer_has_the_currency_of_its_charge(client, pay, seller):
    """https://docs.stripe.com/connect/separate-charges-and-transfers"""
    charge = pay(10_000).latest_charge.id
    given = {"amount": 600, "currency": "eur", "destination": seller.id, "source_transaction": charge}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.transfers.create(given)
    assert refused.value.param == "currency"


def test_a_refund_does_not_reverse_the_transfer(client, pay, seller):
    """https://docs.stripe.com/connect/separate-charges-and-transfers#issue-refunds"""
    pay(20_000)
    intent = pay(10_000)
    given = {
        "amount": 6_000,
        "currency": "usd",
        "destination": seller.id,
        "source_transaction": intent.latest_charge.id,
    }
    transfer = client.v1.transfers.create(given)
    client.v1.refunds.create({"payment_intent": intent.id})
    assert client.v1.transfers.retrieve(transfer.id).amount_reversed == 0
    assert client.v1.balance.retrieve(options={"stripe_account": seller.id}).pending[0].amount == 6_000


def test_no_more_is_reversed_than_was_transferred(client, pay, seller):
    """https://docs.stripe.com/api/transfer_reversals/create"""
    pay(10_000, "pm_card_bypassPending")
    transfer = client.v1.transfers.create({"amount": 6_000, "currency": "usd", "destination": seller.id})
    client.v1.transfers.reversals.create(transfer.id, {"amount": 1_000})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.transfers.reversals.create(transfer.id, {"amount": 5_001})
    assert refused.value.param == "amount"
    client.v1.transfers.reversals.create(transfer.id)
    after = client.v1.transfers.retrieve(transfer.id)
    assert (after.reversed, after.amount_reversed, len(after.reversals.data)) == (True, 6_000, 2)
    assert (available(client), available(client, seller.id)) == ({"usd": 9_680}, {"usd": 0})


def test_money_that_was_paid_out_cannot_be_reversed(client, pay, seller):
    """https://docs.stripe.com/connect/separate-charges-and-transfers#reverse-transfers: only what is there."""
    pay(10_000, "pm_card_bypassPending")
    transfer = client.v1.transfers.create({"amount": 6_000, "currency": "usd", "destination": seller.id})
    client.v1.payouts.create({"amount": 5_500, "currency": "usd"}, {"stripe_account": seller.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.transfers.reversals.create(transfer.id)
    assert refused.value.code == "balance_insufficient"


@pytest.mark.parametrize(("outcome", "status", "left"), [("complete", "paid", 0), ("payouts_fail", "failed", 6_000)])
def test_a_payout_is_paid_or_comes_back(stripesim, client, pay, outcome, status, left):
    """https://docs.stripe.com/payouts#payout-failures and https://docs.stripe.com/connect/testing#account-numbers"""
    account = client.v1.accounts.create({"country": "US", "capabilities": {"transfers": {"requested": True}}}).id
    stripesim.sim("onboard", {"account": account, "outcome": outcome})
    pay(10_000, "pm_card_bypassPending")
    client.v1.transfers.create({"amount": 6_000, "currency": "usd", "destination": account})
    options = {"stripe_account": account}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payouts.create({"amount": 6_001, "currency": "usd"}, options)
    assert refused.value.code == "balance_insufficient"
    payout = client.v1.payouts.create({"amount": 6_000, "currency": "usd"}, options)
    assert (payout.status, available(client, account)) == ("pending", {"usd": 0})
    stripesim.sim("clock", {"advance": 2 * DAY_S})
    assert client.v1.payouts.retrieve(payout.id, options=options).status == status
    assert available(client, account) == {"usd": left}
    kinds = [each.type for each in client.v1.events.list({"limit": 50}, options).data]
    assert kinds.count(f"payout.{status}") == 1


def test_a_dispute_takes_amount_and_fee_from_the_platform(stripesim, client, pay, seller):
    """https://docs.stripe.com/connect/disputes and https://docs.stripe.com/disputes/how-disputes-work"""
    intent = pay(10_000, "pm_card_createDispute")
    given = {
        "amount": 6_000,
        "currency": "usd",
        "destination": seller.id,
        "source_transaction": intent.latest_charge.id,
    }
    client.v1.transfers.create(given)
    stripesim.sim("clock", {"advance": 1})
    dispute = client.v1.disputes.list({"payment_intent": intent.id}).data[0]
    entry = dispute.balance_transactions[0]
    assert (dispute.status, entry.amount, entry.fee, entry.net) == ("needs_response", -10_000, 1_500, -11_500)
    assert available(client) == {"usd": -11_500}
    assert client.v1.balance.retrieve(options={"stripe_account": seller.id}).pending[0].amount == 6_000
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_disputed"


@pytest.mark.parametrize(
    ("evidence", "status", "balance"), [("winning_evidence", "won", 8_180), ("losing_evidence", "lost", -1_820)]
)
def test_the_evidence_decides(stripesim, client, pay, evidence, status, balance):
    """https://docs.stripe.com/testing#evidence; the fee stays gone."""
    pay(10_000, "pm_card_createDispute")
    stripesim.sim("clock", {"advance": 1})
    dispute = client.v1.disputes.list().data[0]
    sent = client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": evidence}, "submit": True})
    assert sent.status == "under_review"
    stripesim.sim("clock", {"advance": 2 * DAY_S})
    assert client.v1.disputes.retrieve(dispute.id).status == status
    assert available(client) == {"usd": balance}
    kinds = {each.type for each in client.v1.events.list({"limit": 50}).data}
    assert ("charge.dispute.funds_reinstated" in kinds) == (status == "won")
    assert "charge.dispute.closed" in kinds


def test_a_dispute_that_nobody_answers_is_lost(stripesim, client, pay):
    """https://docs.stripe.com/disputes/responding#respond-to-a-dispute: due_by"""
    pay(10_000, "pm_card_createDispute")
    stripesim.sim("clock", {"advance": 10 * DAY_S})
    dispute = client.v1.disputes.list().data[0]
    assert (dispute.status, dispute.evidence_details.past_due) == ("lost", True)


def test_an_inquiry_and_a_warning_move_no_money(stripesim, client, pay):
    """https://docs.stripe.com/disputes/how-disputes-work#inquiries, …/measuring#early-fraud-warnings"""
    pay(1_000, "pm_card_createDisputeInquiry")
    pay(1_000, "pm_card_createIssuerFraudRecord")
    stripesim.sim("clock", {"advance": 1})
    assert client.v1.disputes.list().data[0].status == "warning_needs_response"
    assert len(client.v1.radar.early_fraud_warnings.list().data) == 1
    assert available(client) == {"usd": 0}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_seller_is_onboarded_on_the_hosted_page(stripesim, client, version):
    """https://docs.stripe.com/connect/hosted-onboarding and https://docs.stripe.com/api/v2/core/accounts"""
    links = {"refresh_url": "http://127.0.0.1/again", "return_url": "http://127.0.0.1/done"}
    if version == "v1":
        account = client.v1.accounts.create({"country": "US", "capabilities": {"transfers": {"requested": True}}}).id
        link = client.v1.account_links.create({"account": account, "type": "account_onboarding", **links})
    else:
        recipient = {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
        given = {"contact_email": "s@example.com", "display_name": "Seller", "dashboard": "express"}
        shape = {"identity": {"country": "us"}, "configuration": {"recipient": recipient}}
        account = client.v2.core.accounts.create({**given, **shape}).id
        case = {"type": "account_onboarding", "account_onboarding": links}
        link = client.v2.core.account_links.create({"account": account, "use_case": case})
    before = client.v1.accounts.retrieve(account)
    assert before.requirements.currently_due and before.capabilities.transfers == "inactive"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.transfers.create({"amount": 1, "currency": "usd", "destination": account})
    assert refused.value.code == "insufficient_capabilities_for_transfer"
    path = urllib.parse.urlsplit(link.url).path
    assert b"Get paid" in stripesim.ask("GET", path)[2]
    assert stripesim.ask("POST", path, "outcome=complete")[1]["location"] == links["return_url"]
    assert stripesim.ask("GET", path)[1]["location"] == links["refresh_url"]
    after = client.v2.core.accounts.retrieve(account, {"include": ["configuration.recipient", "requirements"]})
    assert after.configuration.recipient.capabilities.stripe_balance.stripe_transfers.status == "active"
    assert after.requirements.entries == []
    assert client.v1.accounts.retrieve(account).payouts_enabled is True


def test_a_link_lives_for_minutes(stripesim, client):
    """https://docs.stripe.com/api/account_links/object"""
    account = client.v1.accounts.create({"country": "US"}).id
    given = {"account": account, "type": "account_onboarding", "return_url": "http://127.0.0.1/done"}
    link = client.v1.account_links.create({**given, "refresh_url": "http://127.0.0.1/again"})
    stripesim.sim("clock", {"advance": 301})
    path = urllib.parse.urlsplit(link.url).path
    assert stripesim.ask("GET", path)[1]["location"] == "http://127.0.0.1/again"


def test_a_firm_in_a_country_that_is_not_served(client):
    """https://stripe.com/global"""
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.accounts.create({"country": "CN"})
    assert refused.value.code == "country_unsupported"


def test_an_automatic_payout_is_the_sum_of_its_balance_transactions(stripesim, client, pay):
    """https://docs.stripe.com/payouts/reconciliation"""
    pay(5_000, "pm_card_bypassPending")
    client.v1.payouts.create({"amount": 100, "currency": "usd"})
    pay(7_000)
    had = available(client)["usd"]
    made = stripesim.sim("payout", {"currency": "usd"})
    assert (made["automatic"], made["amount"], made["reconciliation_status"]) == (True, had, "in_progress")
    assert list(client.v1.balance_transactions.list({"payout": made["id"]})) == []
    stripesim.sim("clock", {"advance": 2 * 3600})
    assert client.v1.payouts.retrieve(made["id"]).reconciliation_status == "completed"
    parts = list(client.v1.balance_transactions.list({"payout": made["id"]}))
    assert sorted(each.type for each in parts) == ["charge", "payout", "payout"]
    assert sum(each.net for each in parts if each.id != made["balance_transaction"]) == had
    assert [each.type for each in client.v1.events.list({"limit": 100})].count("payout.reconciliation_completed") == 1
    stripesim.sim("clock", {"advance": 3 * 86400})
    again = stripesim.sim("payout", {"currency": "usd"})
    stripesim.sim("clock", {"advance": 2 * 3600})
    assert [each.type for each in client.v1.balance_transactions.list({"payout": again["id"]})] == ["payout", "charge"]
    assert stripesim.ask("POST", "/_sim/payout", '{"currency": "usd"}')[0] == 400


def test_balance_transactions_of_a_manual_payout_cannot_be_listed(client, pay):
    """https://docs.stripe.com/api/balance_transactions/list#balance_transaction_list-payout"""
    pay(10_000, "pm_card_bypassPending")
    payout = client.v1.payouts.create({"amount": 100, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="automatic payouts"):
        client.v1.balance_transactions.list({"payout": payout.id})
    with pytest.raises(stripe.APIError, match="automatic payouts"):
        client.v1.balance_settings.update({"payments": {"payouts": {"schedule": {"interval": "daily"}}}})
