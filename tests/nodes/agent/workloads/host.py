"""A node's leases driven as its runner drives them, for the tests of every runtime."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nodes.agent.protocol import Ack, AssignmentCommand, Phase, RelayEndpoint, WorkloadSpec
from nodes.agent.workloads.manager import LeaseManager
from nodes.agent.workloads.openssh import Ed25519Key, write_secret
from tests.nodes.relay.conftest import wait_until

GPU = "GPU-11111111-0000-0000-0000-000000000001"


class Acks:
    """Everything that a manager acked so far."""

    def __init__(self, manager: LeaseManager) -> None:
        self._manager = manager
        self.all: list[Ack] = []

    def phases(self, lease: str = "lse_1") -> list[Phase]:
        self.all += self._manager.drain_acks()
        return [ack.phase for ack in self.all if ack.lease == lease]

    def wait(self, phase: Phase, lease: str = "lse_1", seconds: float = 60) -> Ack:
        """The first ack of a phase; fails at once when the lease failed instead."""

        def arrived() -> bool:
            seen = self.phases(lease)
            if phase is not Phase.FAILED and Phase.FAILED in seen:
                raise AssertionError([(a.phase, a.reason, a.detail) for a in self.all])
            return phase in seen

        wait_until(arrived, f"{lease} {phase}: {[(a.phase, a.reason, a.detail) for a in self.all]}", seconds)
        return next(ack for ack in self.all if ack.phase is phase and ack.lease == lease)


class Buyer:
    """Stock SSH programs with a key of the buyer's own; `options` are given to each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.key = Ed25519Key.generate()
        self.folder = folder
        write_secret(folder / "id", self.key.openssh_private())

    def options(self, host_key: str, port: int) -> list[str]:
        (self.folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        wanted = {
            "UserKnownHostsFile": str(self.folder / "known"),
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "IdentityFile": str(self.folder / "id"),
            "ConnectTimeout": "10",
        }
        return ["-F", "/dev/null", *(f"-o{key}={value}" for key, value in wanted.items())]

    def ssh(self, user: str, host_key: str, port: int, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["ssh", *self.options(host_key, port), "-p", str(port), f"{user}@127.0.0.1", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def run_command(
    spec: WorkloadSpec,
    *,
    lease: str = "lse_1",
    epoch: int = 1,
    gpus: tuple[str, ...] = (GPU,),
    relays: list[RelayEndpoint] | None = None,
    wanted: str = "run",
) -> AssignmentCommand:
    return AssignmentCommand(
        assignment=lease.replace("lse", "asg"),
        lease=lease,
        node="nod_1",
        wanted=wanted,
        epochs={uuid: epoch for uuid in gpus},
        ttl_seconds=600,
        stop_grace_seconds=5,
        spec=spec,
        relays=relays or [],
    )
