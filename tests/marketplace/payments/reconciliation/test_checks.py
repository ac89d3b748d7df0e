"""`check_payments` and `check_money`, in each stage of money on its way."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from marketplace.common import clock
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import GatewayCall, PaymentDispute, Payout, SellerTransfer
from marketplace.payments.reconciliation.checks import troubles
from marketplace.payments.refunds import refund_deposit, refund_from_seller
from marketplace.payments.sellers import look_again, open_account
from marketplace.payments.transfers import send_earnings
from tests.factories import make_firm
from tests.marketplace.payments.reconciliation.conftest import DOLLAR
from tests.marketplace.payments.reconciliation.test_runs import lose_a_payment

pytestmark = pytest.mark.django_db(transaction=True)


def check(name="check_payments"):
    out = io.StringIO()
    call_command(name, stdout=out)
    return out.getvalue()


def earn(here, buyer, seller, micros):
    legs = [
        Leg(account_for(firm=buyer, kind=AccountKind.WALLET, currency="USD"), -micros),
        Leg(account_for(firm=seller, kind=AccountKind.EARNINGS, currency="USD"), micros),
    ]
    post(ref=f"earned:{micros}", code=Code.CORRECTION, legs=legs, now=here.now)


@pytest.fixture
def seller(here, settings):
    settings.EARNINGS_CLEAR_DAYS, settings.TRANSFER_MICROS_MIN = 0, 1
    firm = make_firm()
    open_account(firm=firm, idempotency_key="open", now=here.now)
    here.work()
    firm.refresh_from_db()
    here.sim.sim("onboard", {"account": firm.seller_account.account_id})
    look_again(firm, here.now)
    here.hear()
    return firm


def test_money_on_its_way_is_set_aside_at_every_step(here, night, seller):
    buyer = make_firm()
    deposit = here.paid(buyer, 200 * DOLLAR, card="pm_card_bypassPending")
    night.run()
    steps = []

    def step():
        steps.append(troubles(here.now))

    step()
    earn(here, buyer, seller, 90 * DOLLAR)
    send_earnings(now=here.now)
    step()
    here.work()
    assert SellerTransfer.objects.get().state == "paid"
    step()
    earn(here, buyer, seller, 5 * DOLLAR)
    refund_deposit(firm=buyer, deposit_id=deposit.public_id, amount_micros=7 * DOLLAR, key="r", now=here.now, actor="t")
    step()
    refund_from_seller(
        operator=night.operator, deposit_id=deposit.public_id, seller=seller, amount_micros=20 * DOLLAR, key="s",
        now=here.now,
    )  # fmt: skip
    step()
    for _ in range(3):
        here.work()
        step()
    here.hear()
    step()
    disputed = here.paid(buyer, 30 * DOLLAR, key="d", card="pm_card_createDispute")
    here.advance(minutes=1)
    here.hear()
    dispute = PaymentDispute.objects.get(deposit=disputed)
    assert dispute.held_micros == 30 * DOLLAR
    step()
    assert steps == [[]] * len(steps)
    here.advance(hours=2)
    assert night.run().found_count == 0
    assert check() == "payments are in order\n"
    assert "all money is in order" in check("check_money")


def test_every_kind_of_trouble_is_told_and_ends_with_status_1(here, night, seller, settings):
    buyer = make_firm()
    here.paid(buyer, 100 * DOLLAR, card="pm_card_bypassPending")
    night.run()
    assert troubles(here.now) == []
    earn(here, buyer, seller, 40 * DOLLAR)
    send_earnings(now=here.now)
    SellerTransfer.objects.update(amount_micros=41 * DOLLAR)
    assert len(troubles(here.now)) == 1
    assert "needs 41" in troubles(here.now)[0]
    SellerTransfer.objects.update(amount_micros=40 * DOLLAR)
    here.advance(minutes=16)
    late = GatewayCall.objects.get(state="waiting")
    assert troubles(here.now) == [f"call {late.public_id} (transfer) waits since {late.created_at:%Y-%m-%d %H:%M}"]
    here.work()
    assert troubles(here.now) == []
    lose_a_payment(here, night)
    night.run()
    (line,) = troubles(here.now)
    assert "not in the ledger" in line
    with pytest.raises(CommandError, match="1 things"):
        check()
    with pytest.raises(CommandError, match="check_payments"):
        check("check_money")
    here.hear()
    night.run()
    assert troubles(here.now) == []
    (line,) = troubles(here.advance(hours=27))
    assert line.startswith("stripe was last compared 2")
    settings.STRIPE_SECRET_KEY = ""
    assert troubles(clock.now()) == []
    assert not Payout.objects.exists()
