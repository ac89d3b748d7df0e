"""An sshd with its own loader and libraries, made once of this host's programs and mounted read-only into leases.

Nothing of the buyer's image is used but `/bin/sh`, so it works in an image that is only busybox and without a network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import RuntimeFailure

MOUNTED_AT = "/.fallow/bundle"

# Program -> where Debian, Red Hat and SUSE keep it
PROGRAMS = {
    "dropbear": ("/usr/sbin/dropbear", "/usr/local/sbin/dropbear"),
    "sftp-server": (
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
        "/usr/libexec/ssh/sftp-server",
    ),
    "rsync": ("/usr/bin/rsync",),
    "scp": ("/usr/bin/scp",),
}
PACKAGES = "dropbear-bin openssh-sftp-server openssh-client rsync"

_building = threading.Lock()
_LIBRARY = re.compile(r"(?:=>\s*)?(/\S+) \(0x[0-9a-f]+\)")


def build_bundle(folder: Path) -> Path:
    """The bundle's folder inside `folder`, made when this host's programs have changed. Raises RuntimeFailure."""
    found = {name: _find(name, places) for name, places in PROGRAMS.items()}
    if missing := missing_programs():
        detail = f"{', '.join(missing)} not found on the host: install {PACKAGES}"
        raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, detail)
    programs = {name: path for name, path in found.items() if path is not None}
    target = folder / f"bundle-{_digest(programs)}"
    with _building:
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _build(target, programs)
    return target


def missing_programs() -> list[str]:
    """Programs of the bundle that this host lacks."""
    return sorted(name for name, places in PROGRAMS.items() if _find(name, places) is None)


def _find(name: str, places: tuple[str, ...]) -> Path | None:
    for place in (*places, shutil.which(name)):
        if place and os.access(place, os.X_OK):
            return Path(place)
    return None


def _digest(programs: dict[str, Path]) -> str:
    facts = [(name, str(path), path.stat().st_size, path.stat().st_mtime_ns) for name, path in programs.items()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def _build(target: Path, programs: dict[str, Path]) -> None:
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix="bundle-making-"))
    for name in ("bin", "lib", "libexec"):
        (work / name).mkdir()
    for name, path in programs.items():
        shutil.copy(path, work / "libexec" / name)
        _copy_libraries(path, work / "lib")
        wrapper = work / "bin" / name
        wrapper.write_text(_wrapper(name))
        wrapper.chmod(0o755)
    work.chmod(0o755)
    work.rename(target)


def _copy_libraries(program: Path, folder: Path) -> None:
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True, timeout=20).stdout
    for library in _LIBRARY.findall(said):
        name = Path(library).name
        shutil.copy(library, folder / name)
        if name.startswith("ld-") and not (folder / "loader").exists():
            (folder / "loader").symlink_to(name)


def _wrapper(name: str) -> str:
    lib = f"{MOUNTED_AT}/lib"
    return f'#!/bin/sh\nexec {lib}/loader --library-path {lib} {MOUNTED_AT}/libexec/{name} "$@"\n'
