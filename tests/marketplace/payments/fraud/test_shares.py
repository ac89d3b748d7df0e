"""Who bears a disputed payment: its payer, sellers who answer for it, the reserve, and the platform last."""

from __future__ import annotations

import pytest
from django.db import ProgrammingError, transaction
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.accounts.services import add_member
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.disputes import collect_debts, dispute_seen
from marketplace.payments.fraud.alerts import find_linked_trades
from marketplace.payments.fraud.links import linked_firms
from marketplace.payments.fraud.models import DisputeShare, LinkedTrade
from marketplace.payments.fraud.reserve import put_aside
from marketplace.payments.fraud.seasoning import left_in_wallet_micros
from marketplace.payments.models import PaymentDispute
from marketplace.payments.payouts.selectors import terms
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.payments.fraud.conftest import DAY, DOLLAR, HOUR, Money
from tests.marketplace.payments.payouts.conftest import name_account
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url
from tests.marketplace.payments.wire.statements import THEIRS

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db
WALLET, EARNINGS, FROZEN = AccountKind.WALLET, AccountKind.EARNINGS, AccountKind.FROZEN
LOSS, RESERVE, FEE = AccountKind.DISPUTE_LOSS, AccountKind.RESERVE, AccountKind.PLATFORM_FEE


def held(firm, kind, ref=""):
    return balance_micros(firm=firm, kind=kind, currency="USD", ref=ref)


def link(one, other):
    """The same person works for both."""
    person = make_person(one)
    add_member(firm=other, user=person, role="viewer", actor="test", now=NOON)
    return person


def seen(deposit, status, *entries, now, micros=0):
    """What Stripe says of the dispute; `entries` are what the bank took or gave back."""
    dispute_seen({
        "dispute_id": "dp_1", "deposit_id": deposit.public_id, "status": status, "is_inquiry": False,
        "reason": "fraudulent", "currency": "USD", "amount_micros": micros or deposit.amount_micros,
        "answer_by": None, "entries": [{"id": f"txn_{sign}", "currency": "USD", "fee_micros": 15 * DOLLAR if sign < 0
        else 0, "amount_micros": sign * (micros or deposit.amount_micros)} for sign in entries],
    }, now)  # fmt: skip
    return PaymentDispute.objects.get()


@pytest.fixture
def spent(money, buyer, seller, season):
    """100.000007 by card, of which 60.000001 were paid for hours; the seller earned 20 elsewhere."""
    other = make_firm()
    money.wire(other, 20 * DOLLAR, NOON)
    money.hold(other, "ord_0", 20 * DOLLAR, NOON)
    money.settle(other, "ord_0", seller, 20 * DOLLAR, NOON, lease="lse_0")
    deposit = money.card(buyer, 100_000_007, NOON)
    money.hold(buyer, "ord_1", 70 * DOLLAR, NOON + HOUR)
    money.settle(buyer, "ord_1", seller, 60_000_001, NOON + HOUR, fee=3_000_001)
    money.release(buyer, "ord_1", 9_999_999, NOON + HOUR)
    return deposit


def reserved(now=NOON + 2 * HOUR):
    put_aside(now=now)
    return held(None, RESERVE)


def test_unlinked_sellers_keep_what_they_earned_and_the_reserve_bears_it_first(spent, seller, buyer, settings):
    settings.DISPUTE_RESERVE_BASIS_POINTS = 5000
    assert reserved() == 1_500_000
    assert held(None, FEE) == 1_500_001
    dispute = seen(spent, "needs_response", -1, now=NOON + DAY)
    assert (dispute.held_micros, dispute.sellers_micros, held(seller, EARNINGS)) == (40_000_006, 0, 77 * DOLLAR)
    dispute = seen(spent, "lost", -1, now=NOON + 2 * DAY)
    assert (dispute.reserve_micros, held(None, RESERVE)) == (1_500_000, 0)
    assert held(None, LOSS) == -(60_000_001 - 1_500_000)
    assert held(seller, EARNINGS) == 77 * DOLLAR


def test_a_linked_sellers_part_of_that_money_is_frozen_and_taken_when_it_is_lost(spent, seller, buyer):
    person = link(buyer, seller)
    dispute = seen(spent, "needs_response", -1, now=NOON + DAY)
    share = DisputeShare.objects.get()
    assert (share.seller, share.reason, share.amount_micros) == (seller, "linked", 57 * DOLLAR)
    assert share.evidence == [f"{person.email} works for both"]
    assert (held(seller, EARNINGS), held(seller, FROZEN, dispute.public_id)) == (20 * DOLLAR, 57 * DOLLAR)
    assert dispute.missing_micros == 3_000_001
    told = Event.objects.get(firm_id=seller.pk, type="payment_dispute.earnings_held")
    assert (told.reason, told.data) == ("linked", {"amount_micros": 57 * DOLLAR, "currency": "USD"})
    dispute = seen(spent, "lost", -1, now=NOON + 2 * DAY)
    assert (held(seller, EARNINGS), held(seller, FROZEN, dispute.public_id)) == (20 * DOLLAR, 0)
    assert held(None, LOSS) == -3_000_001


def test_won_gives_everybody_back_to_the_micro(spent, seller, buyer):
    link(buyer, seller)
    dispute = seen(spent, "needs_response", -1, now=NOON + DAY)
    seen(spent, "won", -1, 1, now=NOON + 2 * DAY)
    assert (held(buyer, WALLET), held(seller, EARNINGS), held(None, LOSS)) == (40_000_006, 77 * DOLLAR, 0)
    assert held(seller, FROZEN, dispute.public_id) == held(buyer, FROZEN, dispute.public_id) == 0


def test_lost_and_won_after_all_gives_back_what_the_reserve_bore_as_well(spent, seller, buyer):
    link(buyer, seller)
    before = reserved()
    assert before == 300_000
    seen(spent, "lost", -1, now=NOON + DAY)
    assert (held(None, RESERVE), held(None, LOSS)) == (0, -2_700_001)
    dispute = seen(spent, "won", -1, 1, now=NOON + 2 * DAY)
    assert (held(None, RESERVE), held(None, LOSS), dispute.reserve_micros) == (before, 0, 0)
    assert (held(buyer, WALLET), held(seller, EARNINGS)) == (40_000_006, 77 * DOLLAR)


def test_what_was_paid_out_already_is_taken_from_what_is_earned_later(money, spent, seller, buyer):
    link(buyer, seller)
    outside = money.account(None, AccountKind.CLEARING, "wire")
    money.move("payout", "", NOON + HOUR, (money.account(seller, EARNINGS), -70 * DOLLAR), (outside, 70 * DOLLAR))
    dispute = seen(spent, "needs_response", -1, now=NOON + DAY)
    assert (dispute.sellers_micros, held(seller, EARNINGS)) == (7 * DOLLAR, 0)
    money.move("settlement", "", NOON + DAY, (outside, -60 * DOLLAR), (money.account(seller, EARNINGS), 60 * DOLLAR))
    collect_debts(now=NOON + 2 * DAY)
    dispute.refresh_from_db()
    assert (dispute.sellers_micros, held(seller, EARNINGS)) == (57 * DOLLAR, 10 * DOLLAR)


def test_what_the_payer_pays_later_makes_good_the_loss_and_then_the_reserve(money, spent, buyer):
    reserved()
    dispute = seen(spent, "lost", -1, now=NOON + DAY)
    assert (held(None, RESERVE), held(None, LOSS)) == (0, -59_700_001)
    money.wire(buyer, 59_800_000, NOON + DAY)
    collect_debts(now=NOON + DAY)
    assert (held(None, RESERVE), held(None, LOSS)) == (99_999, 0)
    money.wire(buyer, 10 * DOLLAR, NOON + DAY)
    collect_debts(now=NOON + DAY)
    dispute.refresh_from_db()
    assert (held(None, RESERVE), held(None, LOSS), dispute.reserve_micros) == (300_000, 0, 0)
    assert (dispute.missing_micros, held(buyer, WALLET)) == (0, 9_799_999)


def test_the_reserve_grows_by_its_share_of_each_days_fees(money, spent, settings, buyer, seller):
    assert reserved() == 300_000
    assert (put_aside(now=NOON + 3 * HOUR), held(None, RESERVE)) == (0, 300_000)
    assert put_aside(now=NOON + DAY) == 0
    money.hold(buyer, "ord_2", 10 * DOLLAR, NOON + DAY)
    money.settle(buyer, "ord_2", seller, 10 * DOLLAR, NOON + DAY, fee=500_009)
    settings.DISPUTE_RESERVE_BASIS_POINTS = 100
    assert put_aside(now=NOON + DAY + HOUR) == 1
    assert held(None, RESERVE) == 305_000
    assert held(None, FEE) + held(None, RESERVE) == 3_500_010


def by_person(money, one, other):
    link(one, other)


def by_card(money, one, other):
    for firm in (one, other):
        money.card(firm, DOLLAR, NOON, "fingerprint-0815")


def by_account(money, one, other):
    for firm in (one, other):
        name_account(firm, make_person(firm), THEIRS)


def by_parent(money, one, other):
    one.ultimate_parent, other.name = "Big Holding, Inc.", "BIG HOLDING INC"
    one.save()
    other.save()


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (by_person, "works for both"),
        (by_card, "one card was used by both (fingerprint …t-0815)"),
        (by_account, "both are paid to the bank account GB…5555"),
        (by_parent, "big holding inc is the name or the ultimate parent of both"),
    ],
)
def test_what_links_two_firms(money, buyer, seller, settings, by, said):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    assert linked_firms(buyer) == {}
    by(money, buyer, seller)
    make_person(make_firm())
    assert [*linked_firms(buyer)] == [seller.pk]
    assert said in linked_firms(seller)[buyer.pk][0]


@pytest.mark.parametrize("parent", ["", "N/A", "None", "-"])
def test_firms_without_a_parent_are_not_linked_by_that(buyer, seller, parent):
    for firm in (buyer, seller):
        firm.ultimate_parent = parent
        firm.save()
    assert linked_firms(buyer) == {}


def test_what_a_linked_buyer_paid_waits_the_whole_season_wherever_it_had_it_from(money, buyer, seller, season):
    money.wire(buyer, 50 * DOLLAR, NOON - 100 * DAY)
    money.hold(buyer, "ord_1", 50 * DOLLAR, NOON)
    money.settle(buyer, "ord_1", seller, 50 * DOLLAR, NOON)
    assert terms(seller, "USD", NOON + 10 * DAY).free.unseasoned_micros == 0
    link(buyer, seller)
    found = terms(seller, "USD", NOON + 10 * DAY)
    assert (found.free.unseasoned_micros, found.unseasoned_until) == (50 * DOLLAR, NOON + 30 * DAY)
    assert terms(seller, "USD", NOON + 30 * DAY).free.unseasoned_micros == 0


def test_an_operator_sees_who_answers_and_why(spent, seller, buyer):
    person = link(buyer, seller)
    seen(spent, "needs_response", -1, now=NOON + DAY)
    page = browser(make_person(is_operator=True)).get(url("operator-payments")).content.decode()
    assert "Buyer and seller are linked" in page
    assert f"{person.email} works for both" in page
    assert "57.00" in page


def test_a_linked_pair_that_trades_is_shown_to_operators_once_and_before_any_dispute(spent, money, seller, buyer):
    assert find_linked_trades(now=NOON + DAY) == 0
    person = link(buyer, seller)
    link(buyer, make_firm())  # which sells nothing
    assert [find_linked_trades(now=NOON + DAY) for _ in range(2)] == [1, 0]
    trade = LinkedTrade.objects.get()
    assert (trade.buyer, trade.seller, trade.evidence) == (buyer, seller, [f"{person.email} works for both"])
    assert Event.objects.filter(firm_id=None, type="linked_trade.found").count() == 1
    page = browser(make_person(is_operator=True)).get(url("operator-payments")).content.decode()
    assert "Linked firms that trade" in page
    assert "Buyer paid Seller" in page
    with pytest.raises(ProgrammingError, match="permission denied"):
        LinkedTrade.objects.update(evidence=[])


@given(
    spending=st.integers(1, 100_000_007), fee=st.integers(0, 50), linked=st.booleans(), reserve=st.integers(0, 10_000),
    paid_later=st.integers(1, 150_000_000), ends=st.sampled_from([["lost"], ["won"], ["lost", "won"]]),
)  # fmt: skip
@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_every_micro_is_somebodys(spending, fee, linked, reserve, paid_later, ends):
    money = Money()
    with transaction.atomic(), override_settings(DISPUTE_RESERVE_BASIS_POINTS=reserve):
        buyer, seller = make_firm(), make_firm()
        deposit = money.card(buyer, 100_000_007, NOON)
        money.hold(buyer, "ord_1", spending, NOON)
        money.settle(buyer, "ord_1", seller, spending, NOON, fee=spending * fee // 100)
        put_aside(now=NOON)
        if linked:
            link(buyer, seller)
        before = [held(buyer, WALLET), held(seller, EARNINGS), held(None, RESERVE), 0]
        seen(deposit, "needs_response", -1, now=NOON + DAY)
        for end in ends:
            entries = (-1, 1) if end == "won" else (-1,)
            dispute = seen(deposit, end, *entries, now=NOON + DAY)
            if end == "lost":
                money.wire(buyer, paid_later, NOON + DAY)
                collect_debts(now=NOON + DAY)
                dispute.refresh_from_db()
                borne = [dispute.held_micros, dispute.sellers_micros, dispute.reserve_micros, -held(None, LOSS)]
                assert (sum(borne), min(borne) >= 0) == (deposit.amount_micros, True)
                assert dispute.reserve_micros == before[2] - held(None, RESERVE)
        after = [held(buyer, WALLET), held(seller, EARNINGS), held(None, RESERVE), held(None, LOSS)]
        if ends[-1] == "won":
            before[0] += paid_later if "lost" in ends else 0
            assert after == before
        transaction.set_rollback(True)


def test_what_is_frozen_is_the_disputed_deposits_own_money(money, buyer):
    money.wire(buyer, 50 * DOLLAR, NOON)
    deposit = money.card(buyer, 100 * DOLLAR, NOON)
    seen(deposit, "needs_response", -1, now=NOON, micros=60 * DOLLAR)
    assert left_in_wallet_micros(deposit, NOON) == 40 * DOLLAR
