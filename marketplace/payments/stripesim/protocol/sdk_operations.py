"""Every operation that the installed Stripe SDK can call: method, address, types of parameters and answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import stripe

from marketplace.payments.stripesim.protocol.sdk_types import Module, Types, parsed

ADDRESS_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class SdkOperation:
    """A method of a service class. `parameters` names (module, class), None where there are none."""

    method: str
    path: str
    module: str
    answer: ast.expr
    parameters: tuple[str, str] | None

    @property
    def key(self) -> str:
        """Such as `POST /v1/refunds/{}`; names of address parameters don't count."""
        return key_of(self.method, self.path)


def key_of(method: str, path: str) -> str:
    """How an operation is named here, whatever its address parameters are called."""
    return f"{method.upper()} {ADDRESS_PARAMETER.sub('{}', path)}"


def sdk_operations(types: Types) -> dict[str, SdkOperation]:
    """Operation key → operation, over all services of the SDK."""
    found = {}
    for path in sorted(types.root.rglob("*_service.py")):
        name = ".".join(["stripe", *path.relative_to(types.root).with_suffix("").parts])
        for operation in _of_service(types.module(name)):
            found[operation.key] = operation
    return found


def _of_service(module: Module) -> Iterator[SdkOperation]:
    for service in module.classes.values():
        for method in service.body:
            if isinstance(method, ast.FunctionDef):
                for call in ast.walk(method):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "self._request":
                        yield _operation(module, method, call)


def _operation(module: Module, method: ast.FunctionDef, call: ast.Call) -> SdkOperation:
    verb, address = ast.literal_eval(call.args[0]), call.args[1]
    if isinstance(address, ast.Call) and isinstance(address.func, ast.Attribute):
        address = address.func.value  # "…{id}…".format(id=…)
    assert method.returns is not None
    return SdkOperation(verb, ast.literal_eval(address), module.name, method.returns, _parameters(module, method))


def _parameters(module: Module, method: ast.FunctionDef) -> tuple[str, str] | None:
    for argument in method.args.args:
        if argument.arg == "params" and argument.annotation:
            node = argument.annotation
            while isinstance(node, ast.Subscript):  # Optional["…"]
                node = parsed(node.slice)
            return module.imports[ast.unparse(parsed(node))]
    return None


def sdk_root() -> Path:
    """The folder of the installed SDK."""
    return Path(stripe.__file__).parent
