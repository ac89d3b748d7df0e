"""How a stored object looks from outside: without the simulator's own keys, with what was asked to be expanded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from marketplace.payments.stripesim.protocol.errors import invalid

if TYPE_CHECKING:
    from marketplace.payments.stripesim.world import World

Object = dict[str, Any]
VIEWS: dict[str, Callable[[World, Object], Object]] = {}
INCLUDABLE: dict[tuple[str, str], Callable[[World, Object], Object]] = {}
DEPTH_MAX = 4


def view(kind: str) -> Callable[[Callable[[World, Object], Object]], Callable[[World, Object], Object]]:
    """Names the function that works out fields that are not stored."""

    def register(function: Callable[[World, Object], Object]) -> Callable[[World, Object], Object]:
        VIEWS[kind] = function
        return function

    return register


def includable(
    kind: str, name: str
) -> Callable[[Callable[[World, Object], Object]], Callable[[World, Object], Object]]:
    """Names the function that makes a field which is only there when it is expanded."""

    def register(function: Callable[[World, Object], Object]) -> Callable[[World, Object], Object]:
        INCLUDABLE[kind, name] = function
        return function

    return register


def shown(world: World, stored: Object, expand: Iterable[str] = ()) -> Object:
    """The object as an answer has it. `expand` as https://docs.stripe.com/expand describes it."""
    seen = VIEWS[stored["object"]](world, stored) if stored["object"] in VIEWS else stored
    public = {key: value for key, value in seen.items() if not key.startswith("_")}
    return _expanded(world, stored, public, list(expand), 1)


def _expanded(world: World, stored: Object, public: Object, paths: list[str], depth: int) -> Object:
    if not paths:
        return public
    if depth > DEPTH_MAX:
        raise invalid(f"You cannot expand more than {DEPTH_MAX} levels of a property.", param="expand")
    below: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        head, _, rest = path.partition(".")
        below[head] += [rest] if rest else []
    for name, inner in below.items():
        public[name] = _field(world, stored, public, name, inner, depth)
    return public


def _field(world: World, stored: Object, public: Object, head: str, rest: list[str], depth: int) -> Any:
    made = INCLUDABLE.get((stored.get("object", ""), head))
    value = made(world, stored) if made else public.get(head)
    if isinstance(value, str):
        found = world.store.find(value)
        if found is not None:
            return _expanded(world, found, shown(world, found), rest, depth + 1)
    elif isinstance(value, list):
        return [_expanded(world, each, dict(each), rest, depth) for each in value]
    elif isinstance(value, dict):
        return _expanded(world, value, dict(value), rest, depth + (0 if made else 1))
    elif head in public:
        return None
    raise invalid(f"This property cannot be expanded ({head}).", param="expand")
