"""Form-encoded parameters with their types: https://docs.stripe.com/api says bodies are forms, answers are JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

Coercer = Callable[[Any], Any]

KEY_PARTS = re.compile(r"[^\[\]]+")
INTEGER = re.compile(r"-?\d{1,18}")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
BOOLEANS = {"true": True, "false": False}


def nested(encoded: str) -> dict[str, Any]:
    """`a[b][0]=c` as {"a": {"b": ["c"]}}; every leaf is still text."""
    tree: dict[str, Any] = {}
    for position, (key, value) in enumerate(parse_qsl(encoded, keep_blank_values=True)):
        parts = KEY_PARTS.findall(key)
        if key.endswith("[]"):
            parts.append(str(position))
        branch = tree
        for part in parts[:-1]:
            below = branch.setdefault(part, {})
            branch = below if isinstance(below, dict) else {}
        branch[parts[-1]] = value
    return {key: _with_lists(value) for key, value in tree.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_with_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _with_lists(value) for key, value in node.items()}


def coercer(schema: dict[str, Any], definitions: dict[str, Any], made: dict[str, Coercer] | None = None) -> Coercer:
    """A function that gives text the types of a schema; what doesn't fit is left for the validator to refuse."""
    made = {} if made is None else made
    if "$ref" in schema:
        return _reference(schema["$ref"].rpartition("/")[2], definitions, made)
    if "anyOf" in schema:
        return _any_of([_resolved(each, definitions) for each in schema["anyOf"]], definitions, made)
    kind = schema.get("type")
    if "properties" in schema:
        return _object({key: coercer(each, definitions, made) for key, each in schema["properties"].items()})
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return _mapping(coercer(schema["additionalProperties"], definitions, made))
    if kind == "array":
        return _array(coercer(schema["items"], definitions, made))
    if "enum" in schema and isinstance(schema["enum"][0], bool):
        return _boolean
    return {"integer": _integer, "number": _number, "boolean": _boolean}.get(str(kind), _as_it_is)


def _reference(key: str, definitions: dict[str, Any], made: dict[str, Coercer]) -> Coercer:
    """Made when first used: a type may hold itself."""

    def coerce(value: Any) -> Any:
        if key not in made:
            made[key] = coercer(definitions[key], definitions, made)
        return made[key](value)

    return coerce


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema


def _any_of(options: list[dict[str, Any]], definitions: dict[str, Any], made: dict[str, Coercer]) -> Coercer:
    """The first alternative that has the shape of the value."""
    lists = [coercer(each, definitions, made) for each in options if each.get("type") == "array"]
    objects = [coercer(each, definitions, made) for each in options if each.get("type") == "object"]
    literals = {literal for each in options for literal in each.get("enum", ())}
    kinds = [each.get("type") for each in options]
    scalars = [_SCALARS[kind] for kind in ("integer", "number", "boolean") if kind in kinds]

    def coerce(value: Any) -> Any:
        if isinstance(value, list | dict):
            fitting = lists if isinstance(value, list) else objects
            return fitting[0](value) if fitting else value
        if value in literals:
            return value
        for scalar in scalars:
            typed = scalar(value)
            if not isinstance(typed, str):
                return typed
        return value

    return coerce


def _object(fields: dict[str, Coercer]) -> Coercer:
    def coerce(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: fields[key](each) if key in fields else each for key, each in value.items()}

    return coerce


def _mapping(of: Coercer) -> Coercer:
    return lambda value: {key: of(each) for key, each in value.items()} if isinstance(value, dict) else value


def _array(of: Coercer) -> Coercer:
    return lambda value: [of(each) for each in value] if isinstance(value, list) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and INTEGER.fullmatch(value) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


def _boolean(value: Any) -> Any:
    return BOOLEANS.get(value, value) if isinstance(value, str) else value


def _as_it_is(value: Any) -> Any:
    return value


_SCALARS: dict[str, Coercer] = {"integer": _integer, "number": _number, "boolean": _boolean}
