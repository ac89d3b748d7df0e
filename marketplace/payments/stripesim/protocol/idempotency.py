"""Repeated requests: https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/error-low-level.

Version 1 keeps status and body of the first request that began to execute, errors included, for 24 hours. Version 2
keeps successes only, for 30 days, and tries again what failed: https://docs.stripe.com/api-v2-overview.
"""

from __future__ import annotations

import hashlib
from typing import Any

from marketplace.payments.stripesim.protocol.errors import ApiError
from marketplace.payments.stripesim.state.clock import DAY_S
from marketplace.payments.stripesim.state.store import Object
from marketplace.payments.stripesim.world import World

KEPT_S = {"v1": DAY_S, "v2": 30 * DAY_S}


def fingerprint(method: str, path: str, body: bytes, account: str) -> str:
    """Same request, same text."""
    whole = b"\0".join([method.encode(), path.encode(), account.encode(), body])
    return hashlib.sha256(whole).hexdigest()


def in_use(key: str) -> ApiError:
    """409: the first request with this key is still being worked on."""
    message = f"There is currently another in-progress request using this Idempotent Key ({key})."
    return ApiError(409, "idempotency_error", message, code="idempotency_key_in_use")


class Idempotency:
    """Saved answers. A record is written in the transaction of the work that it answers for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._working: set[str] = set()

    def begin(self, record: str, key: str) -> None:
        """Marks a key as being worked on; raises when somebody else is at it."""
        with self._world.lock:
            if record in self._working:
                raise in_use(key)
            self._working.add(record)

    def end(self, record: str) -> None:
        """The key may be used again."""
        with self._world.lock:
            self._working.discard(record)

    def saved(self, record: str, print_of: str) -> Object | None:
        """The saved answer; raises when the key was first used for something else."""
        found = self._world.store.find(record)
        if found is None or found["until"] <= self._world.clock.now():
            return None
        if found["print"] != print_of:
            raise ApiError(
                400, "idempotency_error",
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                "Try using a key other than the one given if you meant to execute a different request.",
            )  # fmt: skip
        return found

    def save(self, record: str, print_of: str, status: int, body: dict[str, Any]) -> None:
        """Keeps an answer, in the transaction that is open. Version 2 keeps no failures."""
        version = record.split(":", 2)[1]
        if version == "v2" and status >= 400:
            return
        until = self._world.clock.now() + KEPT_S[version]
        self._world.store.add(
            {"id": record, "object": "_idempotency", "print": print_of, "status": status, "body": body, "until": until}
        )


def record_id(path: str, account: str, key: str) -> str:
    """Keys are apart per version of the API and per account."""
    return f"idempotency:{path[1:3]}:{account}:{key}"
