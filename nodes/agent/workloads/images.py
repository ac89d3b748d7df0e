"""Pulling an image with progress, and the buyer's reasons for what can go wrong with one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.engine import Engine, EngineError
from nodes.agent.workloads.runtime import RuntimeFailure

NAME_LENGTH_MAX = 512
# The grammar of distribution/reference: registry with port, path, tag, digest.
_PART = "[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:[a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@[a-zA-Z][a-zA-Z0-9+._-]*:[0-9a-fA-F]+)?"
)
IMAGE_BYTES_MAX = 64 * 1024**3

_NOT_FOUND = (
    "manifest unknown",
    "not found",
    "name unknown",
    "no such image",
    "does not exist",
    "invalid reference",
    "no such host",
)
_DENIED = ("denied", "unauthorized", "authentication required", "forbidden")
_TOO_LARGE = ("too large",)


def pull_image(engine: Engine, image: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
    """Have `image` on the host. Its registry is asked even when it lies here, for it may be another buyer's.

    Raises RuntimeFailure.
    """
    try:
        _pull(engine, full_name(image), auth, on_progress)
    except EngineError as error:
        raise RuntimeFailure(image_reason(error), f"{image}: {error.message}") from error


def full_name(image: str) -> str:
    """The reference with registry and tag, as `docker pull` would read it. Raises RuntimeFailure for what is none."""
    if len(image) > NAME_LENGTH_MAX or not _REFERENCE.fullmatch(image):
        raise RuntimeFailure(FailureReason.IMAGE_NOT_FOUND, f"{image[:100]!r} is no name of an image")
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


def image_reason(error: EngineError) -> FailureReason:
    """On whose account a failed pull is."""
    text = error.message.lower()
    if error.status == 400 or any(each in text for each in _NOT_FOUND):
        return FailureReason.IMAGE_NOT_FOUND
    if any(each in text for each in _DENIED):
        return FailureReason.IMAGE_DENIED
    if any(each in text for each in _TOO_LARGE):
        return FailureReason.IMAGE_TOO_LARGE
    return FailureReason.ENGINE_UNAVAILABLE


def image_id(engine: Engine, name: str) -> str | None:
    """The digits of an image's id; None when it is not here. Raises RuntimeFailure."""
    try:
        return str(engine.get(f"/images/{name}/json")["Id"]).removeprefix("sha256:")
    except EngineError as error:
        if error.status == 404:
            return None
        raise RuntimeFailure(image_reason(error), f"{name}: {error.message}") from error


def image_ids(engine: Engine) -> set[str]:
    """The digits of every image's id on the host. Raises RuntimeFailure."""
    try:
        return {str(row["Id"]).removeprefix("sha256:") for row in engine.get("/images/json")}
    except EngineError as error:
        raise RuntimeFailure(image_reason(error), f"images can't be listed: {error.message}") from error


def _pull(engine: Engine, name: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
    headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()} if auth else {}
    layers: dict[str, tuple[int, int]] = {}
    for line in engine.lines("POST", "/images/create", query={"fromImage": name}, headers=headers):
        if problem := line.get("error") or line.get("errorDetail"):
            raise EngineError(500, str(problem.get("message") if isinstance(problem, dict) else problem))
        _note(layers, line)
        on_progress(_percent(layers))
    on_progress(100)


def _note(layers: dict[str, tuple[int, int]], line: dict[str, Any]) -> None:
    detail = line.get("progressDetail") or {}
    total = detail.get("total") or 0
    if total > 0 and line.get("id"):
        layers[line["id"]] = (min(detail.get("current") or 0, total), total)
    if sum(total for _, total in layers.values()) > IMAGE_BYTES_MAX:
        raise EngineError(413, f"image too large: more than {IMAGE_BYTES_MAX // 1024**3} GiB")


def _percent(layers: dict[str, tuple[int, int]]) -> int:
    """Percent of what is known so far; layers that the engine has not told of yet keep it below 100."""
    total = sum(total for _, total in layers.values())
    return min(99, 100 * sum(done for done, _ in layers.values()) // total) if total else 0
