"""The agent as hosts get it: a wheel in a virtual environment that has no Django."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from nodes.agent.version import VERSION

AGENT = Path(__file__).parents[3] / "nodes/agent"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no build folder is left beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(AGENT, folder / "agent", ignore=ignored)
    build = "import setuptools.build_meta as b; print(b.build_wheel('../dist'))"
    (folder / "dist").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build], cwd=folder / "agent", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return next((folder / "dist").glob("fallow_agent-*.whl"))


@pytest.fixture(scope="module")
def host(wheel, tmp_path_factory):
    """A virtual environment with the wheel; its two dependencies are lent by this one, nothing else is."""
    folder = tmp_path_factory.mktemp("host")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--root-user-action", "ignore", "--target", str(site), str(wheel)], check=True)
    for name in ("pynvml", "nacl", "cffi", "_cffi_backend", "pycparser"):
        _lend(name, site)
    return folder


def test_the_wheel_holds_the_modules_and_the_service_and_nothing_else(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = [*_modules(), AGENT / "fallow-agent.service"]
    assert packed == {f"nodes/agent/{path.relative_to(AGENT)}" for path in sources}


def test_the_agent_reports_the_version_of_its_package():
    assert tomllib.loads((AGENT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_the_installed_agent_shows_its_help_without_django(host):
    script = next((host / "lib").glob("python3*/site-packages/bin/fallow-agent"))
    done = subprocess.run(
        [host / "bin/python", script, "--help"], cwd=host, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "enrol" in done.stdout and "doctor" in done.stdout


def test_no_module_of_the_installed_agent_needs_the_server(host):
    names = [f"nodes.agent.{'.'.join(path.relative_to(AGENT).with_suffix('').parts)}" for path in _modules()]
    load = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    wanted = [name.removesuffix(".__init__") for name in names]
    done = subprocess.run(
        [host / "bin/python", "-c", load, *wanted], cwd=host, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _modules() -> list[Path]:
    return [path for folder in (AGENT, AGENT / "measure", AGENT / "workloads") for path in sorted(folder.glob("*.py"))]


def _lend(name: str, site: Path) -> None:
    source = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for path in [*source.glob(name), *source.glob(f"{name}.*")]:
        (site / path.name).symlink_to(path)
