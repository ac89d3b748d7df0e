"""What the installed SDK says a request may hold and an answer must hold. It judges both, for every operation."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import stripe

from marketplace.payments.stripesim.protocol.errors import ApiError, invalid
from marketplace.payments.stripesim.protocol.forms import Coercer, coercer
from marketplace.payments.stripesim.protocol.sdk_operations import SdkOperation, sdk_operations, sdk_root
from marketplace.payments.stripesim.protocol.sdk_types import Schema, Types

KINDS = jsonschema_rs.ValidationErrorKind
OBJECT_NAME = re.compile(
    r'^class (\w+)\((?:(?!^class ).)*?^    OBJECT_NAME: ClassVar\[Literal\["([^"]+)"\]\]', re.M | re.S
)
NOTHING: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
DELETED: Schema = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "object": {"type": "string"}, "deleted": {"const": True}},
    "required": ["id", "object", "deleted"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Request:
    """How the parameters of one operation are read and judged."""

    schema: Schema
    coerce: Coercer
    validator: Any

    def read(self, parameters: dict[str, Any], *, typed: bool) -> dict[str, Any]:
        """Parameters with their types; raises Stripe's 400 for what the SDK does not know. JSON is `typed` already."""
        coerced: dict[str, Any] = parameters if typed else self.coerce(parameters)
        if not self.validator.is_valid(coerced):
            raise _refusal(next(iter(self.validator.iter_errors(coerced))))
        return coerced


class Specification:
    """Derived from the SDK on first use of each operation; `api_version` is the one that the SDK speaks."""

    def __init__(self) -> None:
        self.sdk_version: str = stripe.VERSION
        self.api_version: str = stripe.api_version
        self._requests = Types(sdk_root(), requests=True)
        self._answers = Types(sdk_root(), requests=False, modules=self._requests.modules)
        self.operations = sdk_operations(self._answers)
        self._resources = self._index_resources()
        self._request_of: dict[str, Request] = {}
        self._answer_of: dict[str, Any] = {}
        self._resource_validator: dict[str, Any] = {}
        self._deleted = jsonschema_rs.validator_for(DELETED)

    def request(self, operation: SdkOperation) -> Request:
        """The judge of an operation's parameters."""
        known = self._request_of.get(operation.key)
        if known is None:
            schema = (
                self._requests.resource(*operation.parameters) if operation.parameters else {**NOTHING, "$defs": {}}
            )
            compiled = coercer(schema, schema["$defs"])
            known = Request(schema, compiled, jsonschema_rs.validator_for(schema))
            self._request_of[operation.key] = known
        return known

    def drift(self, operation: SdkOperation, answer: Any) -> str | None:
        """The first way in which an answer is not what the SDK expects, None when it is."""
        if operation.key not in self._answer_of:
            self._answer_of[operation.key] = jsonschema_rs.validator_for(self.answer_schema(operation))
        if isinstance(answer, dict) and answer.get("deleted") is True:
            return _first(self._deleted, answer)
        return _first(self._answer_of[operation.key], answer) or self.drift_within(answer)

    def drift_within(self, node: Any) -> str | None:
        """The same for every resource inside of an answer, each judged by its own schema."""
        if isinstance(node, list):
            return next((found for each in node if (found := self.drift_within(each))), None)
        if not isinstance(node, dict):
            return None
        name = node.get("object")
        if isinstance(name, str) and name in self._resources:
            found = _first(self._resource(name), node)
            if found:
                return f"{name}: {found}"
        return next(
            (found for each in node.values() if isinstance(each, dict | list) and (found := self.drift_within(each))),
            None,
        )

    def answer_schema(self, operation: SdkOperation) -> Schema:
        """The outer schema of an answer; resources in it are only named."""
        return self._answers.schema(self._answers.module(operation.module), (), operation.answer)[0]

    def digest(self, operation: SdkOperation) -> str:
        """Changes when the SDK changes what an operation takes or gives."""
        schemas = [self.request(operation).schema, self.answer_schema(operation)]
        names = sorted(set(re.findall(r'"const": "([\w.]+)"', json.dumps(schemas[1]))) & set(self._resources))
        schemas += [self._answers.resource(*self._resources[name]) for name in names]
        return hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:16]

    def _resource(self, name: str) -> Any:
        if name not in self._resource_validator:
            schema = self._answers.resource(*self._resources[name])
            self._resource_validator[name] = jsonschema_rs.validator_for(schema)
        return self._resource_validator[name]

    def _index_resources(self) -> dict[str, tuple[str, str]]:
        """`object` → (module, class)."""
        found = {}
        for path in sorted(sdk_root().rglob("_*.py")):
            parts = path.relative_to(sdk_root()).with_suffix("").parts
            if parts[0] == "params" or path.stem.endswith("_service"):
                continue
            for name, resource in OBJECT_NAME.findall(path.read_text()):
                found[resource] = (".".join(["stripe", *parts]), name)
        return found


def _first(validator: Any, value: Any) -> str | None:
    if validator.is_valid(value):
        return None
    error = next(iter(validator.iter_errors(value)))
    return f"{'.'.join(map(str, error.instance_path)) or 'the whole'}: {error.message[:300]}"


def bracketed(path: list[Any]) -> str:
    """`a[b][0]`, the way Stripe names a parameter."""
    return str(path[0]) + "".join(f"[{part}]" for part in path[1:]) if path else ""


def _refusal(error: Any) -> ApiError:
    """https://docs.stripe.com/error-codes: parameter_unknown, parameter_missing, parameter_invalid_…"""
    path = list(error.instance_path)
    if isinstance(error.kind, KINDS.AdditionalProperties):
        name = bracketed([*path, error.kind.unexpected[0]])
        return invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
    if isinstance(error.kind, KINDS.Required):
        name = bracketed([*path, error.kind.property])
        return invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
    name = bracketed(path)
    if isinstance(error.kind, KINDS.FalseSchema):
        return invalid(f"Received unknown parameter: {name}", param=name or None, code="parameter_unknown")
    if isinstance(error.kind, KINDS.Type) and error.kind.types == ["integer"]:
        return invalid(f"Invalid integer: {error.instance}", param=name, code="parameter_invalid_integer")
    if error.instance == "":
        return invalid(f"You passed an empty string for '{name}'.", param=name, code="parameter_invalid_empty")
    return invalid(f"Invalid {name}: {error.message[:200]}", param=name or None)
