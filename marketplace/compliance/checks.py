"""A malformed rule file stops the start of a new installation; a running one keeps its last good table and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import DatabaseError

from marketplace.compliance.rulefile import read_new_ruleset
from marketplace.compliance.selectors import last_good_table
from marketplace.compliance.tablefile import UNREADABLE, rule_file


def check_rule_file(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """An error, or a warning where an earlier table stays in force, when the rule file is not usable."""
    try:
        read_new_ruleset(rule_file().read_text(encoding="utf-8"))
    except UNREADABLE as error:
        trouble = f"the compliance rule file is not usable: {error}"
        kept = _kept_version()
        if kept is None:
            return [Error(trouble, id="compliance.E001")]
        return [Warning(f"{trouble}; {kept} stays in force", id="compliance.W001")]
    return []


def _kept_version() -> str | None:
    try:
        table = last_good_table()
    except DatabaseError:  # a check may run where there is no database yet
        return None
    return table.version if table else None
