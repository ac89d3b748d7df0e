"""Small things: a module fits on a few screens, a function on one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40
SOURCES = sorted(
    path
    for package in ("marketplace", "listings", "nodes")
    for path in (ROOT / package).rglob("*.py")
    if not {"migrations", "node_modules", "build"} & set(path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path):
    text = path.read_text()
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert not long


def test_no_module_has_a_name_that_says_nothing():
    assert not [path for path in SOURCES if path.stem in {"utils", "helpers", "misc", "handlers"}]
