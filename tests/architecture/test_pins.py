"""What is installed is what was tested."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-demo.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(name):
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    assert not [line for line in lines if line and not line.startswith("-r") and "==" not in line]


@pytest.mark.parametrize("name", ["beancount"])
def test_a_program_of_another_licence_is_started_and_never_imported(name):
    """beancount is GPL-2.0: its checker runs as a program of its own, beside the tests alone."""
    importing = re.compile(rf"^\s*(import|from) {name}\b|import_module\(.{name}|importorskip\(.{name}", re.MULTILINE)
    folders = [ROOT / folder for folder in ("marketplace", "listings", "nodes", "tests")]
    files = [file for folder in folders for file in folder.rglob("*.py") if "node_modules" not in file.parts]
    assert len(files) > 300
    assert not [str(file) for file in files if importing.search(file.read_text(encoding="utf-8"))]
    assert name in (ROOT / "requirements-dev.txt").read_text()
    for installed in ("requirements.txt", "requirements-demo.txt"):
        assert name not in (ROOT / installed).read_text()


# What the processes of an installation import, also what they import only once they run.
RUNNING = """
import importlib, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in STRANGERS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

STRANGERS = set(sys.argv[1:])
sys.meta_path.insert(0, Missing())
import django
django.setup()
for name in (
    "marketplace.wsgi", "marketplace.asgi", "marketplace.urls", "marketplace.celery", "nodes.ingest.asgi",
    "nodes.relay.server", "marketplace.matching.management.commands.matcher",
    "kombu.transport.redis", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.prefork",
    "gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "uvicorn.protocols.http.httptools_impl",
):
    importlib.import_module(name)
"""


def test_the_server_runs_on_what_requirements_txt_brings():
    names = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    brought = closure([Requirement(name) for name in names if name])
    modules = packages_distributions().items()
    strangers = [module for module, owners in modules if not brought & {plain(owner) for owner in owners}]
    assert "pytest" in strangers
    command = [sys.executable, "-c", RUNNING, *strangers]
    imported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr[-2000:]


def closure(wanted: list[Requirement]) -> set[str]:
    """The names of these distributions and of all that they ask for, extras included."""
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        for extra in {"", *requirement.extras}:
            if (plain(requirement.name), extra) in seen:
                continue
            seen.add((plain(requirement.name), extra))
            try:
                asked = [Requirement(text) for text in requires(requirement.name) or ()]
            except PackageNotFoundError:  # asked for on other platforms
                continue
            wanted += [each for each in asked if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def plain(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return name.lower().replace("_", "-").replace(".", "-")
