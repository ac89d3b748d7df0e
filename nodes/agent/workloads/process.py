"""The stand-in where a host has no engine: an sshd on loopback. For demonstrations only, and it says so.

A buyer shares the host's files and network here, so nothing starts without FALLOW_ALLOW_PROCESS_RUNTIME=1, and as root
the sshd is an unprivileged user's, in mount and process namespaces of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nodes.agent.protocol import LOG_LENGTH_MAX, FailureReason
from nodes.agent.workloads.docker import environment
from nodes.agent.workloads.openssh import Ed25519Key, write_secret
from nodes.agent.workloads.runtime import Container, ContainerPlan, ExecResult, RuntimeFailure

ALLOWED_VARIABLE = "FALLOW_ALLOW_PROCESS_RUNTIME"
USER = "buyer"
UID = 65534
SSHD_PLACES = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd")

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host-key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthenticationMethods publickey
AllowTcpForwarding no
AllowAgentForwarding no
AllowStreamLocalForwarding no
X11Forwarding no
PermitTunnel no
PermitUserRC no
Subsystem sftp internal-sftp
SetEnv {env}
"""

# Where the lease's folder is in its mount namespace: the agent's own folders may be closed to an unprivileged user.
INSIDE = Path("/mnt")

# As root: no user named buyer exists on the host, so one exists in the namespace's own passwd.
_ROOT_START = (
    'mount --bind "$1" /mnt && mount --bind /mnt/passwd /etc/passwd '
    "&& mount -t tmpfs -o size=64m,uid={uid},gid={uid},mode=700 tmpfs /mnt/home "
    "&& exec setpriv --reuid={uid} --regid={uid} --clear-groups --no-new-privs --bounding-set=-all "
    '"$2" -D -e -f /mnt/sshd_config'
)


class ProcessRuntime:
    """Leases as plain processes; a container's id is its lease's."""

    name = "process"
    forwards_ports = False  # a declared port would be one of the host's own

    def __init__(self, folder: Path, sshd: Path | None = None) -> None:
        self._folder = folder
        self._sshd = sshd or find_sshd()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._as_root = os.geteuid() == 0
        self.ssh_user = USER if self._as_root else Path.home().owner()

    def pull(self, image: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
        on_progress(100)

    def let_go(self, image: str | None) -> None:
        """There are none."""

    def create(self, plan: ContainerPlan) -> str:
        if not allowed():
            detail = f"the process runtime isolates nothing; {ALLOWED_VARIABLE}=1 allows it for a demonstration"
            raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, detail)
        if self._sshd is None:
            raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, "no sshd on this host: install openssh-server")
        self.remove("", plan.lease)
        folder = self._home(plan.lease)
        (folder / "home").mkdir(parents=True)
        port = _free_port()
        self._write_files(folder, plan, port)
        facts = {
            "assignment": plan.assignment,
            "epochs": dict(plan.epochs),
            "env": environment(plan, void=False),
            "port": port,
            "host_key": plan.access.host_key,
        }
        write_secret(folder / "process.json", json.dumps(facts).encode())
        return plan.lease

    def start(self, container: str) -> None:
        folder = self._home(container)
        log = (folder / "log").open("ab")
        with log:
            process = subprocess.Popen(
                self._command(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "HOME": str(folder / "home")},
                cwd="/",
                start_new_session=True,
            )
        self._children[container] = process
        facts = self._facts(container) | {"pid": process.pid, "started": _started(process.pid)}
        write_secret(folder / "process.json", json.dumps(facts).encode())

    def exec(self, container: str, argv: Sequence[str]) -> ExecResult:
        env = {"PATH": os.defpath, **self._facts(container)["env"]}
        done = subprocess.run(list(argv), env=env, capture_output=True, text=True, timeout=20, check=False)
        return ExecResult(done.returncode, done.stdout + done.stderr)

    def inspect(self, container: str) -> Container | None:
        facts = self._facts(container)
        if not facts:
            return None
        running = self._alive(container, facts)
        return Container(
            id=container,
            lease=container,
            assignment=facts["assignment"],
            epochs=facts["epochs"],
            host_key=facts["host_key"],
            running=running,
            exit_code=None if running else -1,
            address="127.0.0.1",
            ssh_port=facts["port"],
        )

    def list(self) -> list[Container]:
        found = [self.inspect(path.parent.name) for path in sorted(self._folder.glob("*/process.json"))]
        return [each for each in found if each is not None]

    def logs(self, container: str) -> str:
        try:
            return (self._home(container) / "log").read_text(errors="replace")[-LOG_LENGTH_MAX:]
        except OSError:
            return ""

    def disk_used_mib(self, container: str) -> int | None:
        return None  # the home is a tmpfs with a size of its own

    def disk_free_mib(self) -> int | None:
        return None

    def keep_closed(self) -> None:
        """It has no network of its own."""

    def stop(self, container: str, grace_seconds: int) -> None:
        facts = self._facts(container)
        for number, seconds in ((signal.SIGTERM, float(grace_seconds)), (signal.SIGKILL, 10.0)):
            if not self._alive(container, facts):
                return
            os.killpg(facts["pid"], number)
            _wait(lambda: not self._alive(container, facts), seconds)
        if self._alive(container, facts):
            raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, "the sshd does not end")

    def remove(self, container: str, lease: str) -> None:
        self.stop(lease, 0)
        self._children.pop(lease, None)
        shutil.rmtree(self._home(lease), ignore_errors=True)

    def owns_pid(self, pid: int, containers: Sequence[str]) -> bool:
        leaders = {self._facts(each).get("pid") for each in containers}
        while pid > 1:
            if pid in leaders:
                return True
            pid = _parent(pid)
        return False

    def _home(self, lease: str) -> Path:
        return self._folder / lease

    def _facts(self, lease: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self._home(lease) / "process.json").read_text()))
        except (OSError, ValueError):
            return {}

    def _alive(self, lease: str, facts: Mapping[str, Any]) -> bool:
        if (child := self._children.get(lease)) is not None:
            child.poll()  # reaps it; the child of an agent from before a restart has no parent here
        return "pid" in facts and _started(facts["pid"]) == facts["started"]

    def _write_files(self, folder: Path, plan: ContainerPlan, port: int) -> None:
        seen = INSIDE if self._as_root else folder
        pairs = [f"{key}={value}" for key, value in environment(plan, void=False).items()]
        env = " ".join(f'"{each}"' for each in pairs if each.isprintable() and not set(each) & set('"\\'))
        (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=seen, env=env))
        line = plan.access.authorized_keys.read_text().partition('/session" ')[2]
        (folder / "authorized_keys").write_text(line)
        seed = (plan.access.folder / "host-key").read_bytes()
        write_secret(folder / "host-key", Ed25519Key.from_dropbear(seed).openssh_private())
        (folder / "passwd").write_text(
            f"root:x:0:0:root:/root:/usr/sbin/nologin\n{USER}:*:{UID}:{UID}::{seen}/home:/bin/sh\n"
        )
        # The sshd's user reads these and writes none: the record beside them says whom the agent ends, as root
        folder.chmod(0o755)
        for name in ("sshd_config", "authorized_keys", "passwd"):
            (folder / name).chmod(0o644)
        if self._as_root:
            os.chown(folder / "host-key", UID, UID)

    def _command(self, folder: Path) -> Sequence[str]:
        assert self._sshd is not None
        if not self._as_root:
            return [str(self._sshd), "-D", "-e", "-f", str(folder / "sshd_config")]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = _ROOT_START.format(uid=UID)
        return [*namespaces, "/bin/sh", "-c", script, "fallow-process", str(folder), str(self._sshd)]


def allowed(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the owner has said that this host is for demonstrations."""
    return env.get(ALLOWED_VARIABLE) == "1"


def find_sshd() -> Path | None:
    """The host's OpenSSH server, or None."""
    found = shutil.which("sshd")
    places = [*SSHD_PLACES, *([found] if found else [])]
    return next((Path(place) for place in places if os.access(place, os.X_OK)), None)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """The start time in clock ticks, which tells a process from a later one with its number; "" when it is gone."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
