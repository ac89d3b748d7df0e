"""Money under faults: calls that fail on the way, and events that come twice, late, forged or never."""

from __future__ import annotations

import json
import os
import random
from collections import Counter

import pytest
import stripe
from django.db import transaction
from django.test import Client

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments import inbox
from marketplace.payments.disputes import collect_debts
from marketplace.payments.gateway import Operation
from marketplace.payments.models import (
    Deposit,
    DepositRefund,
    GatewayCall,
    GatewayNotice,
    PaymentDispute,
    SavedCard,
    SellerTransfer,
    TopUpRule,
)
from marketplace.payments.outbox import enqueue
from marketplace.payments.refunds import refund_deposit
from marketplace.payments.sellers import look_again, open_account
from marketplace.payments.services import new_deposit
from marketplace.payments.transfers import send_earnings
from tests.factories import make_firm
from tests.marketplace.payments.conftest import SECRET
from tests.reconciled import unreconciled
from tests.stripesim import every

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.trial, pytest.mark.timeout(7200)]
FULL = os.environ.get("TRIALS") == "full"
CALLS, EVENTS = (10_000, 20_000) if FULL else (120, 300)
FAULTS = {"reply_lost": 0.05, "error_after": 0.05, "error": 0.04, "rate_limit": 0.03, "conflict": 0.03}
DOLLAR = 1_000_000


def buyer_with_card(here):
    client, firm = here.sim.client(), make_firm()
    customer = client.v1.customers.create({}).id
    method = client.v1.payment_methods.attach("pm_card_bypassPending", {"customer": customer}).id
    SavedCard.objects.create(firm=firm, gateway="stripe", customer_id=customer, method_id=method)
    return TopUpRule.objects.create(
        firm=firm, currency="USD", below_micros=1, amount_micros=20 * DOLLAR, created_at=here.now
    )


@transaction.atomic
def charge(here, rule):
    card = rule.firm.saved_card
    deposit = new_deposit(rule.firm, "stripe", "USD", 20 * DOLLAR, "trial", here.now, rule=rule)
    params = {
        "deposit_id": deposit.public_id, "customer_id": card.customer_id, "method_id": card.method_id,
        "currency": "USD", "amount_micros": deposit.amount_micros,
    }  # fmt: skip
    enqueue(
        gateway="stripe", operation=Operation.CHARGE_SAVED, params=params, subject=deposit.public_id, firm=rule.firm,
        now=here.now,
    )  # fmt: skip


def ready_sellers(here, count):
    sellers = [make_firm() for _ in range(count)]
    for each in sellers:
        open_account(firm=each, idempotency_key="open", now=here.now)
    finish(here)
    for each in sellers:
        each.refresh_from_db()
        here.sim.sim("onboard", {"account": each.seller_account.account_id})
        look_again(each, here.now)
    finish(here)
    return sellers


def finish(here):
    """Works until nothing waits: calls first, then what the gateway says of them."""
    here.work_through()
    while GatewayNotice.objects.filter(state="waiting").exists():
        here.look()
        here.advance(minutes=16)
        here.work_through()


def earn(here, buyer, seller, number):
    legs = [
        Leg(account_for(firm=buyer, kind=AccountKind.WALLET, currency="USD"), -10 * DOLLAR),
        Leg(account_for(firm=seller, kind=AccountKind.EARNINGS, currency="USD"), 10 * DOLLAR),
    ]
    post(ref=f"trial:{number}", code=Code.SETTLEMENT, legs=legs, now=here.now)


def test_calls_under_faults_have_one_effect_each_and_all_reconcile(here, settings, tell):
    settings.EARNINGS_CLEAR_DAYS, settings.TRANSFER_MICROS_MIN = 0, 1
    here.sim.sim("faults", {"seed": 7, "requests": FAULTS})
    sellers = ready_sellers(here, max(4, CALLS // 200))
    here.sim.sim("faults", {})
    rules = [buyer_with_card(here) for _ in range(max(2, CALLS // 200))]
    here.sim.sim("faults", {"seed": 11, "requests": FAULTS})
    charges, number = CALLS // 2, 0
    for turn in range(charges):
        charge(here, rules[turn % len(rules)])
    finish(here)
    deposits = list(Deposit.objects.filter(state="confirmed"))
    for deposit in deposits[: charges // 2]:
        refund_deposit(
            firm=deposit.firm, deposit_id=deposit.public_id, amount_micros=5 * DOLLAR, key=f"back-{deposit.pk}",
            now=here.now, actor="trial",
        )  # fmt: skip
    while GatewayCall.objects.count() < CALLS:
        for seller in sellers:
            number += 1
            earn(here, rules[number % len(rules)].firm, seller, number)
        send_earnings(now=here.now)
        finish(here)
    struck = here.sim.sim("faults")["struck"]
    here.sim.sim("faults", {})
    client = here.sim.client()
    paid = Counter(
        each.metadata["deposit"] for each in every(client.v1.payment_intents.list) if each.status == "succeeded"
    )
    refunds, transfers = every(client.v1.refunds.list), every(client.v1.transfers.list)
    doubles = {
        "charges": sum(paid.values()) - Deposit.objects.filter(state="confirmed").count(),
        "refunds": len(refunds) - DepositRefund.objects.filter(state="paid").count(),
        "transfers": len(transfers) - SellerTransfer.objects.filter(state="paid").count(),
    }
    differences, entries = unreconciled(here.sim.client())
    calls = Counter(GatewayCall.objects.values_list("state", flat=True))
    attempts = sum(GatewayCall.objects.values_list("attempts", flat=True))
    tell(
        f"{sum(calls.values())} gateway calls in {attempts} attempts at 20 % faults (TRIALS=full: 10 000): "
        f"{dict(calls)}, doubles {doubles}, {entries} entries of Stripe's books, {len(differences)} not reconciled, "
        f"struck {struck}"
    )
    assert calls == {"done": sum(calls.values())}
    assert len(deposits) == charges == len(paid) == sum(paid.values())
    assert doubles == {"charges": 0, "refunds": 0, "transfers": 0}
    assert differences == []


def pay_outside(here, count):
    """Payments of five firms, made at Stripe: most are paid, some refused, some disputed; returns who paid what."""
    chance, client = random.Random(5), here.sim.client()
    firms, paid, disputed = [make_firm() for _ in range(5)], Counter(), Counter()
    for number in range(count):
        firm = firms[number % 5]
        deposit = new_deposit(firm, "stripe", "USD", (number % 90 + 10) * DOLLAR, "trial", here.now)
        card = chance.choices(["pm_card_visa", "pm_card_visa_chargeDeclined", "pm_card_createDispute"], [8, 1, 1])[0]
        given = {
            "amount": (number % 90 + 10) * 100, "currency": "usd", "payment_method": card, "off_session": True,
            "confirm": True, "metadata": {"deposit": deposit.public_id},
        }  # fmt: skip
        try:
            client.v1.payment_intents.create(given)
        except stripe.CardError:
            continue
        paid[firm] += deposit.amount_micros
        disputed[firm] += deposit.amount_micros if card == "pm_card_createDispute" else 0
    return firms, paid, disputed


def test_events_in_any_order_twice_or_never_end_where_the_oracle_is(here, tell):
    payments = EVENTS // 4
    firms, paid, disputed = pay_outside(here, payments)
    unpaid = new_deposit(firms[0], "stripe", "USD", 77 * DOLLAR, "trial", here.now)
    here.advance(minutes=1)
    events = [each.to_dict() for each in every(here.sim.client().v1.events.list)]
    chance = random.Random(3)
    chance.shuffle(events)
    dropped = len(events) // 10
    deliveries = [each for each in events[dropped:] for _ in range(chance.choice((1, 1, 2, 3)))]
    chance.shuffle(deliveries)
    deliveries, browser, answers = deliveries[:EVENTS], Client(), Counter()
    forged = max(1, len(deliveries) // 100)
    lie = {"type": "payment_intent.succeeded", "data": {"object": {"object": "payment_intent", "id": unpaid.public_id}}}
    for number, event in enumerate([*deliveries, *({**events[0], **lie, "id": f"evt_lie_{n}"} for n in range(forged))]):
        body = json.dumps(event, default=str)
        secret = SECRET if number < len(deliveries) else "whsec_of_somebody_else"
        header = stripe.WebhookSignature.generate_signature_header(body, secret, int(here.now.timestamp()))
        answer = browser.post(
            "/stripe/webhook", body, content_type="application/json", headers={"Stripe-Signature": header}
        )
        answers[answer.status_code] += 1
        if chance.random() < 0.05:
            here.look()
    filled = inbox.fill_gaps(now=here.now)
    finish(here)
    collect_debts(now=here.now)
    tell(
        f"{len(deliveries)} deliveries of {len(events)} events (TRIALS=full: 20 000), {dropped} dropped, "
        f"{filled} found in the list, {forged} forged: {answers[400]} refused, {GatewayNotice.objects.count()} kept"
    )
    wallets = {firm: balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD") for firm in firms}
    assert answers == {200: len(deliveries), 400: forged}
    assert not GatewayNotice.objects.filter(event_id__startswith="evt_lie").exists()
    assert set(GatewayNotice.objects.values_list("state", flat=True)) == {"done"}
    assert wallets == {firm: paid[firm] - disputed[firm] for firm in firms}
    assert sum(PaymentDispute.objects.values_list("held_micros", flat=True)) == sum(disputed.values())
    assert Deposit.objects.get(pk=unpaid.pk).state == "created"
    assert unreconciled(here.sim.client())[0] == []
