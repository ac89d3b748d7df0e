"""Objects by id, changed in transactions and kept in one file that is only appended to.

A line of the file is one transaction: the JSON list of the objects it left behind. A line that a crash cut short never
happened. Keys that begin with `_` are the simulator's own and leave it only as far as `shown` lets them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from marketplace.payments.stripesim.protocol.errors import missing

Object = dict[str, Any]
PLATFORM = ""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def new_id(prefix: str) -> str:
    """An id as Stripe forms them; nothing may be read out of it but the prefix."""
    return f"{prefix}_{secrets.token_hex(12)}"


def copied(value: Object) -> Object:
    """A deep copy."""
    fresh: Object = _decode(_encode(value))
    return fresh


class Store:
    """Not safe for threads: the world's lock is around every transaction."""

    def __init__(self, path: Path | None) -> None:
        self._objects: dict[str, Object] = {}
        self._by_kind: dict[str, list[str]] = {}
        self._staged: dict[str, Object] = {}
        self._file: BinaryIO | None = None
        if path:
            self._open(path)

    def find(self, key: str) -> Object | None:
        """An object to read, not to write; None when there is none."""
        found = self._staged.get(key) or self._objects.get(key)
        return None if found is None or found.get("_gone") else found

    def get(self, kind: str, key: str, *, account: str = PLATFORM, param: str = "id") -> Object:
        """An object to read; raises Stripe's resource_missing also for another account's."""
        found = self.find(key)
        if found is None or found["object"] != kind or found["_account"] != account:
            raise missing(kind, key, param=param)
        return found

    def edit(self, key: str) -> Object:
        """An object to write: a copy that takes the old one's place when the transaction is committed."""
        if key not in self._staged:
            self._staged[key] = copied(self._objects[key])
        return self._staged[key]

    def add(self, value: Object, *, account: str = PLATFORM) -> Object:
        """A new object with its `id` and `object`."""
        value["_account"] = account
        self._staged[value["id"]] = value
        return value

    def remove(self, key: str) -> None:
        """Forgets an object."""
        self.edit(key)["_gone"] = True

    def of_kind(self, kind: str) -> Iterator[Object]:
        """All objects of a kind, the newest first."""
        for value in reversed(list(self._staged.values())):
            if value["object"] == kind and value["id"] not in self._objects and not value.get("_gone"):
                yield value
        for key in reversed(self._by_kind.get(kind, ())):
            found = self.find(key)
            if found is not None:
                yield found

    def commit(self) -> list[Object]:
        """Makes the transaction's changes stay; gives the objects that it touched."""
        touched = list(self._staged.values())
        if touched and self._file:
            self._file.write(_encode(touched) + b"\n")
            self._file.flush()
        self._take(touched)
        self._staged = {}
        return touched

    def rollback(self) -> None:
        """Forgets the transaction."""
        self._staged = {}

    def close(self) -> None:
        """Nothing is written afterwards."""
        if self._file:
            self._file.close()
            self._file = None

    def _take(self, values: list[Object]) -> None:
        for value in values:
            if value["id"] not in self._objects:
                self._by_kind.setdefault(value["object"], []).append(value["id"])
            self._objects[value["id"]] = value

    def _open(self, path: Path) -> None:
        """Reads what is there, and writes it anew without the history."""
        if path.exists():
            for line in path.read_bytes().split(b"\n")[:-1]:
                self._take(_decode(line))
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(path.suffix + ".new")
        self._file = os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        for value in self._objects.values():
            if not value.get("_gone"):
                self._file.write(_encode([value]) + b"\n")
        self._file.flush()
        fresh.replace(path)
        self._objects = {key: value for key, value in self._objects.items() if not value.get("_gone")}
        self._by_kind = {kind: [k for k in keys if k in self._objects] for kind, keys in self._by_kind.items()}
