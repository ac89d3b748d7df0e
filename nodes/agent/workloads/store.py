"""What this host must remember of its leases when the agent is killed: one small file for each."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from nodes.agent.files import keep_text
from nodes.agent.protocol import Ack, AssignmentCommand, Phase, ProtocolError, decode, encode

KEPT_SECONDS = 7 * 24 * 3600


@dataclass(slots=True)
class Record:
    """A lease on disk. `final` is the ack of its end; `baseline` is MiB per card before it started."""

    command: AssignmentCommand
    phase: Phase
    boot: str
    container: str = ""
    baseline: dict[str, int] = field(default_factory=dict)
    final: Ack | None = None


class LeaseStore:
    """The records below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, lease: str) -> Path:
        """Where a lease's files are; ids come from the server and are checked before they become a path."""
        if not lease.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"{lease!r} is no lease id")
        return self._folder / lease

    def save(self, record: Record) -> None:
        """Replace the record of its lease."""
        folder = self.folder(record.command.lease)
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "command": encode(record.command).decode(),
            "phase": record.phase.value,
            "boot": record.boot,
            "container": record.container,
            "baseline": record.baseline,
            "final": encode(record.final).decode() if record.final else None,
        }
        keep_text(folder / "record.json", json.dumps(values), sync=False)

    def finish(self, record: Record, final: Ack) -> None:
        """Keep the final ack, remove keys and everything else of the lease."""
        spec = record.command.spec
        if spec is not None and spec.registry_auth is not None:
            record.command = dataclasses.replace(record.command, spec=dataclasses.replace(spec, registry_auth=None))
        record.final, record.phase = final, final.phase
        folder = self.folder(record.command.lease)
        for path in [*folder.glob("*")]:  # before the record is written: on a full disk that makes its room
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != "record.json":
                path.unlink(missing_ok=True)
        self.save(record)

    def load(self) -> list[Record]:
        """Every readable record; those of leases that ended long ago are removed."""
        records = []
        for path in sorted(self._folder.glob("*/record.json")):
            record = _read(path)
            if record is not None and record.final is not None and time.time() - path.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(path.parent, ignore_errors=True)
            elif record is not None:
                records.append(record)
        return records


def boot_id() -> str:
    """Changes with each boot of the host."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _read(path: Path) -> Record | None:
    try:
        values = json.loads(path.read_text())
        return Record(
            command=decode(AssignmentCommand, values["command"]),
            phase=Phase(values["phase"]),
            boot=values["boot"],
            container=values["container"],
            baseline=values["baseline"],
            final=decode(Ack, values["final"]) if values["final"] else None,
        )
    except (ValueError, KeyError, ProtocolError):
        return None  # a torn file: the engine's labels still tell of the container
