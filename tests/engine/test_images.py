"""Both images are built on a Debian made on the spot; the server runs without root, the agent with two capabilities."""

from __future__ import annotations

import json
import os
import re
import shlex
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
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(["podman", "import", "-q", "-", BASE], stdin=archive.stdout, env=engine.env, check=True)
    assert archive.returncode == 0
    shutil.rmtree(root)
    yield BASE


# The agent as docker/README.md runs it, but without a card, an engine and the host's network.
AGENT = ["--cap-drop=ALL", "--cap-add=NET_ADMIN", "--cap-add=DAC_READ_SEARCH", "--security-opt=no-new-privileges"]

# Programs that the agent starts, and a bundle made of those that it lends to leases.
PROGRAMS = """
set -e
for each in ssh nft ldd du find; do command -v $each >/dev/null || { echo "no $each"; exit 1; }; done
nft add table inet probe
nft list table inet probe >/dev/null
python - <<'PYTHON'
from pathlib import Path
from nodes.agent.workloads.bundle import PROGRAMS, build_bundle
made = build_bundle(Path("/tmp/bundle"))
assert {path.name for path in (made / "bin").iterdir()} == set(PROGRAMS)
assert all(path.stat().st_uid == 0 for path in made.rglob("*"))
PYTHON
/tmp/bundle/bundle-*/lib/loader --library-path $(echo /tmp/bundle/bundle-*/lib) \
    $(echo /tmp/bundle/bundle-*/libexec/dropbear) -V
grep -q '^CapEff:.*0000000000001004$' /proc/self/status
"""


def test_the_server_image_builds_and_its_program_starts_without_root(engine: PodmanEngine, base: str) -> None:
    image = _built(engine, base, "server")
    values = (
        "DATABASE_URL=postgresql://none@127.0.0.1/none",
        "SECRET_KEY=s",
        "COMMAND_KEY=00",
        "PASSPORT_KEY=00",
        "BANK_DETAILS_KEY=00",
    )
    settings = [word for value in values for word in ("-e", value)]
    said = _run(engine, image, "id -u && python manage.py check && test -s staticfiles/build/app.css", *settings)
    assert re.match(r"10001\n", said)


def test_the_agent_image_builds_and_has_what_a_lease_needs(engine: PodmanEngine, base: str) -> None:
    image = _built(engine, base, "agent")
    assert "usage: fallow-agent" in _run(engine, image, "fallow-agent --help", *AGENT)
    _run(engine, image, PROGRAMS, *AGENT)


def test_the_agents_health_is_its_status(engine: PodmanEngine, base: str) -> None:
    image = _built(engine, base, "agent")
    check = next(line for line in (ROOT / "docker/agent.Dockerfile").read_text().splitlines() if 'CMD ["sh"' in line)
    words = json.loads(check.partition("CMD ")[2])
    states = ["--tmpfs", "/var/lib/fallow-agent", *AGENT]
    say = "cd /var/lib/fallow-agent; printf '%s' > status.json; {when}; " + shlex.join(words) + "; echo $?"
    for content, when, status in (("{}", "true", "0"), ("{}", "touch -d -1hour status.json", "1")):
        assert _run(engine, image, say.replace("%s", content).replace("{when}", when), *states).split()[-1] == status
    assert _run(engine, image, shlex.join(words) + "; echo $?", *states).split()[-1] == "1"


def _built(engine: PodmanEngine, base: str, name: str) -> str:
    image = f"localhost/fallow-{name}-under-test"
    build = ["podman", "build", "--isolation", "chroot", "--network", "host", "--build-arg", f"BASE={base}"]
    _podman(engine, *build, *_as_pip_here(), "-f", f"docker/{name}.Dockerfile", "-t", image, ".")
    return image


def _run(engine: PodmanEngine, image: str, script: str, *options: str) -> str:
    run = ["podman", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", *options, image]
    return _podman(engine, *run, "sh", "-c", script)


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
