"""The runner with its real parts, on a scripted fleet, against a server on loopback, with a clock of ours."""

from __future__ import annotations

import json
import threading

import pytest
from nacl.signing import SigningKey, VerifyKey

from nodes.agent.client import Backoff, Route
from nodes.agent.conversation import Conversation
from nodes.agent.leases import Leases
from nodes.agent.link import Link
from nodes.agent.nvml import NvmlReader
from nodes.agent.protocol import (
    ACKS_PATH,
    INVENTORY_PATH,
    LOGS_PATH,
    REPORTS_PATH,
    Ack,
    AckBatch,
    FailureReason,
    Inventory,
    LeaseStatus,
    LogTail,
    Phase,
    ReportBatch,
    decode,
    inventory_digest,
)
from nodes.agent.runner import Clock, Parts, Runner
from nodes.agent.spool import Spool
from nodes.agent.state import StateDir
from tests.nodes.agent.conftest import COMMAND_KEY, NODE, command, reply, signed


class RunningLeases:
    """A runtime that runs whatever it is told and stops on the spot: the runner knows `Workloads` alone."""

    runtime = "process"
    ready = True
    problem = None

    def __init__(self):
        self.running = {}
        self.stopped = []
        self.acks = []
        self.logs = []

    def apply(self, wanted):
        if wanted.wanted == "run":
            if wanted.lease not in self.running:
                self.running[wanted.lease] = wanted
                self.acks.append(self._ack(wanted, Phase.RUNNING))
        elif self.running.pop(wanted.lease, None):
            self.acks.append(self._ack(wanted, Phase.STOPPED))

    def stop(self, lease, reason):
        if self.running.pop(lease, None):
            self.stopped.append((lease, reason))

    def stop_all(self, reason):
        for lease in list(self.running):
            self.stop(lease, reason)

    def statuses(self):
        return [LeaseStatus(each.lease, max(each.epochs.values()), Phase.RUNNING) for each in self.running.values()]

    def drain_logs(self):
        logs, self.logs = self.logs, []
        return logs

    def drain_acks(self):
        acks, self.acks = self.acks, []
        return acks

    def is_lease_pid(self, pid):
        return False

    def recover(self):
        pass

    @staticmethod
    def _ack(wanted, phase):
        return Ack(wanted.assignment, wanted.lease, wanted.epochs, phase, 0, 0, 0)


class Host:
    def __init__(self, tmp_path, enrolment):
        self.now = 1_000_000
        self.boot = "boot-1"
        self.enrolment = enrolment
        self.workloads = RunningLeases()
        self.state = StateDir(tmp_path / "state")
        self.state.create()
        self.key = self.state.key()
        self.start()

    def start(self):
        run = self.state.next_run()
        clock = Clock(wall=lambda: self.now, boot=lambda: self.now)
        self.spool = Spool(self.state.folder / "spool.sqlite3", bytes_max=100_000)
        key = VerifyKey(bytes(COMMAND_KEY.verify_key))
        leases = Leases(self.workloads, self.state, key, NODE, run=run, boot=self.boot, now=self.now)
        self.link = Link(self.enrolment, self.key, Route(), wall=clock.wall, boot=clock.boot)
        conversation = Conversation(
            self.link, self.spool, leases, backoff=lambda: Backoff(lambda low, _: low), boot=clock.boot
        )
        reader = NvmlReader(clock=lambda: self.now / 1000)
        parts = Parts(reader, leases, conversation, self.spool, self.state, run, self.boot)
        self.runner = Runner(parts, clock=clock, watch_seconds=0.05)

    def crash(self):
        self.link.close()
        self.spool.close()
        self.start()

    def step(self, seconds=0.0):
        self.now += int(seconds * 1000)
        self.runner.run_once()


@pytest.fixture
def host(tmp_path, enrolment, fleet, server):
    server.answers[REPORTS_PATH] = reply()
    made = Host(tmp_path, enrolment)
    yield made
    made.link.close()
    made.spool.close()


def batches(server):
    return [decode(ReportBatch, body) for body in server.bodies(REPORTS_PATH)]


def acks(server):
    return [ack for body in server.bodies(ACKS_PATH) for ack in decode(AckBatch, body).acks]


def test_it_sends_the_inventory_and_then_reports_that_refer_to_it(host, server):
    host.step()
    assert [path for path, _, _ in server.requests] == [INVENTORY_PATH, REPORTS_PATH]
    inventory = decode(Inventory, server.bodies(INVENTORY_PATH)[0])
    (report,) = batches(server)[0].reports
    assert report.inventory == inventory_digest(inventory)
    assert len(report.cards) == len(inventory.cards) == 2
    assert (report.run, report.seq, report.boot) == (1, 1, "boot-1")


def test_it_reports_every_interval_and_not_in_between(host, server):
    host.step()
    host.step(1)
    assert len(batches(server)) == 1
    host.step(4)
    assert [each.reports[0].seq for each in batches(server)] == [1, 2]


def test_it_takes_the_interval_from_the_server_within_limits(host, server):
    server.answers[REPORTS_PATH] = reply(interval_ms=1)
    host.step()
    host.step(0.5)
    assert len(batches(server)) == 1
    host.step(0.5)
    assert len(batches(server)) == 2


def test_it_reports_at_once_when_the_owner_comes(host, fleet, server):
    host.step()
    fleet.change(0, processes=[{"pid": 4, "mib": 100}])
    host.step(0.5)
    assert len(batches(server)) == 2


def test_it_sends_the_inventory_again_when_wanted_or_changed(host, fleet, server):
    host.step()
    server.answers[REPORTS_PATH] = reply(inventory_wanted=True)
    host.step(5)
    server.answers[REPORTS_PATH] = reply()
    host.step(5)
    assert len(server.bodies(INVENTORY_PATH)) == 2
    fleet.change(1, mig=True)
    host.step(1)
    assert len(server.bodies(INVENTORY_PATH)) == 3


def test_after_an_outage_the_live_report_goes_first_and_the_kept_ones_follow_oldest_first(host, server):
    server.answers[REPORTS_PATH] = (503, {}, b"")
    for _ in range(4):
        host.step(5)
    sent = len(batches(server))
    server.answers[REPORTS_PATH] = reply()
    host.step(30)
    delivered = batches(server)[sent:]
    assert [report.seq for batch in delivered for report in batch.reports] == [5, 1, 2, 3, 4]
    assert len(host.spool) == 0


def test_it_obeys_retry_after(host, server):
    server.answers[REPORTS_PATH] = (429, {"Retry-After": "40"}, b"")
    host.step()
    host.step(39)
    assert len(batches(server)) == 1
    host.step(5)
    assert len(batches(server)) == 2


def test_reports_survive_a_crash_of_the_agent(host, server):
    server.answers[REPORTS_PATH] = (503, {}, b"")
    host.step()
    host.crash()
    server.answers[REPORTS_PATH] = reply()
    host.step(5)
    assert [(report.run, report.seq) for batch in batches(server)[1:] for report in batch.reports] == [(2, 1), (1, 1)]


def test_reports_that_are_refused_for_good_do_not_block_later_ones(host, server):
    def refuse_the_first(body):
        first = any(report.seq == 1 for report in decode(ReportBatch, body).reports)
        return (400, {}, b'{"detail": "bad"}') if first else reply()

    server.answers[REPORTS_PATH] = refuse_the_first
    host.step()
    host.step(10)
    assert len(host.spool) == 0
    host.step(60)
    assert batches(server)[-1].reports[0].dropped == 1


def test_a_signed_command_starts_a_lease_and_its_ack_is_signed(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command()))
    host.step()
    assert list(host.workloads.running) == ["lease_1"]
    (ack,) = acks(server)
    assert (ack.phase, ack.run, ack.mono_ms) == (Phase.RUNNING, 1, host.now)
    host.step(5)
    assert [status.id for status in batches(server)[-1].reports[0].leases] == ["lease_1"]
    assert len(acks(server)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        signed(command(), SigningKey(b"x" * 32)),
        signed(command(node="node_other")),
        signed(command(wanted="explode")),
    ],
    ids=["of another key", "for another node", "of no sense"],
)
def test_it_ignores_a_command(host, server, bad):
    server.answers[REPORTS_PATH] = reply(bad)
    host.step()
    assert host.workloads.running == {}


def test_it_refuses_a_stale_epoch_even_after_a_crash(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(lease="lease_2", epochs={"GPU-a": 3})))
    host.step()
    host.crash()
    server.answers[REPORTS_PATH] = reply(signed(command(lease="lease_1", epochs={"GPU-a": 2})))
    host.step(5)
    host.step(5)
    assert list(host.workloads.running) == ["lease_2"]
    assert [ack.reason for ack in acks(server) if ack.lease == "lease_1"] == [FailureReason.STALE_EPOCH]


def test_a_replayed_start_is_refused_once_its_stop_was_seen(host, server):
    start = signed(command(epochs={"GPU-a": 1}))
    server.answers[REPORTS_PATH] = reply(start)
    host.step()
    server.answers[REPORTS_PATH] = reply(signed(command(wanted="stop", epochs={"GPU-a": 2})))
    host.step(5)
    server.answers[REPORTS_PATH] = reply(start)
    host.step(5)
    assert host.workloads.running == {}


def test_a_stop_passes_when_its_epoch_can_not_be_written_and_a_start_waits(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command()))
    host.step()
    epochs = host.state.folder / "epochs.json"
    epochs.rename(host.state.folder / "kept")
    (epochs / "in the way").mkdir(parents=True)
    start = signed(command(lease="lease_2", epochs={"GPU-b": 1}))
    server.answers[REPORTS_PATH] = reply(start, signed(command(wanted="stop", epochs={"GPU-a": 2})))
    host.step(5)
    assert host.workloads.running == {}
    (epochs / "in the way").rmdir()
    epochs.rmdir()
    server.answers[REPORTS_PATH] = reply(start, signed(command(epochs={"GPU-a": 1})))
    host.step(5)
    assert list(host.workloads.running) == ["lease_2"]
    assert host.state.epochs()["GPU-a"].epoch == 2


def test_a_newer_lease_of_a_card_ousts_the_older(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(lease="lease_1")))
    host.step()
    server.answers[REPORTS_PATH] = reply(signed(command(lease="lease_2", epochs={"GPU-a": 2})))
    host.step(5)
    assert host.workloads.stopped == [("lease_1", FailureReason.STALE_EPOCH)]
    assert list(host.workloads.running) == ["lease_2"]


def test_acks_are_repeated_until_they_are_answered(host, server):
    server.answers[ACKS_PATH] = (503, {}, b"")
    server.answers[REPORTS_PATH] = reply(signed(command()))
    host.step()
    host.crash()
    server.answers[ACKS_PATH] = (204, {}, b"")
    host.step(10)
    first, second = acks(server)
    assert first == second
    host.step(10)
    assert len(acks(server)) == 2


def test_one_ack_that_is_refused_for_good_costs_no_other(host, server):
    def refuse_the_third(body):
        refused = any(each.lease == "lease_3" for each in decode(AckBatch, body).acks)
        return (400, {}, b'{"detail": "bad"}') if refused else (204, {}, b"")

    server.answers[ACKS_PATH] = refuse_the_third
    starts = [signed(command(lease=f"lease_{n}", epochs={f"GPU-{n}": 1})) for n in range(1, 8)]
    server.answers[REPORTS_PATH] = reply(*starts)
    host.step()
    taken = [
        ack.lease
        for body in server.bodies(ACKS_PATH)
        if refuse_the_third(body)[0] == 204
        for ack in decode(AckBatch, body).acks
    ]
    assert taken == [f"lease_{n}" for n in (1, 2, 4, 5, 6, 7)]
    assert host.spool.acks(10)[0] == []


def test_one_replayed_report_that_is_refused_for_good_costs_no_other(host, server):
    def refuse_the_second(body):
        refused = any(report.seq == 2 for report in decode(ReportBatch, body).reports)
        return (400, {}, b'{"detail": "bad"}') if refused else reply()

    server.answers[REPORTS_PATH] = (503, {}, b"")
    for _ in range(8):
        host.step(60)
    server.answers[REPORTS_PATH] = refuse_the_second
    for _ in range(6):
        host.step(60)
    assert len(host.spool) == 0
    assert host.spool.dropped == 1


def test_a_log_is_kept_until_it_is_taken_and_the_newest_wins(host, server):
    server.answers[LOGS_PATH] = (503, {}, b"")
    host.workloads.logs = [LogTail("asg_1", "one")]
    host.step()
    server.answers[LOGS_PATH] = (204, {}, b"")
    host.workloads.logs = [LogTail("asg_1", "one\ntwo"), LogTail("asg_2", "x")]
    host.step(10)
    host.step(10)
    sent = [decode(LogTail, body) for body in server.bodies(LOGS_PATH)]
    assert sent == [LogTail("asg_1", "one"), LogTail("asg_1", "one\ntwo"), LogTail("asg_2", "x")]


def test_a_log_that_will_never_be_taken_is_given_up(host, server):
    server.answers[LOGS_PATH] = (400, {}, b"")
    host.workloads.logs = [LogTail("asg_1", "one")]
    host.step()
    host.step(10)
    assert len(server.bodies(LOGS_PATH)) == 1


def test_a_service_that_takes_no_acks_does_not_hold_reports_back(host, server):
    server.answers[ACKS_PATH] = (503, {}, b"")
    server.answers[REPORTS_PATH] = reply(signed(command()))
    host.step()
    host.step(5)
    assert len(batches(server)) == 2
    assert len(host.spool) == 0


def test_leases_end_when_the_server_is_silent_for_their_ttl(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(ttl_seconds=60)))
    host.step()
    server.answers[REPORTS_PATH] = (503, {}, b"")
    host.step(60)
    assert host.workloads.running
    host.step(1)
    assert host.workloads.stopped == [("lease_1", FailureReason.LEASE_TTL_LAPSED)]


def test_starts_of_the_agent_do_not_renew_a_lease_and_keep_its_ttl(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(ttl_seconds=60)))
    host.step()
    server.answers[REPORTS_PATH] = (503, {}, b"")
    for _ in range(2):
        host.step(30)
        host.crash()
    assert host.workloads.running
    host.step(1)
    assert host.workloads.stopped == [("lease_1", FailureReason.LEASE_TTL_LAPSED)]


@pytest.mark.parametrize("kept", [b"", b"[]", b'{"boot": 1}'])
def test_what_can_not_be_read_or_is_of_an_earlier_boot_counts_from_the_start(host, server, kept):
    server.answers[REPORTS_PATH] = reply(signed(command(ttl_seconds=60)))
    host.step()
    server.answers[REPORTS_PATH] = (503, {}, b"")
    if kept:
        (host.state.folder / "heard.json").write_bytes(kept)
    else:
        host.boot = "boot-2"
    host.now += 61_000
    host.crash()
    host.step(1)
    assert host.workloads.running


def test_every_reply_renews_the_leases_that_it_names_and_no_other(host, server):
    both = [signed(command(ttl_seconds=60)), signed(command(lease="lease_2", epochs={"GPU-b": 1}, ttl_seconds=60))]
    server.answers[REPORTS_PATH] = reply(*both)
    host.step()
    server.answers[REPORTS_PATH] = reply(both[0])
    for _ in range(5):
        host.step(50)
    assert list(host.workloads.running) == ["lease_1"]
    assert host.workloads.stopped == [("lease_2", FailureReason.LEASE_TTL_LAPSED)]


def test_starts_of_the_agent_do_not_renew_a_lease_that_the_server_no_longer_names(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(ttl_seconds=60)))
    host.step()
    server.answers[REPORTS_PATH] = reply()
    for _ in range(3):
        host.step(20)
        host.crash()
    host.step(1)
    assert host.workloads.stopped == [("lease_1", FailureReason.LEASE_TTL_LAPSED)]


def test_when_the_server_was_heard_is_read_from_the_file_of_an_earlier_version(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command(ttl_seconds=60)))
    host.step()
    old = {"boot": "boot-1", "at_ms": host.now, "ttl_seconds": {"lease_1": 60}}
    (host.state.folder / "heard.json").write_text(json.dumps(old))
    server.answers[REPORTS_PATH] = (503, {}, b"")
    host.crash()
    host.step(60)
    assert host.workloads.running
    host.step(1)
    assert host.workloads.stopped == [("lease_1", FailureReason.LEASE_TTL_LAPSED)]


def test_the_owner_can_drain_and_stop_now(host, server):
    server.answers[REPORTS_PATH] = reply(signed(command()))
    host.step()
    server.answers[REPORTS_PATH] = reply()
    host.state.ask_stop_now()
    host.step(1)
    assert host.workloads.stopped == [("lease_1", FailureReason.OWNER_STOPPED)]
    assert batches(server)[-1].reports[0].draining
    host.state.set_draining(False)
    host.step(5)
    assert not batches(server)[-1].reports[0].draining


def test_it_keeps_a_status_for_the_owner(host, server):
    server.answers[REPORTS_PATH] = (500, {}, b'{"detail": "on fire"}')
    host.step()
    status = host.state.status()
    assert "on fire" in status["problem"]
    assert status["spooled"] == 1
    assert len(status["cards"]) == 2


def test_what_keeps_leases_away_is_in_the_inventory_and_the_status(host, server):
    host.workloads.runtime, host.workloads.problem = "none", "nft: install nftables"
    host.step()
    assert decode(Inventory, server.bodies(INVENTORY_PATH)[-1]).runtime == "none"
    assert host.state.status()["runtime_problem"] == "nft: install nftables"
    host.workloads.runtime, host.workloads.problem = "docker", None
    host.step(5)
    assert decode(Inventory, server.bodies(INVENTORY_PATH)[-1]).runtime == "docker"


def test_it_ends_to_be_started_anew_when_the_driver_was_replaced_under_it(host, fleet):
    host.step()
    fleet.write(init_error=18)  # the library in this process is older than the driver
    host.step(61)
    host.step(61)
    host.runner.run_forever(threading.Event())
    assert host.runner.snapshot.stale_library


def test_it_runs_until_it_is_told_to_end(host, server):
    stop = threading.Event()
    reported = threading.Event()

    def answer(_body):
        reported.set()
        return reply()

    server.answers[REPORTS_PATH] = answer
    thread = threading.Thread(target=host.runner.run_forever, args=[stop])
    thread.start()
    assert reported.wait(10)
    stop.set()
    host.runner.wake()
    thread.join(10)
    assert not thread.is_alive()
