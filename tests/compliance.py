"""A screening list for tests that sell cards: without a fresh one every sale is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import marketplace.compliance
from marketplace.compliance.models import ScreeningList
from marketplace.compliance.services.screening import import_list

SAMPLE = Path(marketplace.compliance.__file__).parent / "samples" / "screening_sample.csv"


def fresh_list(now: datetime, *, days_old: int = 0) -> ScreeningList:
    """The sample list of invented names, published some days ago."""
    published = now.astimezone(UTC).date() - timedelta(days=days_old)
    return import_list(
        text=SAMPLE.read_text(), file_name=SAMPLE.name, published_on=published, actor="test", now=now, may_shrink=True,
        may_be_older=True,
    )  # fmt: skip
