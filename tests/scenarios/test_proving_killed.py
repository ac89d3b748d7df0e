"""Workers that are killed in the middle of anything: every node is proven once, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from marketplace.common import clock
from marketplace.events.models import Event
from marketplace.leases.models import ProvingLease
from marketplace.leases.services.proving import activate_proving_leases, reachable_proving_leases
from nodes.models import Assignment, Claim, Node, NodeProof, RelayPort
from tests.hosts import Host
from tests.market import Market, answers
from tests.nodes.ingest.process import ROOT, until, with_database
from tests.storefront import RunningClock

FULL = os.environ.get("TRIALS") == "full"
NODES = 60 if FULL else 8
KILLS = 40 if FULL else 3
WORKERS = 2
# The beat's task, without a pause; it says so once it works, so that a kill hits it at work.
WORKER = """
import django; django.setup()
from marketplace.common import clock
from marketplace.leases.services.proving import prove_nodes
prove_nodes(now=clock.now())
print("at work", flush=True)
while True: prove_nodes(now=clock.now())
"""
PATIENT = {"PROVING_LEASE_SECONDS": "1", "STALE_SECONDS": "3600", "LOST_SECONDS": "3600"}


class Workers:
    """Some processes on the test's own database."""

    def __init__(self) -> None:
        url = with_database(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
        self.environment = os.environ | PATIENT | {"DATABASE_URL": url, "PLATFORM_COUNTRY": "DE"}
        self.running = [self.start() for _ in range(WORKERS)]
        self.killed = 0

    def start(self) -> subprocess.Popen[str]:
        """One, at work."""
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline() == "at work\n"
        return process

    def kill_one(self) -> None:
        """SIGKILL, and a new one."""
        number = self.killed % WORKERS
        self.end(self.running[number])
        self.running[number] = self.start()
        self.killed += 1

    def end(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@contextlib.contextmanager
def running_workers() -> Iterator[Workers]:
    workers = Workers()
    try:
        yield workers
    finally:
        for each in workers.running:
            workers.end(each)


def obey(host: Host) -> None:
    """What an agent does with the command that it has now."""
    now = clock.now()
    host.report(now)
    wanted = Assignment.objects.filter(node=host.node).exclude(seen="exited").values_list("wanted", flat=True)
    if "stop" in wanted:
        host.stop_everything(now)
    elif "run" in wanted:
        host.run_everything(now)


@pytest.mark.trial
@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_every_node_is_proven_once_whatever_is_killed(tell):
    market = Market(RunningClock())
    hosts = [market.host(count=2, proven_at=None) for _ in range(NODES)]
    for host in hosts:
        market.list_cards_without_round(host)

    def all_proven() -> bool:
        for host in hosts:
            obey(host)
        reachable = reachable_proving_leases(now=clock.now(), probe=answers)
        activate_proving_leases(lease_ids=reachable, now=clock.now())
        if workers.killed < KILLS and ProvingLease.objects.exists():
            workers.kill_one()
        return not Node.objects.filter(proven_at=None).exists()

    with running_workers() as workers:
        until(all_proven, 600)
        while workers.killed < KILLS:
            workers.kill_one()
    tell(f"{NODES} nodes proven by {WORKERS} workers, {KILLS} kills (TRIALS=full: 60, 40)")
    proven = list(Event.objects.filter(type="node.proven").values_list("subject", flat=True))
    assert sorted(proven) == sorted(host.node.public_id for host in hosts)
    assert not Event.objects.filter(type="node.proving_failed").exists()
    assert ProvingLease.objects.count() == Assignment.objects.count() == Claim.objects.count() == NODES
    assert set(ProvingLease.objects.values_list("state", "end_reason")) == {("ended", "window_over")}
    assert not ProvingLease.objects.filter(cards_freed_at=None).exists() and not NodeProof.objects.exists()
    assert not RelayPort.objects.exclude(holder="").exists()
    assert not Claim.objects.filter(period__contains=clock.now()).exists()
