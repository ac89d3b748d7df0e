"""The compose file runs what the demo runs, with nothing left to luck."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from marketplace.demo.place import Place
from marketplace.demo.postgres import ROLES_SQL
from marketplace.demo.table import server_processes
from nodes.agent.workloads.bundle import PACKAGES

DOCKER = Path(__file__).parents[2] / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
LASTING = [name for name in SERVICES if name != "migrate"]
PROCESSES = {
    process.name: process for process in server_processes(Place(Path("/nowhere"), 8000, 8001, 2222), broker="")
}


def test_every_process_of_the_demo_is_a_service() -> None:
    assert set(PROCESSES) <= set(SERVICES)


@pytest.mark.parametrize("name", sorted(set(PROCESSES) - {"web"}))
def test_a_service_runs_the_same_program_as_the_demo(name: str) -> None:
    words = {word for word in SERVICES[name]["command"] if re.fullmatch(r"[a-z.:]+", word)} - {"python", "manage.py"}
    assert words
    assert words <= {word.rpartition("/")[2] for word in PROCESSES[name].argv}


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_only_the_migration_may_act_as_the_owner_of_the_tables(name: str) -> None:
    assert "fallow_owner" not in str(SERVICES[name]["environment"])
    assert "fallow_owner" in SERVICES["migrate"]["environment"]["DATABASE_OWNER_URL"]


# For tests and demonstrations, the migration's alone, or the relay's own container's; never an operator's word.
NOT_PASSED = {"DEBUG", "FALLOW_DEMO", "SIMULATED_CARDS_COUNT", "STRIPE_API_URL", "DATABASE_OWNER_URL", "RELAY_PORT"} | {
    "RELAY_HOST_KEY_FILE", "RELAY_BIND", "RELAY_CONNECTIONS_PER_ADDRESS", "RELAY_LOGINS_PER_ADDRESS",
}  # fmt: skip
READ = re.compile(r'\benv(?:_\w+)?\(\s*(?:#[^\n]*\s*)?"([A-Z_]+)"')


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_every_setting_reaches_every_process(name: str) -> None:
    """A line without a value is what .env says: https://docs.docker.com/compose/how-tos/environment-variables/."""
    read = set(READ.findall((DOCKER.parent / "marketplace/settings.py").read_text()))
    assert {"STRIPE_SECRET_KEY", "STRIPE_SELLER_COUNTRIES", "WIRE_IBAN", "BANK_DETAILS_KEY"} <= read
    assert read - NOT_PASSED <= set(SERVICES[name]["environment"])
    assert not (NOT_PASSED - set(SERVICES["relay"]["environment"])) & set(SERVICES[name]["environment"])


def test_photos_are_kept_where_something_can_be_written() -> None:
    kept = SERVICES["web"]["environment"]["MEDIA_ROOT"]
    assert [each for each in SERVICES["web"]["volumes"] if kept.startswith(each.partition(":")[2])]


def dockerfile(name: str) -> str:
    return (DOCKER / f"{name}.Dockerfile").read_text()


@pytest.mark.parametrize("name", ["server", "agent"])
def test_an_image_has_a_pinned_base_that_can_be_replaced(name: str) -> None:
    text = dockerfile(name)
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}


def test_the_server_is_not_root() -> None:
    assert re.findall(r"^USER (\d+):\d+", dockerfile("server"), re.MULTILINE)[-1:] not in ([], ["0"])


def test_the_server_image_keeps_every_app_of_the_settings() -> None:
    removed = {
        path.replace("/", ".") for path in re.findall(r"\b(?:marketplace|listings|nodes)[\w/]*", dockerfile("server"))
    }
    assert not removed & set(settings.INSTALLED_APPS)


def test_the_agents_image_has_every_package_that_a_lease_needs_and_says_how_it_is() -> None:
    installed = set(re.findall(r"[a-z][a-z-]+", dockerfile("agent").partition("--no-install-recommends")[2]))
    assert {*PACKAGES.split(), "nftables"} <= installed
    assert re.search(r"^HEALTHCHECK ", dockerfile("agent"), re.MULTILINE)


def test_the_agent_is_root_with_two_capabilities_and_the_readme_says_which() -> None:
    assert re.findall(r"^USER (\S+)", dockerfile("agent"), re.MULTILINE) == ["0:0"]
    command = (DOCKER / "README.md").read_text().partition("docker run --detach --name fallow-agent")[2]
    command = command.partition("```")[0]
    assert re.findall(r"--cap-(\w+) (\w+)", command) == [
        ("drop", "ALL"),
        ("add", "NET_ADMIN"),
        ("add", "DAC_READ_SEARCH"),
    ]
    for needed in (
        "--pid host",
        "--network host",
        "/var/run/docker.sock",
        "/var/lib/fallow-agent:/var/lib/fallow-agent",
    ):
        assert needed in command


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_a_foreign_image_is_pinned_and_can_be_replaced(service: str) -> None:
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-\S+:\d+\.\d+(\.\d+)?-\w+\}", SERVICES[service]["image"])


def test_the_worker_probes_leases_at_the_relays_own_container() -> None:
    probed = SERVICES["worker"]["environment"]["RELAY_PROBE_HOST"]
    assert probed == "relay"
    assert SERVICES[probed]["environment"]["RELAY_BIND"] == "0.0.0.0"


def test_no_password_has_a_default() -> None:
    text = (DOCKER / "compose.yml").read_text()
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|KEY))(\S*?)[ }]", text)
    assert secrets
    assert all(rest.startswith(":?") for _, rest in secrets)


def test_the_roles_have_the_same_privileges_as_those_of_the_demo() -> None:
    granted = re.compile(r"GRANT ([A-Z, ]+ ON [A-Z]+) TO")
    assert granted.findall((DOCKER / "postgres/10-roles.sh").read_text()) == granted.findall(ROLES_SQL)


def test_the_passwords_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    script = tmp_path / "make-env"
    script.write_text((DOCKER / "make-env").read_text())
    subprocess.run(["bash", str(script)], check=True, capture_output=True)
    made = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert re.search(r"^COMMAND_KEY=[0-9a-f]{64}$", made, re.MULTILINE)
    assert subprocess.run(["bash", str(script)], check=False, capture_output=True).returncode == 1
    assert (tmp_path / ".env").read_text() == made
