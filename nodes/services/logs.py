"""What workloads wrote last: kept for their buyers, and for no longer than reports are."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.conf import settings

from nodes.agent.protocol import LOG_LENGTH_MAX, LogTail
from nodes.models import Assignment, AssignmentLog, Node
from nodes.services.acks import ASSIGNMENT

NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # what JSON carries and PostgreSQL does not


def record_log(*, node: Node, tail: LogTail, now: datetime) -> None:
    """Keep it in place of the one before. Of an assignment that is not this node's nothing is kept."""
    if not ASSIGNMENT.fullmatch(tail.assignment):
        return
    assignment = Assignment.objects.filter(node=node, public_id=tail.assignment).first()
    if assignment is None:
        return
    text = NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", tail.text)[-LOG_LENGTH_MAX:]
    AssignmentLog.objects.update_or_create(assignment=assignment, defaults={"text": text, "at": now})


def drop_old_logs(*, now: datetime) -> None:
    """Forget what was written before the oldest report that is kept."""
    AssignmentLog.objects.filter(at__lt=now - timedelta(days=settings.REPORT_DAYS_KEPT)).delete()
