"""The key that signs what nodes may run. It comes from the environment and is in no table."""

from __future__ import annotations

import base64
import functools

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from nacl.signing import SigningKey

from nodes.agent.protocol import AssignmentCommand, SignedCommand, encode


@functools.cache
def command_key() -> SigningKey:
    """The Ed25519 key of COMMAND_KEY, 64 hex digits."""
    try:
        return SigningKey(bytes.fromhex(settings.COMMAND_KEY))
    except ValueError as error:
        raise ImproperlyConfigured("COMMAND_KEY must be 64 hex digits") from error


def command_public_key() -> str:
    """What an enrolling node pins, in base64."""
    return base64.b64encode(bytes(command_key().verify_key)).decode()


def sign_command(command: AssignmentCommand) -> SignedCommand:
    """The command as nodes get it."""
    payload = encode(command)
    signature = command_key().sign(payload).signature
    return SignedCommand(payload=payload.decode(), signature=base64.b64encode(signature).decode())
