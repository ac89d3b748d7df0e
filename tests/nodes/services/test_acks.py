"""What nodes say of their assignments: cleaned one by one, and an end stays an end."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest

from marketplace.common.errors import Invalid
from nodes.agent import protocol
from nodes.agent.protocol import Ack, AckBatch, FailureReason, LogTail, Phase, WorkloadSpec
from nodes.models import Assignment, AssignmentLog, RelayPort
from nodes.services.acks import read_acks
from nodes.services.assignments import assign, record_acks, revoke
from nodes.services.logs import record_log
from nodes.states import Seen
from tests.factories import NOON, make_firm
from tests.hosts import HOST_KEY, Host

pytestmark = pytest.mark.django_db
SPEC = WorkloadSpec(image="fallow/demo", ssh_public_key=HOST_KEY)


@pytest.fixture
def host() -> Host:
    RelayPort.objects.bulk_create([RelayPort(port=port) for port in (20000, 20001)], ignore_conflicts=True)
    return Host(make_firm(), NOON)


def wanted(host: Host, holder: str, card: int = 0) -> Assignment:
    return assign(node=host.node, holder=holder, cards=[host.cards[card]], spec=SPEC, now=NOON)


def ack_of(assignment: Assignment, phase: Phase = Phase.RUNNING, *, run: int = 1, seq: int = 1, **said) -> Ack:
    return Ack(assignment.public_id, assignment.holder, assignment.epochs, phase, run, seq, 0, **said)


def say(assignment: Assignment, *acks: Ack) -> Assignment:
    record_acks(node=assignment.node, acks=acks, now=NOON)
    assignment.refresh_from_db()
    return assignment


@pytest.mark.parametrize(
    "bad",
    [
        {"assignment": "asg_\0"},
        {"assignment": "asg_\ud800"},
        {"assignment": ""},
        {"run": 2**63},
        {"seq": -1},
        {"ssh_user": "-oProxyCommand=evil"},
        {"ssh_host_key": "ssh-ed25519 AAAA\nssh-rsa BBBB"},
        {"ssh_host_key": "ssh-ed25519 " + "A" * 1000},
    ],
)
def test_a_bad_ack_is_left_out_and_logged_and_the_others_count(host, caplog, bad):
    first, second = wanted(host, "lse_1", 0), wanted(host, "lse_2", 1)
    with caplog.at_level(logging.WARNING, "nodes.services.acks"):
        say(second, dataclasses.replace(ack_of(first), **bad), ack_of(second))
    first.refresh_from_db()
    assert (first.seen, second.seen) == (Seen.NONE, Seen.RUNNING)
    assert host.node.public_id in caplog.text


def test_texts_and_numbers_are_cleaned(host):
    said = say(
        wanted(host, "lse_1"),
        ack_of(
            Assignment.objects.get(),
            Phase.FAILED,
            reason=FailureReason.WORKLOAD_EXITED,
            detail="no\0 such\x1b file\ud800\n" + "x" * 1000,
            progress_percent=2**40,
        ),
    )
    assert said.detail == ("no such file\n" + "x" * 1000)[:500]
    assert (said.seen, said.reason, said.progress_percent) == (Seen.EXITED, "workload_exited", 100)


def test_progress_is_not_negative(host):
    assert say(wanted(host, "lse_1"), ack_of(Assignment.objects.get(), progress_percent=-5)).progress_percent == 0


def test_a_batch_is_read_ack_by_ack(host):
    good = ack_of(wanted(host, "lse_1"))
    said = json.loads(protocol.encode(AckBatch([good])))
    fine = said["acks"][0]
    said["acks"] = [None, 7, {}, fine | {"phase": "dancing"}, fine | {"run": "1"}, fine | {"run": 1e400}, fine]
    body = json.dumps(said).replace("Infinity", "9" * 5000).encode()
    assert read_acks(body, sender="node_1") == [good]


def test_a_reason_that_only_a_newer_agent_knows_is_still_an_end(host):
    said = json.loads(protocol.encode(AckBatch([ack_of(wanted(host, "lse_1"), Phase.FAILED)])))
    said["acks"][0]["reason"] = "struck_by_lightning"
    (read,) = read_acks(json.dumps(said).encode(), sender="node_1")
    assert (read.phase, read.reason) == (Phase.FAILED, FailureReason.INTERNAL)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"acks": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_batch_is_refused(body):
    with pytest.raises(Invalid):
        read_acks(body, sender="node_1")


@pytest.fixture
def failed(host) -> Assignment:
    """Ended with memory that was not back, and revoked since."""
    ended = wanted(host, "lse_1")
    say(ended, ack_of(ended, Phase.FAILED, seq=3, reason=FailureReason.WORKLOAD_EXITED, memory_at_baseline=False))
    revoke(holder="lse_1", now=NOON)
    ended.refresh_from_db()
    return ended


def test_that_a_failed_lease_was_never_here_does_not_bring_its_memory_back(failed):
    for run in (1, 2):
        say(failed, ack_of(failed, Phase.STOPPED, run=run, seq=9, memory_at_baseline=True))
    assert failed.memory_at_baseline is False


def test_memory_that_comes_back_after_the_end_counts_and_nothing_else_does(failed):
    again = ack_of(failed, Phase.FAILED, seq=4, reason=FailureReason.WORKLOAD_EXITED, memory_at_baseline=True)
    assert say(failed, dataclasses.replace(again, detail="later", progress_percent=3)).memory_at_baseline is True
    assert (failed.detail, failed.progress_percent, failed.ack_seq) == ("", None, 3)
    say(failed, dataclasses.replace(again, seq=5, memory_at_baseline=False))
    assert failed.memory_at_baseline is True


def test_a_log_with_signs_that_are_none_is_kept_with_marks_in_their_place(host):
    assignment = wanted(host, "lse_1")
    record_log(node=host.node, tail=LogTail(assignment.public_id, "a\0b\ud800c"), now=NOON)
    assert AssignmentLog.objects.get().text == "a\ufffdb\ufffdc"


def test_an_end_without_a_word_about_memory_can_be_completed(host):
    ended = wanted(host, "lse_1")
    say(ended, ack_of(ended, Phase.FAILED, reason=FailureReason.STALE_EPOCH))
    assert say(ended, ack_of(ended, Phase.RUNNING, seq=2, memory_at_baseline=True)).memory_at_baseline is None
    assert say(ended, ack_of(ended, Phase.STOPPED, seq=3, memory_at_baseline=True)).memory_at_baseline is True
