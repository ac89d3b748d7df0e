"""Numbers of accounts at rest: XSalsa20-Poly1305 (PyNaCl's SecretBox) with a key that is in no table.

The same number is sealed differently each time. Its digest is the same each time, so that two firms with one account
are seen; it is keyed, for account numbers are few enough to try them all.
"""

from __future__ import annotations

import hashlib

from django.conf import settings
from nacl.secret import SecretBox


def sealed(text: str) -> bytes:
    """The text, to be read only with BANK_DETAILS_KEY."""
    return bytes(_box().encrypt(text.encode()))


def unsealed(box: bytes) -> str:
    """The text again; nacl.exceptions.CryptoError with another key."""
    return _box().decrypt(box).decode()


def digest(text: str) -> bytes:
    """32 bytes to compare numbers by: BLAKE2b, keyed (RFC 7693) with BANK_DETAILS_KEY."""
    key = bytes.fromhex(settings.BANK_DETAILS_KEY)
    return hashlib.blake2b(text.encode(), digest_size=32, key=key, person=b"bank account").digest()


def _box() -> SecretBox:
    return SecretBox(bytes.fromhex(settings.BANK_DETAILS_KEY))
