"""The ledger against a dictionary: any sequence of moves, refused or not, leaves both with the same money."""

from __future__ import annotations

import itertools
import os

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from marketplace.ledger.models import Account, AccountKind, Code, Entry
from marketplace.ledger.selectors import account_for, balances_after, entries_total
from marketplace.ledger.services import InsufficientFunds, Leg, post
from tests.factories import NOON, make_firm

CURRENCIES = ("USD", "EUR")
MICROS = st.integers(min_value=0, max_value=3_000)
PURPOSES = st.integers(min_value=0, max_value=5)  # of one currency's accounts
EXAMPLES = 60 if os.environ.get("TRIALS") == "full" else 10
_refs = itertools.count()


class Ledger(RuleBasedStateMachine):
    """Two firms and the platform; the oracle holds a number per account and the refs that were posted."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        alice, bob = make_firm(), make_firm()
        self.accounts = {
            currency: [
                account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref="oracle"),
                account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency=currency),
                account_for(firm=alice, kind=AccountKind.WALLET, currency=currency),
                account_for(firm=alice, kind=AccountKind.ESCROW, currency=currency, ref="ord_1"),
                account_for(firm=bob, kind=AccountKind.WALLET, currency=currency),
                account_for(firm=bob, kind=AccountKind.EARNINGS, currency=currency),
            ]
            for currency in CURRENCIES
        }
        self.money = {account.pk: 0 for each in self.accounts.values() for account in each}
        self.posted: set[str] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)

    @rule(currency=st.sampled_from(CURRENCIES), to=PURPOSES, micros=MICROS)
    def deposit(self, currency, to, micros):
        clearing, payee = self.accounts[currency][0], self.accounts[currency][to]
        self.check([Leg(clearing, -micros), Leg(payee, micros)], f"oracle:{next(_refs)}")

    @rule(
        currency=st.sampled_from(CURRENCIES),
        payer=PURPOSES,
        payees=st.tuples(PURPOSES, PURPOSES),
        parts=st.tuples(MICROS, MICROS),
    )
    def pay(self, currency, payer, payees, parts):
        accounts = self.accounts[currency]
        legs = [Leg(accounts[payer], -sum(parts))]
        legs += [Leg(accounts[payee], part) for payee, part in zip(payees, parts, strict=True)]
        self.check(legs, f"oracle:{next(_refs)}")

    @rule(payers=st.tuples(PURPOSES, PURPOSES), payees=st.tuples(PURPOSES, PURPOSES), micros=MICROS)
    def pay_in_both_currencies(self, payers, payees, micros):
        legs = []
        for accounts, payer, payee in zip(self.accounts.values(), payers, payees, strict=True):
            legs += [Leg(accounts[payer], -micros), Leg(accounts[payee], micros)]
        self.check(legs, f"oracle:{next(_refs)}")

    @rule(to=PURPOSES, micros=MICROS)
    def repeat_a_ref(self, to, micros):
        if self.posted:
            ref = sorted(self.posted)[0]
            self.check([Leg(self.accounts["USD"][0], -micros), Leg(self.accounts["USD"][to], micros)], ref)

    def check(self, legs, ref):
        after = dict(self.money)
        for leg in legs:
            after[leg.account.pk] += leg.amount_micros
        moves = any(leg.amount_micros for leg in legs)
        is_new = moves and ref not in self.posted
        firms = [leg.account.pk for leg in legs if leg.account.is_running]
        if is_new and any(after[pk] < 0 for pk in firms):
            with pytest.raises(InsufficientFunds):
                post(ref=ref, code=Code.CORRECTION, legs=legs, now=NOON)
            return
        assert post(ref=ref, code=Code.CORRECTION, legs=legs, now=NOON) == is_new
        if is_new:
            self.money = after
            self.posted.add(ref)

    @invariant()
    def both_hold_the_same(self):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        for account in Account.objects.filter(pk__in=self.money):
            assert entries_total(account) == self.money[account.pk]
            assert account.balance_micros == (self.money[account.pk] if account.is_running else 0)
            last = Entry.objects.filter(account=account).order_by("pk").last()
            assert last is None or balances_after([last])[last.pk] == self.money[account.pk]


@pytest.mark.django_db
def test_any_sequence_of_moves_agrees_with_the_oracle():
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
