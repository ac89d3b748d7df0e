"""Many entries with a few faults among them; and real flows over HTTP, of which one booking is lost and found."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, Posting, post_many
from marketplace.payments.disputes import collect_debts
from marketplace.payments.gateway import BookEntry
from marketplace.payments.models import Deposit, Difference, PaymentDispute, PlatformPayout, ReconciliationRun
from marketplace.payments.reconciliation.core import Booked, Key, Kind
from marketplace.payments.reconciliation.selectors import books_of
from marketplace.payments.reconciliation.services.comparing import compare
from marketplace.payments.reconciliation.services.reading import keep_entries
from marketplace.payments.refunds import refund_deposit
from marketplace.payments.transfers import send_earnings
from tests.factories import make_firm
from tests.marketplace.payments.reconciliation.conftest import DOLLAR, at_stripe, suspense
from tests.marketplace.payments.reconciliation.planting import CENT, READ_AT, Planted, plant
from tests.marketplace.payments.reconciliation.test_runs import lose_a_payment
from tests.marketplace.payments.test_trials import earn, finish, ready_sellers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.trial, pytest.mark.timeout(7200)]
FULL = os.environ.get("TRIALS") == "full"
ENTRIES, FAULTS, FLOWS = (10_000, 100, 100) if FULL else (600, 27, 8)
YOUNG = READ_AT - timedelta(minutes=20)


def on_their_way(here: Planted) -> None:
    """What is no difference: news that is minutes old, on either side, and entries of nothing."""
    for number in range(20):
        name = here.pair(90_000 + number, (number + 1) * CENT, at=YOUNG)
        if number % 2:
            here.booked.remove(here.journal(name))
        else:
            here.booked.append(replace(here.journal(name), ref=f"stripe:txn_{number}_of_now"))
    here.booked.remove(here.journal(here.pair(99_999, 0)))


def write(here: Planted) -> ReconciliationRun:
    """Both sides into the database, and a run whose list was read."""
    told = [(each.first or each, each) for each in here.entries.values()]
    keep_entries("stripe", [_as_told(first) for first, _ in told], READ_AT)
    keep_entries("stripe", [_as_told(now) for first, now in told if first is not now], READ_AT)
    by_time = defaultdict(lambda: defaultdict(list))
    for each in here.booked:
        by_time[each.at][each.ref].append(each)
    accounts: dict[str, tuple] = {}
    for at, refs in by_time.items():
        post_many([_posting(ref, rows, accounts) for ref, rows in refs.items()], now=at)
    PlatformPayout.objects.bulk_create(
        PlatformPayout(
            gateway="stripe", object_id=each.id, currency=each.currency, amount_micros=abs(each.amount_micros),
            is_automatic=True, parts=list(each.parts or ()), state="arrived", happened_at=each.at, arrives_at=each.at,
        )
        for each in here.payouts
    )  # fmt: skip
    return ReconciliationRun.objects.create(
        gateway="stripe", asked_at=READ_AT, next_try_at=READ_AT, read_at=READ_AT, is_read=True, reads_count=1,
        holdings={currency: [micros, 0] for currency, micros in here.books().holdings.items()},
    )  # fmt: skip


def _as_told(each) -> BookEntry:
    return BookEntry(
        each.id, each.type, each.currency, each.amount_micros, each.fee_micros, each.net_micros, each.source, each.at,
        each.at,
    )  # fmt: skip


def _posting(ref: str, rows: list[Booked], accounts: dict[str, tuple]) -> Posting:
    legs = []
    for each in rows:
        if each.currency not in accounts:
            accounts[each.currency] = (
                account_for(firm=None, kind=AccountKind.CLEARING, currency=each.currency, ref="stripe"),
                account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=each.currency, ref="stripe"),
                account_for(firm=None, kind=AccountKind.OWN, currency=each.currency),
            )
        amounts = (-each.net_micros, -each.fee_micros, each.amount_micros)
        legs += [
            Leg(account, micros) for account, micros in zip(accounts[each.currency], amounts, strict=True) if micros
        ]
    return Posting(ref=ref, code=Code.DEPOSIT, legs=tuple(legs), subject="", data={})


def test_every_planted_difference_is_found_and_none_that_is_not_there(tell):
    here = plant(ENTRIES, FAULTS)
    on_their_way(here)
    run = write(here)
    began = time.monotonic()
    left_in = books_of(run)
    assert compare(run, READ_AT)
    seconds = time.monotonic() - began
    found = {Key(Kind(each.kind), each.subject, each.currency) for each in Difference.objects.all()}
    whole = books_of(run, leave_out=False)
    kinds = Counter(str(key.kind) for key in {(key.kind, key.subject): key for key in found}.values())
    tell(
        f"{len(whole.entries)} entries and {len(whole.booked)} journals (TRIALS=full: 10 000), {FAULTS} planted: "
        f"{len({key.subject for key in found & here.keys})} found, {len(found - here.keys)} false, "
        f"{len(here.keys - found)} missed, {dict(sorted(kinds.items()))}; {len(left_in.entries)} entries were left to "
        f"compare, {seconds:.1f} s"
    )
    assert found == here.keys
    assert len({key.subject for key in found}) == FAULTS
    on_its_way = sum(-n if n % 2 else n for n in range(1, 21)) * -CENT  # booked here, and told there, by turns
    for currency, held in here.books().holdings.items():
        assert at_stripe(currency) == held + (on_its_way if currency == "USD" else 0)
    again = ReconciliationRun.objects.create(
        gateway="stripe", asked_at=READ_AT, next_try_at=READ_AT, read_at=READ_AT, is_read=True, reads_count=1,
        holdings=run.holdings,
    )  # fmt: skip
    assert compare(again, READ_AT)
    assert Difference.objects.filter(state="open").count() == Difference.objects.count() == len(here.keys)


def test_real_flows_reconcile_and_a_lost_booking_is_found_and_closed(here, night, settings, tell):
    settings.EARNINGS_CLEAR_DAYS, settings.TRANSFER_MICROS_MIN = 0, 1
    sellers = ready_sellers(here, 3)
    firms = [make_firm() for _ in range(4)]
    cards = ("pm_card_bypassPending", "pm_card_visa", "pm_card_bypassPending", "pm_card_createDispute")
    for number in range(FLOWS):
        firm = firms[number % 4]
        deposit = here.paid(firm, (50 + number) * DOLLAR, key=f"flow{number}", card=cards[number % 4])
        if number % 4 == 0:
            refund_deposit(
                firm=firm, deposit_id=deposit.public_id, amount_micros=7 * DOLLAR, key=f"back{number}", now=here.now,
                actor="trial",
            )  # fmt: skip
        if number % 4 == 2:
            earn(here, firm, sellers[number % 3], number)
            send_earnings(now=here.now)
        finish(here)
    here.advance(minutes=2)
    here.hear()
    finish(here)
    here.sim.client().v1.payouts.create({"amount": 1000, "currency": "usd"})
    here.hear()
    collect_debts(now=here.now)
    here.advance(hours=2)
    here.hear()
    run = night.run()
    entries = sum(1 for _ in books_of(run, leave_out=False).entries)
    assert (run.found_count, night.open(), suspense()) == (0, [], 0)
    assert PaymentDispute.objects.count() == FLOWS // 4
    before, lost = at_stripe(), lose_a_payment(here, night)
    found = night.run()
    assert [kind for kind, _, _ in night.open()] == ["not_booked"]
    assert at_stripe() == before + suspense() == before + night.open()[0][2]
    here.hear()
    closed = night.run()
    tell(
        f"{FLOWS} payments over HTTP (TRIALS=full: 100) with refunds, transfers, disputes and a payout, "
        f"{entries} entries: {run.found_count} differences; one booking lost: {found.found_count} found, "
        f"then {closed.found_count}"
    )
    assert (closed.found_count, night.open(), suspense()) == (0, [], 0)
    assert at_stripe() == before + Difference.objects.get().off_micros
    assert Deposit.objects.get(pk=lost.pk).state == "confirmed"
    assert balance_micros(firm=lost.firm, kind=AccountKind.WALLET, currency="USD") == 40 * DOLLAR
