"""The table of operations that are simulated, and what each is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marketplace.payments.stripesim.protocol.errors import not_simulated
from marketplace.payments.stripesim.state.store import Object
from marketplace.payments.stripesim.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `params` have their types, `args` are the address parameters in order, `account` whose it is."""

    world: World
    key: str
    params: dict[str, Any]
    args: tuple[str, ...]
    account: str

    @property
    def url(self) -> str:
        """The address without its host."""
        path = self.key.split(" ", 1)[1]
        for arg in self.args:
            path = path.replace("{}", arg, 1)
        return path


Handler = Callable[[Call], Object]


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation and the parameters that it honours. Others of the SDK's are refused, never passed over."""

    handler: Handler
    takes: frozenset[str]

    def check(self, params: dict[str, Any]) -> None:
        """Raises 501 for a parameter that Stripe has and the simulator hasn't."""
        for name in params:
            if name not in self.takes:
                raise not_simulated(f"the parameter {name}")


TABLE: dict[str, Entry] = {}
PAGED = "created limit starting_after ending_before expand"


def operation(key: str, takes: str = "") -> Callable[[Handler], Handler]:
    """Enters a function for a key such as `POST /v1/refunds/{}`; `takes` names its parameters, spaces between."""

    def register(handler: Handler) -> Handler:
        TABLE[key] = Entry(handler, frozenset([*takes.split(), "expand"]))
        return handler

    return register


def only(params: dict[str, Any], name: str, allowed: str) -> dict[str, Any]:
    """The parameter's own fields, all of which must be among the allowed ones."""
    inner = params.get(name) or {}
    for key in inner:
        if key not in allowed.split():
            raise not_simulated(f"the parameter {name}[{key}]")
    return dict(inner)


def merge_metadata(stored: Object, params: dict[str, Any]) -> None:
    """Sets, replaces or, with an empty text, removes: https://docs.stripe.com/api/metadata."""
    if "metadata" not in params:
        return
    given = params["metadata"] or {}
    merged = {**stored.get("metadata", {}), **given} if given else {}
    stored["metadata"] = {key: value for key, value in merged.items() if value != ""}
