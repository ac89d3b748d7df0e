"""PostgreSQL 18 from a wheel: made once with both roles, started on a loopback port."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from marketplace.demo.ground import Ground
from marketplace.demo.processes import command_line, free_port, leashed, open_log, spawn, stop, tail, wait_until

SUPERUSER = "postgres"
OWNER = "fallow_owner"
RUNTIME = "fallow_app"
DATABASE = "fallow"
START_SECONDS = 60
STOP_FAST = (signal.SIGINT, 8.0)
STOP_AT_ONCE = (signal.SIGQUIT, 5.0)

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path may be too long, TCP never is
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "192MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",  # two cores have better things to do
    "jit": "off",
    "random_page_cost": "1.1",
    "wal_level": "minimal",  # nothing replicates from here
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "15s",
    "log_min_duration_statement": "1s",
    "log_line_prefix": "%m %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# Default privileges belong to a database and are copied from the template, so test databases have them too.
ROLES_SQL = """
ALTER ROLE {superuser} PASSWORD '{superuser_password}';
CREATE ROLE {owner} LOGIN CREATEDB PASSWORD '{owner_password}';
CREATE ROLE {runtime} LOGIN PASSWORD '{runtime_password}';
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SEQUENCES TO {runtime};
CREATE DATABASE {database} OWNER {owner};
"""


@dataclass(frozen=True)
class Passwords:
    """Of the three roles; hex digits, so they need no quoting in SQL or URLs."""

    superuser: str
    owner: str
    runtime: str


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int

    def url(self, role: str, password: str, database: str = DATABASE) -> str:
        """A libpq URL."""
        return _url(self.port, role, password, database)

    def stop(self) -> None:
        """Ends sessions and writes everything out; within 13 s in any case."""
        stop(self.process, STOP_FAST, STOP_AT_ONCE)


class PostgresFailed(RuntimeError):
    """PostgreSQL did not come up; the message ends with its log."""


def start(ground: Ground, passwords: Passwords, *, log: Path, preferred_port: int | None) -> Postgres:
    """Makes the cluster when there is none and starts it; raises PostgresFailed."""
    data = ground.home / "postgres"
    if not data.exists():
        _make_cluster(ground, data, passwords, log)
    _clear_stale_server(data)
    for port in (free_port(preferred_port), free_port()):  # twice: another program may be faster to bind
        settings = [f"--{name}={value}" for name, value in (SETTINGS | {"port": str(port)}).items()]
        process = spawn(
            [ground.postgres_bin / "postgres", "-D", data, *settings],
            log=log,
            death_signal=signal.SIGINT,
            account=ground.account,
            cwd=ground.home,
        )
        if _answers(process, _url(port, RUNTIME, passwords.runtime, DATABASE)):
            return Postgres(process, port)
        stop(process, STOP_AT_ONCE)
    raise PostgresFailed(f"PostgreSQL did not start; the end of {log}:\n{tail(log)}")


def _make_cluster(ground: Ground, data: Path, passwords: Passwords, log: Path) -> None:
    """Appears under its name only when complete, so a first start that was killed is simply done again."""
    half = data.with_name("postgres.half")
    shutil.rmtree(half, ignore_errors=True)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    trust_nobody = ["--auth=reject", f"--username={SUPERUSER}", "--no-instructions"]
    _run(ground, [ground.postgres_bin / "initdb", "-D", half, *locale, *trust_nobody], b"", log)
    _run(
        ground,
        [ground.postgres_bin / "postgres", "--single", "-D", half, "-c", "exit_on_error=on", "template1"],
        _roles_sql(passwords).encode(),
        log,
    )
    hba = half / "pg_hba.conf"
    hba.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    half.rename(data)


def _run(ground: Ground, argv: list[str | Path], stdin: bytes, log: Path) -> None:
    with open_log(log) as output:
        done = subprocess.run(
            leashed(argv, account=ground.account),
            input=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ground.home,
            check=False,
        )
    if done.returncode:
        raise PostgresFailed(f"{argv[0]} failed; the end of {log}:\n{tail(log)}")


def _roles_sql(passwords: Passwords) -> str:
    return ROLES_SQL.format(
        superuser=SUPERUSER,
        superuser_password=passwords.superuser,
        owner=OWNER,
        owner_password=passwords.owner,
        runtime=RUNTIME,
        runtime_password=passwords.runtime,
        database=DATABASE,
    )


def _clear_stale_server(data: Path) -> None:
    """Waits for (then ends) a server whose parent was killed, and removes the pid file of one that is gone."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text().split("\n", 1)[0])
    for number, seconds in (STOP_FAST, STOP_AT_ONCE, (signal.SIGKILL, 2.0)):
        if not _serves(pid, data):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        wait_until(lambda: not _serves(pid, data), seconds=seconds)
    pid_file.unlink(missing_ok=True)


def _serves(pid: int, data: Path) -> bool:
    """Whether pid is a server on this data; a number that went to another program is not."""
    return str(data) in command_line(pid)


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _url(port: int, role: str, password: str, database: str) -> str:
    return f"postgresql://{role}:{password}@127.0.0.1:{port}/{database}"
