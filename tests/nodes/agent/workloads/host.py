"""A node's leases driven as its runner drives them, for the tests of every runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from nodes.agent.config import Config
from nodes.agent.protocol import Ack, AssignmentCommand, Phase, RelayEndpoint, WorkloadSpec, decode, encode
from nodes.agent.workloads.api import Workloads
from nodes.agent.workloads.openssh import Ed25519Key, write_secret
from nodes.agent.workloads.verify import PROC_DRIVER
from tests.nodes.relay.conftest import wait_until

GPU = "GPU-11111111-0000-0000-0000-000000000001"


class Acks:
    """Everything that a manager acked so far."""

    def __init__(self, manager: Workloads) -> None:
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


# An agent in a process of its own, because two in one would both look after the lease.
_AGENT = """
import json, sys, time
from pathlib import Path
from nodes.agent.config import Config
from nodes.agent.protocol import AssignmentCommand, decode, encode
from nodes.agent.workloads import open_workloads
told = json.loads(sys.argv[1])
paths = {name: Path(path) for name, path in told["paths"].items()}
config = Config(runtime=told["runtime"], local_images=frozenset(told["local_images"]), **paths)
manager = open_workloads(
    config, lambda: None, memory_used_mib=lambda uuid: 300,
    node_seed=lambda: bytes.fromhex(told["seed"]), proc_driver=Path(told["proc_driver"]),
)
manager.recover()
manager.apply(decode(AssignmentCommand, told["command"]))
while True:
    for ack in manager.drain_acks():
        print(encode(ack).decode(), flush=True)
    time.sleep(0.05)
"""


def run_and_kill(config: Config, seed: bytes, command: AssignmentCommand, *, proc_driver: Path = PROC_DRIVER) -> Ack:
    """The ack of a lease that runs under an agent, which is then killed with -9."""
    paths = {name: getattr(config, name) for name in ("state_dir", "config_dir", "engine_socket", "simulator")}
    told = {
        "paths": {name: str(path) for name, path in paths.items() if path is not None},
        "runtime": config.runtime,
        "local_images": sorted(config.local_images),
        "seed": seed.hex(),
        "proc_driver": str(proc_driver),
        "command": encode(command).decode(),
    }
    argv = [sys.executable, "-c", _AGENT, json.dumps(told)]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[4], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout
        acks = (decode(Ack, line) for line in agent.stdout)
        last = next(ack for ack in acks if ack.phase in {Phase.RUNNING, Phase.FAILED})
        agent.kill()
    assert last.phase is Phase.RUNNING, last
    return last
