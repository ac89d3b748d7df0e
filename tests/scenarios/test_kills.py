"""kill -9 of web, worker and beat at points of chance while money moves: nothing is lost, nothing happens twice."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from marketplace.common import clock
from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases, start_reserved_leases
from marketplace.leases.services.starting import activate_leases, reachable_leases
from marketplace.ledger.models import Entry, Journal
from marketplace.matching.rounds import run_round
from marketplace.orders.models import Order
from marketplace.payments import inbox, inbox_worker, outbox_worker
from marketplace.payments.models import (
    Deposit,
    DepositRefund,
    GatewayCall,
    GatewayNotice,
    Payout,
    SavedCard,
    SellerTransfer,
    TopUpRule,
)
from marketplace.payments.payouts.services.details import change_bank_details
from marketplace.payments.sellers import account_seen, open_account
from marketplace.payments.states import SellerAccountState
from marketplace.settlement.services import settle_leases
from tests.factories import fund, make_firm, make_key, make_person
from tests.hosts import Host
from tests.market import USD, Market, answers
from tests.nodes.ingest.process import with_database
from tests.reconciled import unreconciled
from tests.scenarios.payers import Depositor, Orderer, Payee, Payer
from tests.scenarios.till import KILLED, Till, new_till
from tests.storefront import RunningClock
from tests.stripesim import Simulated, every, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.trial]
FULL = os.environ.get("TRIALS") == "full"
KILLS = int(os.environ.get("KILLS") or (200 if FULL else 6))
ACCEPTED_KINDS = {"deposit", "refund", "payout", "order"}
LONGEST_S = 1.0 if FULL else 0.4  # between two kills
REQUEST_FAULTS = {"reply_lost": 0.05, "error_after": 0.04, "error": 0.03, "rate_limit": 0.03, "conflict": 0.03}
EVENT_FAULTS = {"duplicate": 0.2, "reorder": 0.2, "drop": 0.05, "forge": 0.05}
SETTINGS = {
    "STRIPE_SECRET_KEY": "sk_test_fallow",
    "EARNINGS_CLEAR_DAYS": "0",
    "TRANSFER_MICROS_MIN": "10000",
    "PAYOUT_MINIMUMS": "USD=1",
    "PAYOUT_RESERVE_BASIS_POINTS": "0",
    "TOP_UPS_PER_DAY_MAX": "1000000",
    "SETTLE_SECONDS": "1",
    "STALE_SECONDS": "3600",
    "LOST_SECONDS": "3600",
    "OPEN_ORDERS_MAX": "1000000",
    "CARD_DEPOSITS_PER_DAY_MAX": "1000000",  # a payer that never rests is soon past what a new firm may pay by card
    "CARD_DAY_LIMITS": "USD=1000000000",
    "CARD_WEEK_LIMITS": "USD=1000000000",
    "MATCH_INTERVAL_MS": "250",
}
PRICE = 3_600 * USD  # an hour: a dollar a second, so that there is something to pay out


@dataclass
class Scene:
    """Who pays, who is paid, and what was hit so far."""

    till: Till
    sim: Simulated
    payers: list[Payer]
    hosts: list[Host]
    rules: list[TopUpRule]
    chance: random.Random = field(default_factory=lambda: random.Random(4))
    died: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    orphans: set[tuple[str, int, int]] = field(default_factory=set)

    def report(self) -> None:
        """Every host says that its leases run."""
        for host in self.hosts:
            host.report(clock.now())

    def in_flight(self, name: str) -> Counter[str]:
        """What a process is at: requests that wait for an answer, or rows that were taken and not settled yet."""
        if name == "web":
            return Counter(f"request: {payer.doing}" for payer in self.payers if payer.doing)
        if name == "beat":
            return Counter(["clock"])
        taken: Counter[str] = Counter()
        now = clock.now()
        due = {"next_try_at__gt": now + timedelta(seconds=115), "next_try_at__lte": now + timedelta(seconds=120)}
        for pk, tries, what in GatewayCall.objects.filter(**due).values_list("pk", "attempts", "operation"):
            taken.update(self._orphan("call", pk, tries, what))
        for pk, tries, what in GatewayNotice.objects.filter(**due).values_list("pk", "attempts", "object_type"):
            taken.update(self._orphan("notice", pk, tries, what))
        return taken or Counter(["tick"])

    def _orphan(self, kind: str, pk: int, tries: int, what: str) -> list[str]:
        fresh = (kind, pk, tries) not in self.orphans
        self.orphans.add((kind, pk, tries))
        return [f"{kind}: {what}"] if fresh else []


@pytest.fixture
def configured(settings, tmp_path: Path, stripesim_running: Simulated) -> Till:
    """The processes' environment, and the same settings here: what is left at the end is done in this process."""
    port = new_till(tmp_path, {})
    hook = f"http://127.0.0.1:{port.web_port}/stripe/webhook"
    client = stripesim_running.client()
    endpoints = [
        client.v1.webhook_endpoints.create({"url": hook, "enabled_events": ["*"], "connect": connect})
        for connect in (False, True)
    ]
    name = connection.settings_dict["NAME"]
    port.given = SETTINGS | {
        "DATABASE_URL": with_database(os.environ["DATABASE_URL"], name),
        "DATABASE_OWNER_URL": with_database(os.environ["DATABASE_OWNER_URL"], name),
        "REDIS_URL": with_database(os.environ["REDIS_URL"], "9"),
        "STRIPE_API_URL": stripesim_running.url,
        "STRIPE_WEBHOOK_SECRETS": ",".join(str(each.secret) for each in endpoints),
        "PLATFORM_COUNTRY": "DE",
    }
    settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL = SETTINGS["STRIPE_SECRET_KEY"], stripesim_running.url
    settings.EARNINGS_CLEAR_DAYS, settings.SETTLE_SECONDS, settings.STALE_SECONDS = 0, 1, 3600
    return port


@pytest.fixture
def stripesim_running(tmp_path: Path):
    """A simulator whose clock runs."""
    running = Simulated(tmp_path)
    yield running
    assert running.finish()["deliveries"].get("forged_taken", 0) == 0


@pytest.fixture
def scene(configured: Till, stripesim_running: Simulated):
    """Everybody is there and everything runs."""
    sim = stripesim_running
    market = Market(RunningClock())
    seller, wired = make_firm("Alice"), make_firm("Wanda", country="NG")
    hosts = [Host(firm, clock.now(), count=4) for firm in (seller, wired)]
    _lease_out(market, hosts)
    _paid_by_stripe(seller, sim)
    now = clock.now()
    change_bank_details(
        firm=wired, person=make_person(wired), password="correct horse battery", address="192.0.2.1",
        holder="Wanda", account="DE89370400440532013000", bic="", now=now - timedelta(days=30),
    )  # fmt: skip
    buyers = [make_firm() for _ in range(2)]
    payers: list[Payer] = [
        *(Depositor(configured, make_key(make_firm(), "read", "finance"), f"depositor {n}", sim) for n in range(3)),
        *(Orderer(configured, make_key(firm, "read", "trade"), f"orderer {n}") for n, firm in enumerate(buyers)),
        Payee(configured, make_key(wired, "read", "finance"), "payee"),
    ]
    scene = Scene(configured, sim, payers, hosts, [_topped_up(firm, sim, now) for firm in buyers])
    spare = Host(seller, now, count=8)
    market.list_cards_without_round(spare)
    scene.report()
    configured.start()
    try:
        assert until(lambda: all(configured.is_up(name) for name in KILLED), 60)
        yield scene
    finally:
        for payer in payers:
            payer.ended.set()
        configured.stop()


def _lease_out(market: Market, hosts: list[Host]) -> None:
    """Every card of the hosts is leased to Bob for a dollar a second, and the leases run."""
    fund(market.bob, 10**12)
    for host in hosts:
        market.list_cards_without_round(host, ask=PRICE)
        for _ in host.cards:
            assert market.order(max_price_per_gpu_hour=f"{PRICE // USD}").status_code in {201, 202}
    run_round(now=clock.now())
    start_reserved_leases(now=clock.now())
    for host in hosts:
        host.run_everything(clock.now())
    advance_leases(now=clock.now())
    activate_leases(lease_ids=reachable_leases(now=clock.now(), probe=answers), now=clock.now())
    assert Lease.objects.filter(state="active").count() == sum(len(host.cards) for host in hosts)


def _paid_by_stripe(firm: Any, sim: Simulated) -> None:
    account, _ = open_account(firm=firm, idempotency_key="open", now=clock.now())
    while outbox_worker.work_one(now=clock.now()):
        pass
    account.refresh_from_db()
    sim.sim("onboard", {"account": account.account_id})
    while inbox_worker.work_one(now=clock.now()):
        pass
    fact = {"account_id": account.account_id, "due": [], "is_ready": True, "is_refused": False}
    account_seen(fact, clock.now())
    account.refresh_from_db()
    assert account.state == SellerAccountState.READY


def _topped_up(firm: Any, sim: Simulated, now: datetime) -> TopUpRule:
    client = sim.client()
    customer = client.v1.customers.create({}).id
    method = client.v1.payment_methods.attach("pm_card_bypassPending", {"customer": customer}).id
    SavedCard.objects.create(firm=firm, gateway="stripe", customer_id=customer, method_id=method)
    return TopUpRule.objects.create(
        firm=firm, currency="USD", below_micros=100 * USD, amount_micros=50 * USD, created_at=now
    )


@pytest.mark.timeout(3600)
def test_whatever_is_killed_nothing_is_lost_and_nothing_happens_twice(scene: Scene, tell):
    scene.sim.sim("faults", {"seed": 5, "requests": REQUEST_FAULTS, "events": EVENT_FAULTS})
    for payer in scene.payers:
        payer.start()
    for _ in range(KILLS):
        kill_one(scene)
        assert not [payer.wrong for payer in scene.payers if payer.wrong]
    assert until(lambda: not lacking(scene), 120), lacking(scene)
    for payer in scene.payers:
        payer.ended.set()
    until(lambda: scene.till.is_up("web"), 60)
    for payer in scene.payers:
        payer.join(60)
        assert not payer.is_alive()
        assert payer.wrong is None
    check_repeats(scene)
    drain(scene)
    for line in [*what_was_hit(scene), *check_stripe(scene)]:
        tell(f"kills: {line}")
    check_posts(scene)
    assert sum(Entry.objects.values_list("amount_micros", flat=True)) == 0
    call_command("audit_ledger", verbosity=0)
    call_command("audit_escrow", verbosity=0)


def kill_one(scene: Scene) -> None:
    """Wait a moment of chance, then kill one of those that are up."""
    threading.Event().wait(scene.chance.uniform(0, LONGEST_S))
    scene.report()
    up: list[str] = []
    assert until(lambda: bool(up.extend(name for name in KILLED if scene.till.is_up(name)) or up), 60)
    name = scene.chance.choice(up)
    scene.hit.update(scene.in_flight(name))
    scene.died[f"{name}: {scene.till.kill_some(name, scene.chance)}"] += 1


def lacking(scene: Scene) -> list[str]:
    """What has not happened yet, so that its checks at the end would compare nothing."""
    made = {kind for payer in scene.payers for kind in payer.made}
    sent = {"refund by Stripe": DepositRefund, "transfer by Stripe": SellerTransfer}
    unsent = [name for name, model in sent.items() if not model.objects.exclude(object_id="").exists()]
    return sorted(ACCEPTED_KINDS - made) + unsent


def drain(scene: Scene) -> None:
    """The processes end; what they left is done here, with a time at which all of it is due."""
    scene.till.stop()
    scene.sim.sim("faults", {})
    scene.report()
    settle_leases(now=clock.now() + timedelta(seconds=2))
    for round_ in range(40):
        later = clock.now() + round_ * timedelta(minutes=20)
        while outbox_worker.work_one(now=later):
            pass
        inbox.fill_gaps(now=clock.now())
        while inbox_worker.work_one(now=later):
            pass
        calls, notices = (each.objects.filter(state="waiting").exists() for each in (GatewayCall, GatewayNotice))
        if not calls and not notices:
            break
    assert not GatewayCall.objects.exclude(state="done").exists()
    assert not GatewayNotice.objects.exclude(state="done").exists()


def what_was_hit(scene: Scene) -> list[str]:
    """What was killed and what that hit."""
    made: Counter[str] = Counter()
    for payer in scene.payers:
        made.update({kind: len(posts) for kind, posts in payer.made.items()})
    seen = sum((payer.seen for payer in scene.payers), Counter())
    counts = {"journals": Journal.objects.count(), "transfers": SellerTransfer.objects.count()}
    counts |= {"top-ups": Deposit.objects.exclude(rule=None).count(), "leases": Lease.objects.count()}
    return [
        f"{KILLS} of web, worker and beat (TRIALS=full: 200): {dict(sorted(scene.died.items()))}",
        f"hit: {dict(scene.hit.most_common())}",
        f"accepted: {dict(made)} of {sum(seen.values())} answers {dict(seen)}; {counts}",
    ]


def check_posts(scene: Scene) -> None:
    """Every accepted POST has its one effect, and nothing is there that nobody asked for."""
    kinds = {
        "deposit": Deposit.objects.filter(rule=None),
        "refund": DepositRefund.objects.all(),
        "payout": Payout.objects.filter(week=""),
        "order": Order.objects.exclude(firm__name="Bob"),
    }
    for kind, rows in kinds.items():
        asked = [public_id for payer in scene.payers for _, _, public_id in payer.made.get(kind, {}).values()]
        assert asked, f"no {kind} was accepted"
        assert sorted(rows.values_list("public_id", flat=True)) == sorted(asked), kind
    for payer in scene.payers:
        if isinstance(payer, Depositor):
            on_the_page = {*payer.paid, *payer.confirmed}
            assert not Deposit.objects.filter(public_id__in=on_the_page).exclude(state="confirmed").exists()


def check_repeats(scene: Scene) -> None:
    """A sample of what was accepted, asked for again under its key: it is the same thing."""
    for payer in scene.payers:
        for kind, posts in payer.made.items():
            for key, (path, body, public_id) in list(posts.items())[:: max(1, len(posts) // 10)]:
                _, answer = payer.insist("POST", path, body, Idempotency_Key=key)
                assert answer["id"] == public_id, (kind, answer)


def check_stripe(scene: Scene) -> list[str]:
    """Each of Stripe's objects belongs to exactly one of ours, and each of its entries to one ledger ref."""
    client = scene.sim.client()
    paid = Counter(
        each.metadata["deposit"] for each in every(client.v1.payment_intents.list) if each.status == "succeeded"
    )
    confirmed = Deposit.objects.filter(state="confirmed").values_list("public_id", flat=True)
    assert paid == Counter(confirmed)
    refunds, transfers = every(client.v1.refunds.list), every(client.v1.transfers.list)
    assert sorted(each.id for each in refunds) == sorted(DepositRefund.objects.values_list("object_id", flat=True))
    assert sorted(each.id for each in transfers) == sorted(SellerTransfer.objects.values_list("object_id", flat=True))
    assert refunds and transfers
    assert not DepositRefund.objects.exclude(state="paid").exists()
    assert not SellerTransfer.objects.exclude(state="paid").exists()
    differences, entries = unreconciled(client)
    assert differences == []
    return [f"{entries} entries of Stripe's books, each of them once in the ledger"]
