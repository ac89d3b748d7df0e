"""Both images are built on a Debian made on the spot, and what comes out runs without root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import PodmanEngine

ROOT = Path(__file__).parents[2]
BASE = "localhost/fallow-debian:12"
PACKAGES = "python3,python3-venv,ca-certificates"

pytestmark = [pytest.mark.trial, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def base(engine: PodmanEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.environ.get("TRIALS") != "full":
        pytest.skip("building the images takes minutes: TRIALS=full does it")
    if shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("building the images: needs debootstrap")
    root = tmp_path_factory.mktemp("debian")
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"building the images: debootstrap has no Debian to offer here: {made.stdout[-200:]}")
    archive = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(["podman", "import", "-q", "-", BASE], stdin=archive.stdout, env=engine.env, check=True)
    assert archive.wait() == 0
    shutil.rmtree(root)
    yield BASE


@pytest.mark.parametrize(
    ("name", "program"),
    [("server", "python manage.py check && test -s staticfiles/build/app.css"), ("agent", "fallow-agent --help")],
)
def test_an_image_builds_and_its_program_starts_without_root(
    engine: PodmanEngine, base: str, name: str, program: str
) -> None:
    image = f"localhost/fallow-{name}-under-test"
    build = ["podman", "build", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={base}"]
    _podman(engine, *build, *_as_pip_here(), "-f", f"docker/{name}.Dockerfile", "-t", image, ".")
    keys = {"SECRET_KEY": "s", "COMMAND_KEY": "00", "PASSPORT_KEY": "00"}
    values = {"DATABASE_URL": "postgresql://none@127.0.0.1/none"} | keys
    settings = [word for name, value in values.items() for word in ("-e", f"{name}={value}")]
    run = ["podman", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", *settings, image]
    said = _podman(engine, *run, "sh", "-c", f"id -u && {program}")
    assert re.match(r"1000[12]\n", said)


def _podman(engine: PodmanEngine, *argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, env=engine.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _as_pip_here() -> list[str]:
    """The build finds packages where this machine's pip finds them: its settings, local folders and certificates."""
    configured = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    folders = {Path(path) for path in re.findall(r"(?:file://)?(/[\w./-]+)", configured)} | {Path("/etc/pip.conf")}
    mounts = [f"--volume={path}:{path}:ro" for path in sorted(folders) if path.exists()]
    named = [f"--env={name}={value}" for name, value in os.environ.items() if name.startswith(("PIP_", "NODE_EXTRA"))]
    return [*mounts, *named]
