"""Pages of objects: https://docs.stripe.com/api/pagination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from marketplace.payments.stripesim.protocol.errors import invalid, missing

Object = dict[str, Any]

LIMIT = 10
LIMIT_MAX = 100
CURSORS = {"limit", "starting_after", "ending_before", "expand", "created"}
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def in_range(value: int, wanted: int | dict[str, int] | None) -> bool:
    """Whether a time is the wanted one, or within the wanted bounds."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return value == wanted
    return all(COMPARISONS[name](value, bound) for name, bound in wanted.items())


def page(candidates: Iterable[Object], params: Object, url: str) -> Object:
    """One page of candidates, newest first, that also have every other parameter's value in the field of that name."""
    limit = params.get("limit", LIMIT)
    if not 1 <= limit <= LIMIT_MAX:
        raise invalid(f"This value must be between 1 and {LIMIT_MAX}.", param="limit")
    filters = {name: value for name, value in params.items() if name not in CURSORS}
    matching = (
        each
        for each in candidates
        if in_range(each["created"], params.get("created"))
        and all(each.get(name) == value for name, value in filters.items())
    )
    if "ending_before" in params:
        newer = list(_until(matching, params["ending_before"], "ending_before"))
        return _list(newer[-limit:], url, more=len(newer) > limit)
    if "starting_after" in params:
        for _ in _until(matching, params["starting_after"], "starting_after"):
            pass
    found = list(islice(matching, limit + 1))
    return _list(found[:limit], url, more=len(found) > limit)


def _until(matching: Iterator[Object], key: str, param: str) -> Iterator[Object]:
    """What comes before an object, and takes that one off as well; raises when it never comes."""
    for each in matching:
        if each["id"] == key:
            return
        yield each
    raise missing("object", key, param=param)


def _list(data: list[Object], url: str, *, more: bool) -> Object:
    return {"object": "list", "data": data, "has_more": more, "url": url}


def whole(data: list[Object], url: str) -> Object:
    """A list that is a field of another object; it shows the first few."""
    return _list(data[:LIMIT], url, more=len(data) > LIMIT)
