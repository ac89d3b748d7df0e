"""Files that only their owner may read."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Secrets:
    """Passwords of one set of servers, hex digits."""

    superuser: str
    owner: str
    runtime: str
    redis: str
    secret_key: str


def kept_secrets(path: Path) -> Secrets:
    """Those in the file, which the first call makes."""
    if not path.exists():
        superuser, owner, runtime, redis, secret_key = (secrets.token_hex(24) for _ in range(5))
        made = Secrets(superuser=superuser, owner=owner, runtime=runtime, redis=redis, secret_key=secret_key)
        write_private(path, asdict(made))
    return Secrets(**json.loads(path.read_text()))


def write_private(path: Path, values: Mapping[str, object]) -> None:
    """Writes JSON that appears whole or not at all, mode 600."""
    half = path.with_name(path.name + ".half")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(values, file, indent=1)
    half.rename(path)
