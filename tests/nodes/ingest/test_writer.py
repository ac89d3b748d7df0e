"""A group of submissions: each is answered for itself, though all go into one transaction."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Sequence

import pytest

from nodes.agent import protocol
from nodes.ingest.link import DatabaseAway, Link
from nodes.ingest.rows import BadBatch, Submission, submission
from nodes.ingest.writer import GroupCommit
from nodes.models import Node, NodeReportState, Report
from tests.conftest import TEST_DATABASE
from tests.nodes.builders import make_batch, make_node, make_report
from tests.nodes.ingest.process import with_database

pytestmark = pytest.mark.django_db(transaction=True)
HEARTBEAT_MS = 5000


def said(node: Node, seq: int) -> Submission:
    batch = make_batch(make_report(seq=seq))
    return submission(node.pk, batch, received_us=time.time_ns() // 1000, heartbeat_ms=HEARTBEAT_MS)


def submit_together(group: Sequence[Submission]) -> list[bytes | BaseException]:
    """The answers to what arrived while nothing was written."""

    async def run() -> list[bytes | BaseException]:
        link = Link(with_database(os.environ["DATABASE_URL"], TEST_DATABASE), "test")
        writer = GroupCommit(link, heartbeat_ms=HEARTBEAT_MS, waiting_reports=100, on_commit=lambda: None)
        answers = asyncio.gather(*map(writer.submit, group), return_exceptions=True)
        writing = asyncio.create_task(writer.run())
        try:
            return await answers
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await link.close()

    return asyncio.run(run())


def is_reply(answer: object) -> bool:
    return isinstance(answer, bytes) and protocol.decode(protocol.ReportReply, answer).interval_ms == HEARTBEAT_MS


def test_a_submission_that_is_refused_is_not_acknowledged_by_another_of_its_node():
    node, _ = make_node()
    bad = dataclasses.replace(said(node, 3), inventory="x" * 17)
    answers = submit_together([said(node, 2), bad, said(node, 1)])
    assert is_reply(answers[0])
    assert isinstance(answers[1], BadBatch)
    assert is_reply(answers[2])
    assert sorted(Report.objects.filter(node=node).values_list("seq", flat=True)) == [1, 2]
    assert Report.objects.get(node=node, is_live=True).seq == 2
    assert NodeReportState.objects.get(node=node).seq == 2


def test_a_node_that_is_gone_may_come_back_and_the_others_are_stored():
    ghost, _ = make_node()
    gone = said(ghost, 1)
    Node.objects.filter(pk=ghost.pk).delete()
    node, _ = make_node()
    refused, stored = submit_together([gone, said(node, 1)])
    assert isinstance(refused, DatabaseAway)
    assert is_reply(stored)
