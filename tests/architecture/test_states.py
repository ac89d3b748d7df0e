"""Every state has its line in the transition table, and only `transition` moves along it."""

from __future__ import annotations

import re
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).parents[2]
WRITES_A_STATE = re.compile(r"^\s*[\w.]+\.state = |\.update\([^)]*\bstate=")


def stateful_models():
    return [model for model in apps.get_models() if hasattr(model, "STATES")]


def test_transition_tables_are_complete():
    assert stateful_models()
    for model in stateful_models():
        states = {str(value) for value, _ in model._meta.get_field("state").choices}
        assert {str(state) for state in model.STATES} == states, model
        assert {str(to) for each in model.STATES.values() for to in each} <= states, model


def test_only_transitions_write_a_state():
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("marketplace", "listings", "nodes")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "transitions.py" and not {"agent", "migrations", "node_modules"} & set(path.parts)
        for line in path.read_text().splitlines()
        if WRITES_A_STATE.search(line)
    ]
    assert not found
