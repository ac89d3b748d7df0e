"""The wire contract of passports: canonical JSON, what is signed, and arithmetic that both sides do alike.

Standard library only. A passport holds text, whole numbers, truth values, null, lists and objects with ASCII names,
and no fractions: for these, sorted compact JSON is already what RFC 8785 asks for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = "fallow.passport/1"
RECORD_SCHEMA = "fallow.passport-record/1"
CHALLENGES_PATH = "/agent/v1/passport-challenges"
PASSPORTS_PATH = "/agent/v1/passports"
# What is signed begins with what it is, so that no signature can be taken for another.
BODY_PREFIX = b"fallow passport 1\n"
RECORD_PREFIX = b"fallow passport record 1\n"
CHALLENGE_PREFIX = b"fallow passport challenge 1\n"

ROLES = ("seller", "buyer", "lab")
INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 12
NAME = re.compile(r"[\x20-\x7e]{1,64}")
SAMPLES = 16  # entries of the product that the market computes again
PRODUCT_SIDE_MAX = 16_384
_FROM_BYTE = bytes((0, 1, 0, 255)[value & 3] for value in range(256))  # 255 is −1


class CanonicalError(ValueError):
    """The value has no canonical form here; the text says where."""


def canonical(value: Any) -> bytes:
    """RFC 8785 of a value without fractions; raises CanonicalError."""
    _check(value, "", 0)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_canonical(text: str) -> dict[str, Any]:
    """The object of a text that is canonical byte for byte; raises CanonicalError for any other."""
    try:
        value = json.loads(text)
        if isinstance(value, dict) and canonical(value) == text.encode():
            return value
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not canonical JSON: {error}") from error
    raise CanonicalError("not an object in canonical JSON")


def _check(value: Any, where: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise CanonicalError(f"{where}: nested too deep")
    if isinstance(value, list):
        for number, each in enumerate(value):
            _check(each, f"{where}/{number}", depth + 1)
    elif isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise CanonicalError(f"{where}: a name is printable ASCII")
            _check(each, f"{where}/{name}", depth + 1)
    elif not _is_plain(value):
        raise CanonicalError(f"{where}: {type(value).__name__} has no canonical form")


def _is_plain(value: Any) -> bool:
    """Text without halves of characters, a number that every JSON reader keeps, a truth value or null."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, bool) or value is None:
        return True
    return isinstance(value, int) and abs(value) <= INTEGER_MAX


@dataclass(frozen=True, slots=True)
class ChallengeRequest:
    """A node asks to measure one of its cards. `subject` is what for, such as a sale's id."""

    uuid: str
    role: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class SignedChallenge:
    """`payload` is the JSON text of a `Challenge`; the market's key has signed it."""

    payload: str
    signature: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a passport must answer: fresh, for this card on this node, and next in the card's chain."""

    node: str
    uuid: str
    role: str
    subject: str
    nonce: str  # 64 hex digits
    seq: int
    prev_sha256: str
    issued_at: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class PassportPost:
    """A passport on its way: the canonical text, the node's signature of it, and the challenge it answers."""

    body: str
    signature: str
    challenge: SignedChallenge


@dataclass(frozen=True, slots=True)
class PassportReply:
    """What the market recorded."""

    id: str
    tier: str
    function_grade: str
    findings: list[str]
    sha256: str
    expires_at: str
    url: str


def line_of(nonce: bytes, matrix: str, number: int, side: int) -> bytes:
    """Row `number` of matrix A, or column of B: a byte each of 0, 1 or 255, which stands for −1."""
    seed = b"fallow gemm 1\n" + nonce + matrix.encode() + number.to_bytes(4, "little")
    return hashlib.shake_128(seed).digest(side).translate(_FROM_BYTE)


def entry_of(nonce: bytes, row: int, column: int, side: int) -> int:
    """One entry of the product, in whole numbers: every card that computes right gets exactly this."""
    pairs = zip(line_of(nonce, "A", row, side), line_of(nonce, "B", column, side), strict=True)
    return sum(0 if not a or not b else 1 if a == b else -1 for a, b in pairs)


def sampled_places(nonce: bytes, product_sha256: str, side: int) -> list[tuple[int, int]]:
    """Which entries are shown; known only once the product is, because they hang on its hash."""
    drawn = hashlib.shake_128(b"fallow sample 1\n" + nonce + product_sha256.encode()).digest(8 * SAMPLES)
    words = [int.from_bytes(drawn[at : at + 4], "little") % side for at in range(0, 8 * SAMPLES, 4)]
    return list(zip(words[::2], words[1::2], strict=True))


def is_right_product(nonce: bytes, product_sha256: str, side: int, samples: Sequence[Any]) -> bool:
    """Whether the entries that were shown are the product's, computed again."""
    if not 0 < side <= PRODUCT_SIDE_MAX:
        return False
    places = sampled_places(nonce, product_sha256, side)
    return list(samples) == [entry_of(nonce, row, column, side) for row, column in places]
