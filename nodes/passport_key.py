"""The market's key for passports. It comes from the environment and is in no table."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SHORT_CODE_LENGTH = 10


@functools.cache
def passport_key() -> SigningKey:
    """The Ed25519 key of PASSPORT_KEY, 64 hex digits."""
    try:
        return SigningKey(bytes.fromhex(settings.PASSPORT_KEY))
    except ValueError as error:
        raise ImproperlyConfigured("PASSPORT_KEY must be 64 hex digits") from error


def passport_public_key() -> str:
    """What anyone checks passports with, in base64."""
    return base64.b64encode(bytes(passport_key().verify_key)).decode()


def market_signature(prefix: bytes, text: str) -> str:
    """The market's signature of a text that begins with what it is, in base64."""
    return base64.b64encode(passport_key().sign(prefix + text.encode()).signature).decode()


def is_signed_by(public_key: bytes, prefix: bytes, text: str, signature: str) -> bool:
    """Whether the key made this signature; False for anything that is none."""
    try:
        VerifyKey(public_key).verify(prefix + text.encode(), base64.b64decode(signature, validate=True))
    except (BadSignatureError, binascii.Error, ValueError):
        return False
    return True


def is_ours(prefix: bytes, text: str, signature: str) -> bool:
    """Whether the market signed it."""
    return is_signed_by(bytes(passport_key().verify_key), prefix, text, signature)


def short_code(uuid: str) -> str:
    """What stands for a card's UUID in public: the same for the same card, and nobody can count back from it."""
    secret = hashlib.sha256(b"fallow short code 1\n" + bytes(passport_key())).digest()
    digest = hmac.new(secret, uuid.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:SHORT_CODE_LENGTH]
