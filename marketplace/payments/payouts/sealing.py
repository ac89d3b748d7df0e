"""Numbers of accounts at rest: XSalsa20-Poly1305 (PyNaCl's SecretBox) with a key that is in no table."""

from __future__ import annotations

from django.conf import settings
from nacl.secret import SecretBox


def sealed(text: str) -> bytes:
    """The text, to be read only with BANK_DETAILS_KEY."""
    return bytes(_box().encrypt(text.encode()))


def unsealed(box: bytes) -> str:
    """The text again; nacl.exceptions.CryptoError with another key."""
    return _box().decrypt(box).decode()


def _box() -> SecretBox:
    return SecretBox(bytes.fromhex(settings.BANK_DETAILS_KEY))
