"""JSON Schemas out of the type annotations of the installed Stripe SDK, which Stripe generates from its own API.

Only the syntax trees are read; nothing of the SDK is run.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

PLAIN: dict[str, Schema] = {
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "Decimal": {"type": "string"},
    "Any": {},
    "object": {},
}
FREE_OBJECTS = {"UntypedStripeObject", "StripeObject", "Dict"}


def parsed(annotation: ast.expr) -> ast.expr:
    """The annotation itself where it is written as a string."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value.strip(), mode="eval").body
    return annotation


@dataclass
class Module:
    """One file of the SDK: `name` is dotted, `tree` its syntax."""

    name: str
    tree: ast.Module

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        return {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Local name → (module, name there)."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe")
            for alias in node.names
        }

    @cached_property
    def functional(self) -> dict[str, ast.Dict]:
        """Fields of the dictionaries typed by a call, which is how keys such as `from` are written."""
        return {
            node.targets[0].id: node.value.args[1]
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) == "TypedDict"
            and isinstance(node.value.args[1], ast.Dict)
        }


def own_classes(node: ast.ClassDef) -> dict[str, ast.ClassDef]:
    """Classes written inside a class."""
    return {child.name: child for child in node.body if isinstance(child, ast.ClassDef)}


def object_name(node: ast.ClassDef) -> str | None:
    """What the `object` field of a resource says, None for a class that is no resource."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "OBJECT_NAME":
            return line.value.value if isinstance(line.value, ast.Constant) else None  # type: ignore[return-value]
    return None


@dataclass
class Types:
    """Turns classes into schemas. A reference to another resource becomes a mere check of its `object`:
    the whole of it is checked by its own schema, so that no schema holds all the others."""

    root: Path
    requests: bool
    modules: dict[str, Module] = field(default_factory=dict)
    definitions: dict[str, Schema] = field(default_factory=dict)

    def module(self, name: str) -> Module:
        """The parsed file of a dotted module name."""
        if name not in self.modules:
            path = self.root.joinpath(*name.split(".")[1:]).with_suffix(".py")
            self.modules[name] = Module(name, ast.parse(path.read_text()))
        return self.modules[name]

    def resource(self, module: str, name: str) -> Schema:
        """The schema of a class together with all that it is made of."""
        self.definitions = {}
        top = self._define(self.module(module), (self.module(module).classes[name],))
        return {**top, "$defs": self.definitions}

    def schema(self, module: Module, scope: tuple[ast.ClassDef, ...], annotation: ast.expr) -> tuple[Schema, bool]:
        """What an annotation allows, and whether the field may be missing."""
        node = parsed(annotation)
        if isinstance(node, ast.Constant) and node.value is None:
            return {"type": "null"}, True
        if isinstance(node, ast.BinOp):
            return self._union(module, scope, _alternatives(node)), False
        if isinstance(node, ast.Subscript):
            return self._subscript(module, scope, node)
        return self._named(module, scope, ast.unparse(node)), False

    def _subscript(self, module: Module, scope: tuple[ast.ClassDef, ...], node: ast.Subscript) -> tuple[Schema, bool]:
        head = ast.unparse(node.value).split(".")[-1]
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if head in {"NotRequired", "Optional"}:
            inner = self.schema(module, scope, arguments[0])[0]
            return ({"anyOf": [inner, {"type": "null"}]} if head == "Optional" else inner), True
        if head == "Literal":
            return {"enum": [ast.literal_eval(each) for each in arguments]}, False
        if head == "Union":
            return self._union(
                module, scope, [alternative for each in arguments for alternative in _alternatives(each)]
            ), False
        if head == "ExpandableField":
            return self._union(module, scope, [ast.Name("str"), arguments[0]]), False
        if head in {"List", "Sequence", "Iterable"}:
            return {"type": "array", "items": self.schema(module, scope, arguments[0])[0]}, False
        if head == "ListObject":
            return self._list(module, self.schema(module, scope, arguments[0])[0]), False
        if head in FREE_OBJECTS:
            inner = self.schema(module, scope, arguments[-1])[0]
            return {"type": "object", "additionalProperties": inner or True}, False
        raise LookupError(f"{module.name}: {head} is not understood")

    def _list(self, module: Module, items: Schema) -> Schema:
        """A page of either version of the API: https://docs.stripe.com/api/pagination."""
        first = {"object": {"const": "list"}, "has_more": {"type": "boolean"}, "url": {"type": "string"}}
        pages = {"type": ["string", "null"]}
        second = {"next_page_url": pages, "previous_page_url": pages}
        fields = second if module.imports["ListObject"][0].startswith("stripe.v2") else first
        data = {"type": "array", "items": items}
        properties = {"data": data, **fields}
        return {
            "type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False
        }  # fmt: skip

    def _union(self, module: Module, scope: tuple[ast.ClassDef, ...], parts: list[ast.expr]) -> Schema:
        schemas = [self.schema(module, scope, part)[0] for part in parts]
        named = [each for each in schemas if "enum" in each]
        if named and {"type": "string"} in schemas and any(named[0]["enum"]):
            # "one of these, or what a later version adds": neither a request nor an answer of this version has more
            schemas.remove({"type": "string"})
        if all(each.get("type") == "object" and "properties" not in each for each in schemas):
            return schemas[-1]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _named(self, module: Module, scope: tuple[ast.ClassDef, ...], name: str) -> Schema:
        if name in PLAIN:
            return dict(PLAIN[name])
        if name in FREE_OBJECTS:
            return {"type": "object"}
        for depth in range(len(scope), -1, -1):
            found = _descend(module, scope[:depth], name.split("."))
            if found:
                return self._reference(module, found)
        head, _, rest = name.partition(".")
        where, there = module.imports[head]
        target = self.module(where)
        found = _descend(target, (), [there, *rest.split(".")] if rest else [there])
        if found is None:
            raise LookupError(f"{module.name}: no class {name}")
        return self._reference(target, found)

    def _reference(self, module: Module, path: tuple[ast.ClassDef, ...]) -> Schema:
        resource = None if self.requests else object_name(path[-1])
        if resource:
            return {"type": "object", "properties": {"object": {"const": resource}}, "required": ["object"]}
        key = "-".join([module.name, *(node.name for node in path)])
        if key not in self.definitions:
            self.definitions[key] = {}
            self.definitions[key] = self._define(module, path)
        return {"$ref": f"#/$defs/{key}"}

    def _define(self, module: Module, path: tuple[ast.ClassDef, ...]) -> Schema:
        """Closed: a field that the SDK does not know is neither taken nor given."""
        properties: dict[str, Schema] = {}
        required = []
        fields = [
            (line.target.id, line.annotation)
            for line in path[-1].body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id != "OBJECT_NAME"
        ]
        for base in path[-1].bases:
            typed = module.functional.get(ast.unparse(base))
            if typed:
                fields += [
                    (str(ast.literal_eval(key)), value)
                    for key, value in zip(typed.keys, typed.values, strict=True)
                    if key
                ]
        for name, annotation in fields:
            if name.startswith("_"):
                continue
            properties[name], optional = self.schema(module, path, annotation)
            if not optional:
                required.append(name)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _alternatives(node: ast.expr) -> list[ast.expr]:
    """The parts of `A | B | C`, flat."""
    node = parsed(node)
    if isinstance(node, ast.BinOp):
        return _alternatives(node.left) + _alternatives(node.right)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Union" and isinstance(node.slice, ast.Tuple):
        return [part for each in node.slice.elts for part in _alternatives(each)]
    return [node]


def _descend(module: Module, scope: tuple[ast.ClassDef, ...], names: list[str]) -> tuple[ast.ClassDef, ...] | None:
    """The path of classes to a dotted name as seen from inside `scope`."""
    path = scope
    for name in names:
        inside = own_classes(path[-1]) if path else module.classes
        if name not in inside:
            return None
        path = (*path, inside[name])
    return path
