"""Ed25519 keys in the files of SSH programs, made from a seed (OpenSSH: PROTOCOL.key, dropbear: signkey.c)."""

from __future__ import annotations

import base64
import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

_KIND = b"ssh-ed25519"


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """A key pair by its 32-byte seed."""

    seed: bytes

    @classmethod
    def generate(cls) -> Ed25519Key:
        """A new key from the operating system's randomness."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_dropbear(cls, data: bytes) -> Ed25519Key:
        """The key of a file that `dropbear_private` made."""
        return cls(data[-64:-32])

    @property
    def public_line(self) -> str:
        """`ssh-ed25519 AAAA…` without a comment."""
        return f"{_KIND.decode()} {base64.b64encode(self._public_blob()).decode()}"

    def openssh_private(self) -> bytes:
        """The unencrypted OpenSSH private key file."""
        check = secrets.token_bytes(4)
        secret = check + check + _string(_KIND) + _string(self._public()) + _string(self.seed + self._public())
        secret += _string(b"")
        secret += bytes(range(1, 1 + -len(secret) % 8))
        none = _string(b"none")
        blob = b"openssh-key-v1\0" + none + none + _string(b"") + struct.pack(">I", 1)
        blob += _string(self._public_blob()) + _string(secret)
        text = base64.encodebytes(blob).decode()
        return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n".encode()

    def dropbear_private(self) -> bytes:
        """The private key file that dropbear reads with -r."""
        return _string(_KIND) + _string(self.seed + self._public())

    def _public(self) -> bytes:
        return bytes(SigningKey(self.seed).verify_key)

    def _public_blob(self) -> bytes:
        return _string(_KIND) + _string(self._public())


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads, never readable in between."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
