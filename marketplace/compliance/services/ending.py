"""Holds leave the operators' queue when nothing waits for them any more."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from marketplace.compliance.inquiry import Stage
from marketplace.compliance.models import EndedHold
from marketplace.compliance.selectors import waiting_decisions


@transaction.atomic
def end_case(*, subject: str, now: datetime, stage: Stage | None = None) -> None:
    """What was asked about this subject, at one stage or at any, needs no ruling; repeating it changes nothing."""
    waiting = waiting_decisions().filter(subject=subject)
    if stage is not None:
        waiting = waiting.filter(stage=stage.value)
    EndedHold.objects.bulk_create([EndedHold(decision=each, at=now) for each in waiting], ignore_conflicts=True)
