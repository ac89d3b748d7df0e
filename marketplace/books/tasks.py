"""Clocks of the books."""

from __future__ import annotations

from celery import shared_task

from marketplace.books.issuing import issue_due
from marketplace.common import clock


@shared_task(name="books.issue_documents")
def issue_documents_task() -> int:
    return issue_due(now=clock.now())
