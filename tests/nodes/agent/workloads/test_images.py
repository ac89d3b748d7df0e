from __future__ import annotations

import pytest

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.access import one_line
from nodes.agent.workloads.docker import _create_failure
from nodes.agent.workloads.engine import EngineError
from nodes.agent.workloads.images import _note, _percent, full_name, image_reason
from nodes.agent.workloads.runtime import RuntimeFailure


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("manifest for a/b:1 not found: manifest unknown", FailureReason.IMAGE_NOT_FOUND),
        ("pull access denied for a/b, repository does not exist or may require login", FailureReason.IMAGE_NOT_FOUND),
        ("unauthorized: authentication required", FailureReason.IMAGE_DENIED),
        ("write /var/lib/x: no space left on device", FailureReason.ENGINE_UNAVAILABLE),
        ("dial tcp 1.2.3.4:443: i/o timeout", FailureReason.ENGINE_UNAVAILABLE),
    ],
)
def test_an_engines_words_become_the_reason_of_whoever_can_mend_it(message: str, reason: FailureReason) -> None:
    assert image_reason(EngineError(500, message)) is reason


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("fallow/demo", "docker.io/fallow/demo:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("ghcr.io/a/b@sha256:0", "ghcr.io/a/b@sha256:0"),
        ("ghcr.io:443/a_b/c--d__e.f:v1.0_x@sha256:0a", "ghcr.io:443/a_b/c--d__e.f:v1.0_x@sha256:0a"),
    ],
)
def test_a_short_name_is_read_as_docker_pull_reads_it(short: str, full: str) -> None:
    assert full_name(short) == full


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ubuntu",
        "ubuntu latest",
        "übuntu",
        "ub\nuntu",
        "a/../../containers/json",
        "Ubuntu",
        "https://x/y",
        "a" * 600,
    ],
)
def test_what_is_no_name_of_an_image_is_the_buyers_failure(name: str) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        full_name(name)
    assert caught.value.reason is FailureReason.IMAGE_NOT_FOUND


@pytest.mark.parametrize("message", ["invalid tag format", "Range of CPUs is from 0.01 to 8.00"])
def test_a_request_that_the_engine_finds_badly_made_is_the_buyers_failure(message: str) -> None:
    assert image_reason(EngineError(400, message)) is FailureReason.IMAGE_NOT_FOUND
    assert _create_failure(EngineError(400, message)).reason is FailureReason.IMAGE_NOT_FOUND
    assert _create_failure(EngineError(500, message)).reason is FailureReason.ENGINE_UNAVAILABLE


def test_progress_is_the_share_of_bytes_of_every_layer_so_far() -> None:
    layers: dict[str, tuple[int, int]] = {}
    _note(layers, {"id": "a", "progressDetail": {"current": 100, "total": 100}})
    _note(layers, {"id": "b", "progressDetail": {"current": 50, "total": 300}})
    _note(layers, {"status": "Waiting"})
    assert _percent(layers) == 37


def test_an_image_beyond_the_limit_is_given_up_while_it_is_pulled() -> None:
    with pytest.raises(EngineError) as caught:
        _note({}, {"id": "a", "progressDetail": {"current": 1, "total": 10**12}})
    assert image_reason(caught.value) is FailureReason.IMAGE_TOO_LARGE


def test_what_a_container_wrote_becomes_one_line_that_a_database_takes() -> None:
    failure = RuntimeFailure(FailureReason.WORKLOAD_EXITED, "exit code 1: a\0b\x1b[31m\nç\udcff" + "x" * 600)
    assert failure.detail.startswith("exit code 1: a b [31m ç x")
    assert len(failure.detail) == 500


def test_a_line_break_after_the_kind_adds_no_second_key() -> None:
    assert one_line("ssh-ed25519\nssh-ed25519 AAAA") == "ssh-ed25519 ssh-ed25519"


def test_options_before_a_buyers_key_are_refused() -> None:
    with pytest.raises(ValueError, match="not a public key"):
        one_line('command="/bin/sh" ssh-ed25519 AAAA')
