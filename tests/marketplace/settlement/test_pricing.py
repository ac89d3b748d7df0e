from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marketplace.book.pricing import charge_micros, worst_case_micros
from marketplace.ledger.fees import split_charge
from marketplace.settlement.pricing import next_posting

HOUR_MS = 3_600_000
prices = st.integers(1, 10**9)


def test_the_example_of_the_rule_book():
    charge = charge_micros(price_micros_per_gpu_hour=400_000, gpu_ms=10 * HOUR_MS)
    assert charge == 4_000_000
    assert split_charge(charge_micros=charge, fee_basis_points=500) == (3_800_000, 200_000)


@given(price=prices, steps=st.lists(st.integers(0, 10**7), max_size=20), fee=st.integers(0, 10_000))
def test_however_the_time_is_split_the_sums_are_the_same(price, steps, fee):
    escrow, settled, seller, paid_fee, used = 10**15, 0, 0, 0, 0
    for step in steps:
        used += step
        posting = next_posting(
            price_micros_per_gpu_hour=price,
            gpu_ms=used,
            escrow_micros=escrow,
            settled_micros=settled,
            seller_micros=seller,
            fee_basis_points=fee,
        )
        assert posting.seller_micros >= 0 and posting.fee_micros >= 0
        settled, seller, paid_fee = (
            settled + posting.total_micros,
            seller + posting.seller_micros,
            paid_fee + posting.fee_micros,
        )
    assert settled == price * used // HOUR_MS
    assert (seller, paid_fee) == split_charge(charge_micros=settled, fee_basis_points=fee)


@given(price=prices, count=st.integers(1, 64), seconds=st.integers(60, 10**6), part=st.integers(0, 100))
def test_a_lease_never_costs_more_than_its_worst_case(price, count, seconds, part):
    worst = worst_case_micros(price_micros_per_gpu_hour=price, count=count, duration_seconds=seconds)
    used = count * seconds * 1000 * part // 100
    assert charge_micros(price_micros_per_gpu_hour=price, gpu_ms=used) <= worst


@given(price=prices, used=st.integers(0, 10**9), escrow=st.integers(0, 10**9))
def test_it_never_posts_more_than_the_escrow(price, used, escrow):
    posting = next_posting(
        price_micros_per_gpu_hour=price,
        gpu_ms=used,
        escrow_micros=escrow,
        settled_micros=0,
        seller_micros=0,
        fee_basis_points=500,
    )
    assert posting.total_micros <= escrow
