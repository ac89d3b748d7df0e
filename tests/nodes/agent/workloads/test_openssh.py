from __future__ import annotations

import subprocess
from pathlib import Path

from nodes.agent.workloads.openssh import Ed25519Key, write_secret


def test_openssh_reads_the_private_key_and_finds_the_same_public_half(tmp_path: Path) -> None:
    key = Ed25519Key.generate()
    write_secret(tmp_path / "key", key.openssh_private())
    done = subprocess.run(["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key.public_line


def test_a_secret_is_readable_by_its_owner_alone_even_over_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
