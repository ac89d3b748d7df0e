"""API keys: `fal_live_`, 30 random base62 characters and 6 of CRC-32, so that a mistyped key is refused offline."""

from __future__ import annotations

import hashlib
import zlib

from marketplace.common.ids import ALPHABET, random_text

PREFIX = "fal_live_"
RANDOM_LENGTH = 30
CHECK_LENGTH = 6


def new_key() -> str:
    """A fresh key; it is shown once and never stored."""
    random = random_text(RANDOM_LENGTH)
    return f"{PREFIX}{random}{_check(random)}"


def is_well_formed(key: str) -> bool:
    """Whether the key can be one of ours, without asking the database."""
    random, check = key[len(PREFIX) : -CHECK_LENGTH], key[-CHECK_LENGTH:]
    return key.startswith(PREFIX) and len(random) == RANDOM_LENGTH and _check(random) == check


def key_hash(key: str) -> bytes:
    """SHA-256: a key has 178 bits, so a slow hash would protect nothing."""
    return hashlib.sha256(key.encode()).digest()


def key_hint(key: str) -> str:
    """What may be shown of a key."""
    return f"{key[: len(PREFIX) + 3]}…{key[-4:]}"


def _check(random: str) -> str:
    number, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
