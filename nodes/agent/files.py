"""Files that must change even on a full disk: replaced as a whole, else written over the blocks that they have."""

from __future__ import annotations

import errno
import os
from pathlib import Path

BLOCK_BYTES = 4096
SPARE_BYTES = 2048
_FULL = (errno.ENOSPC, errno.EDQUOT)


def replace_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace the file as a whole, readable by its owner alone; on the disk when this returns if `sync`."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    fresh.replace(path)
    if sync:
        _sync_folder(path.parent)


def keep_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a text to whose end blanks may be added: they keep room, so that a full disk does not stop the next one.

    Raises OSError when the file is not there yet and can't be made, or can't even be written in its place.
    """
    data = text.encode()
    size = -(-(len(data) + SPARE_BYTES) // BLOCK_BYTES) * BLOCK_BYTES
    try:
        replace_file(path, data.ljust(size), sync=sync)
    except OSError as error:
        path.with_name(path.name + ".new").unlink(missing_ok=True)
        if error.errno not in _FULL or not path.exists():
            raise
        _overwrite(path, data, sync)


def _overwrite(path: Path, data: bytes, sync: bool) -> None:
    size = max(path.stat().st_size, len(data))
    with path.open("r+b") as file:
        file.write(data.ljust(size))
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
