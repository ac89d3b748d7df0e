"""The relay's SSH host key: made once, pinned by every node through its signed assignments."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import asyncssh
from django.conf import settings


@functools.cache
def relay_host_key() -> str:
    """The public half, as `ssh-ed25519 AAAA…`."""
    return asyncssh.read_private_key(str(relay_host_key_file())).export_public_key().decode().strip()


def relay_host_key_file() -> Path:
    """The file with the private half; made at the first call, by whichever process is first."""
    path = Path(settings.RELAY_HOST_KEY_FILE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key("ssh-ed25519").export_private_key()
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(key)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path
