"""Creditor references of ISO 11649: `RF`, two check digits, up to 21 characters; a mistyped one is noticed."""

from __future__ import annotations

import re
import secrets

ALPHABET = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without I and O, which are read as digits
BODY_LENGTH = 14  # 71 bits, and RF and the check digits in front: 18 characters on a wire form
_SHAPE = re.compile(r"RF\d{2}[0-9A-Z]{1,21}")


def new_reference() -> str:
    """A fresh reference."""
    return reference_for("".join(secrets.choice(ALPHABET) for _ in range(BODY_LENGTH)))


def reference_for(body: str) -> str:
    """The reference with this body: check digits are 98 minus (body, RF, 00) modulo 97, letters as 10 to 35."""
    return f"RF{98 - _remainder(body + 'RF00'):02d}{body}"


def is_reference(text: str) -> bool:
    """Whether the check digits fit; spaces and lower case are forgiven, as on a bank's form."""
    compact = re.sub(r"\s", "", text).upper()
    return bool(_SHAPE.fullmatch(compact)) and _remainder(compact[4:] + compact[:4]) == 1


def _remainder(text: str) -> int:
    return int("".join(str(int(character, 36)) for character in text)) % 97
