"""What a host keeps between starts: its key, who it is to the server, and how often it has started."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from nodes.agent.files import keep_text, replace_file
from nodes.agent.protocol import EnrolReply, ProtocolError, decode, encode

SEED_BYTES = 32
NAME_MAX = 100


class StateError(RuntimeError):
    """The state folder can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class CardEpoch:
    """The highest epoch that this host has acted on for a card, and for which lease."""

    epoch: int
    lease: str


@dataclass(frozen=True, slots=True)
class Heard:
    """When the server last spoke and when it last named each lease, in CLOCK_BOOTTIME milliseconds of that boot.

    `leases` is not in files of earlier versions.
    """

    boot: str
    at_ms: int
    ttl_seconds: dict[str, int]
    leases: dict[str, int] = field(default_factory=dict)


class StateDir:
    """The agent's folder. Only root can read it: it holds the node's key and bearer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the folder; raises StateError when it can't be written."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self.folder} can't be made: {error.strerror}") from error
        if not os.access(self.folder, os.W_OK):
            raise StateError(f"{self.folder} can't be written: run as root or set FALLOW_STATE_DIR")

    def lock(self) -> bool:
        """Whether this process now is the one agent of the folder; it stays so until it ends."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        return True

    def key(self) -> SigningKey:
        """The node's Ed25519 key, made at the first call; its seed never leaves this host."""
        path = self.folder / "node.key"
        if not path.exists():
            replace_file(path, os.urandom(SEED_BYTES))
        seed = path.read_bytes()
        if len(seed) != SEED_BYTES:
            raise StateError(f"{path} is damaged: enrol this host again after removing it")
        return SigningKey(seed)

    def enrolment(self) -> EnrolReply | None:
        """What the server answered at enrolment, with the command key that is pinned since."""
        try:
            return decode(EnrolReply, (self.folder / "enrolment.json").read_bytes())
        except FileNotFoundError:
            return None
        except ProtocolError as error:
            raise StateError(f"enrolment.json is damaged ({error}): enrol again") from error

    def keep_enrolment(self, reply: EnrolReply) -> None:
        """On the disk when this returns."""
        replace_file(self.folder / "enrolment.json", encode(reply))

    @property
    def name(self) -> str | None:
        """What the owner called this host at enrolment; None for its hostname."""
        try:
            return (self.folder / "name").read_text()
        except FileNotFoundError:
            return None

    def keep_name(self, name: str) -> None:
        """On the disk when this returns; raises StateError for a name that no page could show."""
        if not name.isprintable() or not 0 < len(name) <= NAME_MAX:
            raise StateError(f"a name has 1 to {NAME_MAX} printable characters")
        replace_file(self.folder / "name", name.encode())

    def next_run(self) -> int:
        """The number of this start, higher than any before; on the disk before anything is sent under it."""
        path = self.folder / "run"
        try:
            run = int(path.read_text()) + 1
        except FileNotFoundError:
            run = 1
        except ValueError:
            raise StateError(f"{path} is damaged: write a higher number than the server has seen into it") from None
        try:
            keep_text(path, str(run))
        except OSError as error:
            raise StateError(f"{path} can't be written: {error.strerror}") from error
        return run

    def epochs(self) -> dict[str, CardEpoch]:
        """The highest epoch by card UUID."""
        try:
            value = json.loads((self.folder / "epochs.json").read_bytes())
            return {uuid: CardEpoch(**each) for uuid, each in value.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise StateError("epochs.json is damaged: remove it once no lease runs here") from error

    def keep_epochs(self, epochs: dict[str, CardEpoch]) -> None:
        """On the disk when this returns, so that a stale command is refused after a crash as well."""
        value = {uuid: dataclasses.asdict(each) for uuid, each in epochs.items()}
        keep_text(self.folder / "epochs.json", json.dumps(value))

    def heard(self, boot: str) -> Heard | None:
        """What was kept since this boot; None when nothing was, or nothing that can be read."""
        try:
            heard = Heard(**json.loads((self.folder / "heard.json").read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return heard if heard.boot == boot else None

    def keep_heard(self, heard: Heard) -> None:
        """Not synced: no lease outlives the power, and so its clock need not either."""
        self._replace("heard.json", dataclasses.asdict(heard))

    @property
    def draining(self) -> bool:
        """Whether the owner wants no new lease here."""
        return (self.folder / "draining").exists()

    def set_draining(self, draining: bool) -> None:
        """The owner's wish; the running agent sees it within a second."""
        path = self.folder / "draining"
        if draining:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def ask_stop_now(self) -> None:
        """Have the running agent end every lease, and take no new one."""
        self.set_draining(True)
        (self.folder / "stop-now").touch()

    def take_stop_now(self) -> bool:
        """Whether the owner asked for it since the last call."""
        try:
            (self.folder / "stop-now").unlink()
        except FileNotFoundError:
            return False
        return True

    def keep_status(self, status: dict[str, object]) -> None:
        """What `fallow-agent status` shows; worth nothing after a crash, so it is not synced."""
        self._replace("status.json", status)

    def status(self) -> dict[str, object] | None:
        """The last status that the running agent wrote."""
        try:
            value = json.loads((self.folder / "status.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _replace(self, name: str, value: dict[str, object]) -> None:
        keep_text(self.folder / name, json.dumps(value), sync=False)
