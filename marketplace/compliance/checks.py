"""A malformed rule file stops the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error

from marketplace.compliance.rulefile import RuleFileError
from marketplace.compliance.services import current_ruleset


def check_rule_file(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """One error when the rule file can't be read or is malformed."""
    try:
        current_ruleset()
    except (RuleFileError, OSError, UnicodeDecodeError) as error:
        return [Error(f"the compliance rule file is not usable: {error}", id="compliance.E001")]
    return []
