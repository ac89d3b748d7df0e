"""Snapshots change what is read, and never what is answered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.ledger.models import Account, AccountKind, Code, Entry, Snapshot
from marketplace.ledger.selectors import account_for, balances_after, statement
from marketplace.ledger.services import Leg, post
from marketplace.ledger.snapshots import balances_at, take_snapshots
from tests.factories import NOON, fund, make_firm
from tests.marketplace.ledger.test_wallet_api import analyse, entries_read
from tests.waiting import let_older_transactions_end

# (micros, minutes before or after the one before, a snapshot first?): times may go back, as those of two clocks do
MOVES = st.lists(st.tuples(st.integers(1, 50), st.integers(-90, 90), st.booleans()), min_size=1, max_size=12)


def plainly(account, at):
    """What the account held just before `at`, added up in Python."""
    entries = Entry.objects.filter(account=account).select_related("journal")
    return sum(entry.amount_micros for entry in entries if entry.journal.at < at)


@pytest.mark.django_db
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_any_history_reads_the_same_with_and_without(moves):
    with transaction.atomic():
        firm, at = make_firm(), NOON
        outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="snap")
        wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency="USD")
        times = []
        for number, (micros, minutes, snapshot) in enumerate(moves):
            if snapshot:
                take_snapshots(now=at, least=1, force=True)
            at += timedelta(minutes=minutes)
            times.append(at)
            legs = [Leg(outside, -micros), Leg(wallet, micros)]
            post(ref=f"snap:{firm.pk}:{number}", code=Code.DEPOSIT, legs=legs, now=at)
        take_snapshots(now=at + timedelta(days=1), least=1, force=True)
        for each in {*times, NOON, at + timedelta(days=9)}:
            held = balances_at(each, [wallet.pk, outside.pk])
            assert held == {pk: plainly(pk, each) for pk in (wallet.pk, outside.pk)}
        entries = list(statement(firm=firm, kind=AccountKind.WALLET, currency="USD").order_by("pk"))
        for entry in entries:
            assert balances_after([entry])[entry.pk] == sum(e.amount_micros for e in entries if e.pk <= entry.pk)
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_a_page_of_the_far_past_does_not_read_what_came_after():
    alice = make_firm()
    for number in range(300):
        if number % 50 == 0:
            take_snapshots(now=NOON, least=1, force=True)
        fund(alice, 1_000_000)
    oldest = list(statement(firm=alice, kind=AccountKind.WALLET, currency="USD").order_by("pk")[:3])
    analyse()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        before = entries_read()
        after = balances_after(oldest)
        read = entries_read() - before
    assert [after[entry.pk] for entry in oldest] == [1_000_000, 2_000_000, 3_000_000]
    assert read < 120


@pytest.mark.django_db(transaction=True)
def test_what_counts_for_an_earlier_time_does_not_stop_the_night():
    """Behind an entry of this very minute stands one that counts for yesterday: the platform's account ends before."""
    firm = make_firm()
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="late")
    wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency="USD")
    for ref, happened_at in (("old", NOON - timedelta(days=2)), ("new", NOON), ("late", NOON - timedelta(days=1))):
        legs = [Leg(outside, -1), Leg(wallet, 1)]
        post(ref=ref, code=Code.DEPOSIT, legs=legs, now=NOON, happened_at=happened_at)
    let_older_transactions_end()
    assert take_snapshots(now=NOON, least=1) == 2
    balances = dict(Snapshot.objects.values_list("account", "balance_micros"))
    assert balances == {wallet.pk: 3, outside.pk: -1}


@pytest.mark.django_db(transaction=True)
def test_the_nightly_tick_writes_once_a_night_and_leaves_small_accounts_alone():
    alice = make_firm()
    for _ in range(3):
        fund(alice, 1_000_000)
    let_older_transactions_end()
    assert take_snapshots(now=NOON, least=4) == 0
    assert take_snapshots(now=NOON, least=3) == 1  # the platform's account waits for an hour
    fund(alice, 1)
    let_older_transactions_end()
    assert take_snapshots(now=NOON + timedelta(hours=19), least=1) == 0
    assert take_snapshots(now=NOON + timedelta(hours=21), least=1) == 2
    assert set(Snapshot.objects.values_list("balance_micros", flat=True)) == {3_000_000, 3_000_001, -3_000_001}
    assert take_snapshots(now=NOON + timedelta(days=9), least=1) == 0
    assert Account.objects.count() == 2
