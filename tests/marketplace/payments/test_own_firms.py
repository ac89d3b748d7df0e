"""An operator does nothing with money of a firm that they work for, whatever the way is."""

from __future__ import annotations

import pytest

from marketplace.common.errors import NotAllowed
from marketplace.payments.disputes import submit_evidence
from marketplace.payments.models import Deposit, DepositRefund, GatewayCall, PaymentDispute
from marketplace.payments.refunds import refund_from_seller
from tests.factories import NOON, make_firm, make_person

pytestmark = pytest.mark.django_db
DOLLAR = 1_000_000


@pytest.fixture
def deposit():
    return Deposit.objects.create(
        firm=make_firm(), currency="USD", amount_micros=50 * DOLLAR, gateway="stripe", reference="RF18539007547034",
        payment_id="pi_1", state="confirmed", created_at=NOON, expires_at=NOON,
    )  # fmt: skip


@pytest.mark.parametrize("theirs", ["payer", "seller"])
def test_no_refund_out_of_a_sellers_money_for_or_by_their_own_firm(deposit, theirs):
    seller = make_firm()
    insider = make_person(deposit.firm if theirs == "payer" else seller, "viewer", is_operator=True)
    with pytest.raises(NotAllowed) as refused:
        refund_from_seller(
            operator=insider, deposit_id=deposit.public_id, seller=seller, amount_micros=DOLLAR, key="k", now=NOON
        )
    assert refused.value.code == "own_firm"
    assert not DepositRefund.objects.exists()


def test_no_evidence_about_their_own_firm(deposit):
    dispute = PaymentDispute.objects.create(
        deposit=deposit, object_id="dp_1", amount_micros=50 * DOLLAR, reason="fraudulent", opened_at=NOON
    )
    insider = make_person(deposit.firm, "viewer", is_operator=True)
    with pytest.raises(NotAllowed) as refused:
        submit_evidence(operator=insider, dispute_id=dispute.public_id, words="losing", key="k", now=NOON)
    assert refused.value.code == "own_firm"
    assert not GatewayCall.objects.exists()
