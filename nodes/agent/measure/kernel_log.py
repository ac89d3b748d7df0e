"""Xids in the kernel's log, as far as a host lets it be read."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

FILES = ("var/log/kern.log", "var/log/messages")
RING = "dev/kmsg"  # hosts without a syslog have only this; root may read it
BYTES_MAX = 1_000_000
RECORD_BYTES_MAX = 8192
XIDS_MAX = 50
XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d{1,4})\b")
BOOT = "Linux version "


def kernel_xids(root: Path, bus: str | None) -> list[int] | None:
    """Xids of the card at a bus since the host began; None where no log can be read: then nobody knows.

    What is older may be of another card that stood in the same slot.
    """
    logs = [log for log in (*(_end_of(root / name) for name in FILES), _ring(root / RING)) if log is not None]
    if bus is None or not logs:
        return None
    place = bus.rpartition(".")[0]
    found = XID.findall("\n".join(log.rpartition(BOOT)[2] for log in logs))
    return sorted({int(xid) for where, xid in found if where.lower().startswith(place)})[:XIDS_MAX]


def _end_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - BYTES_MAX, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return None


def _ring(path: Path) -> str | None:
    """Every record that the kernel still has; a read gives one, and would wait for the next without O_NONBLOCK."""
    try:
        ring = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    records: list[bytes] = []
    try:
        while len(records) < BYTES_MAX // 64:
            with contextlib.suppress(BrokenPipeError):  # the kernel has overwritten it in the meantime
                record = os.read(ring, RECORD_BYTES_MAX)
                if not record:
                    break
                records.append(record)
    except OSError:  # BlockingIOError: that was the last
        pass
    finally:
        os.close(ring)
    return b"".join(records).decode(errors="replace")
