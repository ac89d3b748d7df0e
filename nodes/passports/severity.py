"""How much a finding weighs, and what it is. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Severity(enum.StrEnum):
    """NOTE changes nothing; a LIMIT is disclosed; a FAULT is for parts; DISQUALIFYING: not the card that it says."""

    NOTE = "note"
    LIMIT = "limit"
    FAULT = "fault"
    DISQUALIFYING = "disqualifying"


class Code(enum.StrEnum):
    """What can be found; the words are stable."""

    MEMORY_MODIFIED = "memory_modified"
    MEMORY_OVERSTATED = "memory_overstated"
    MEMORY_ERRORS = "memory_errors"
    SKU_RELABELLED = "sku_relabelled"
    MINING_SKU = "mining_sku"
    UNKNOWN_BOARD = "unknown_board"
    VBIOS_UNUSUAL = "vbios_unusual"
    VIRTUALISED = "virtualised"
    VIEWS_DISAGREE = "views_disagree"
    VIEW_MISSING = "view_missing"
    SIMULATED = "simulated"
    WRONG_RESULT = "wrong_result"
    RATE_IMPOSSIBLE = "rate_impossible"
    COMPUTE_SLOW = "compute_slow"
    BANDWIDTH_LOW = "bandwidth_low"
    LINK_NARROW = "link_narrow"
    LINK_ERRORS = "link_errors"
    THERMAL = "thermal"
    REMAP_FAILURE = "remap_failure"
    REMAP_PENDING = "remap_pending"
    ROWS_REMAPPED = "rows_remapped"
    PAGES_RETIRED = "pages_retired"
    ECC_ERRORS = "ecc_errors"
    ECC_OFF = "ecc_off"
    XID = "xid"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as with a healthy factory card, and the numbers that show it."""

    code: Code
    severity: Severity
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {"code": self.code.value, "severity": self.severity.value, "evidence": dict(self.evidence)}
