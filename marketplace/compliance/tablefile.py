"""The rule table of this installation: its file, or the last good table where the file is malformed."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from marketplace.compliance.rulefile import RULES_FILE, RuleFileError, read_new_ruleset, read_ruleset
from marketplace.compliance.rules import Ruleset
from marketplace.compliance.selectors import last_good_table

log = logging.getLogger(__name__)
UNREADABLE = (RuleFileError, OSError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class TableInForce:
    """A table with its text; `trouble` says why it is not the file's."""

    ruleset: Ruleset
    text: str
    trouble: str = ""


@functools.cache
def table_in_force() -> TableInForce:
    """Read once in a process: a changed file counts from the next start.

    Raises RuleFileError or OSError when the file is not usable and no table has ever decided anything.
    """
    try:
        text = rule_file().read_text(encoding="utf-8")
        return TableInForce(read_new_ruleset(text), text)
    except UNREADABLE as error:
        kept = last_good_table()
        if kept is None:
            raise
        trouble = f"{rule_file()} is not usable ({error}); {kept.version} stays in force"
        log.error("compliance: %s", trouble)
        return TableInForce(kept_ruleset(kept.text), kept.text, trouble)


@functools.lru_cache(maxsize=16)
def kept_ruleset(text: str) -> Ruleset:
    """The table of a kept text; texts of decisions never change."""
    return read_ruleset(text)


def rule_file() -> Path:
    """Where the rules of this installation are."""
    return Path(settings.COMPLIANCE_RULES_FILE or RULES_FILE)
