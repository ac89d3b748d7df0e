"""Prefixed public ids, such as `ord_3kTmMRexLZ0vQ8aD`."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Any

from django.db import models

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 16  # 95 bits
EVEN = 256 - 256 % len(ALPHABET)  # bytes from here on would make the first letters likelier
LETTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
UNEVEN = bytes(range(EVEN, 256))


def new_id(prefix: str) -> str:
    """A fresh id; the prefix says what kind of thing it names."""
    return f"{prefix}_{random_text(RANDOM_LENGTH)}"


def random_text(length: int) -> str:
    """`length` random base62 characters."""
    text = b""
    while len(text) < length:
        text += secrets.token_bytes(2 * length).translate(LETTERS, UNEVEN)
    return text[:length].decode()


class PublicIdField(models.CharField):  # type: ignore[type-arg]
    """The id that people and the API see; the primary key stays inside."""

    def __init__(self, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix
        super().__init__(**({"max_length": 32, "unique": True, "editable": False} | options))

    def get_default(self) -> str:
        return new_id(self.prefix)

    def has_default(self) -> bool:
        return True

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, positional, options = super().deconstruct()
        return name, path, positional, options | {"prefix": self.prefix, "unique": self.unique}
