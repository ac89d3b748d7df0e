"""The outbox on a real file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from nodes.agent.protocol import Ack, Phase, Report, encode
from nodes.agent.spool import Spool


def report(seq, run=1):
    return Report(run=run, seq=seq, ts_ms=1, mono_ms=1, boot="b", inventory="i", cards=[[1.0]])


ACK = Ack("asg", "lease", {"GPU-a": 1}, Phase.RUNNING, 1, 1, 1)
SIZE = len(encode(report(1)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.sqlite3"


@pytest.fixture
def spool(path):
    opened = Spool(path, bytes_max=SIZE * 4)
    yield opened
    opened.close()


def seqs(spool, count=100):
    return [each.seq for each in spool.oldest(count, 10**6)]


def test_it_gives_the_oldest_first_over_starts_of_the_agent(spool):
    for each in (report(1, run=2), report(2), report(1)):
        spool.add(each)
    assert [(each.run, each.seq) for each in spool.oldest(2, 10**6)] == [(1, 1), (1, 2)]


def test_it_drops_the_oldest_above_its_cap_and_counts_them(spool):
    for seq in range(1, 8):
        spool.add(report(seq))
    assert seqs(spool) == [4, 5, 6, 7]
    assert spool.dropped == 3


def test_a_batch_stays_below_its_bytes_but_is_never_empty(spool):
    for seq in (1, 2, 3):
        spool.add(report(seq))
    assert len(spool.oldest(100, SIZE * 2)) == 2
    assert len(spool.oldest(100, 1)) == 1


def test_what_was_delivered_makes_room(spool):
    for seq in (1, 2, 3, 4):
        spool.add(report(seq))
    spool.remove(spool.oldest(3, 10**6))
    spool.add(report(5))
    assert seqs(spool) == [4, 5]
    assert spool.dropped == 0


def test_it_is_all_there_after_a_restart(spool, path):
    spool.add(report(1))
    spool.add_acks([ACK])
    again = Spool(path, bytes_max=10**6)
    assert seqs(again) == [1]
    assert again.acks(10)[0] == [ACK]
    again.close()


def test_only_acks_that_were_sent_are_forgotten(spool):
    spool.add_acks([ACK])
    sent, mark = spool.acks(10)
    later = replace(ACK, phase=Phase.STOPPED, seq=2)
    spool.add_acks([later])
    spool.remove_acks(mark)
    assert sent == [ACK]
    assert spool.acks(10)[0] == [later]


def test_an_ack_that_is_repeated_is_kept_once_and_never_lost_while_its_older_self_is_sent(spool):
    spool.add_acks([ACK, replace(ACK, seq=2)])
    sent, mark = spool.acks(10)
    spool.add_acks([replace(ACK, seq=3)])
    spool.remove_acks(mark)
    assert [each.seq for each in sent] == [2]
    assert [each.seq for each in spool.acks(10)[0]] == [3]


def test_rows_that_can_not_be_read_are_counted_and_in_nobodys_way(spool, path):
    for seq in (1, 2, 3):
        spool.add(report(seq))
    spool.add_acks([ACK, replace(ACK, phase=Phase.STOPPED)])
    with sqlite3.connect(path) as other:
        other.execute("UPDATE report SET body = '{' WHERE seq < 3")
        other.execute('UPDATE ack SET body = \'{"phase": "of a newer agent"}\' WHERE number = 1')
    other.close()
    assert seqs(spool, count=2) == [3]
    assert [each.phase for each in spool.acks(1)[0]] == [Phase.STOPPED]
    assert spool.dropped == 3
    assert len(spool) == 1


def test_a_damaged_file_is_set_aside(path):
    path.write_bytes(b"not a database " * 1000)
    opened = Spool(path, bytes_max=1000)
    opened.add(report(1))
    assert seqs(opened) == [1]
    assert path.with_name("spool.sqlite3.damaged").exists()
    opened.close()


def test_a_disk_that_can_not_be_written_leaves_memory(tmp_path):
    opened = Spool(tmp_path / "no such folder" / "spool.sqlite3", bytes_max=SIZE * 2)
    for seq in (1, 2, 3):
        opened.add(report(seq))
    assert seqs(opened) == [2, 3]
    assert opened.dropped == 1
    opened.close()


def test_a_disk_that_fills_up_costs_reports_but_neither_acks_nor_the_count(spool, path):
    for seq in range(1, 7):
        spool.add(report(seq))
    spool.add_acks([ACK])
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON report BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    other.close()
    spool.add(report(7))
    assert seqs(spool) == [7]
    assert spool.acks(10)[0] == [ACK]
    assert spool.dropped == 2
    spool.remove([report(7)])
    assert len(spool) == 0
