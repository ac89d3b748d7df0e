"""The images that leases brought here: each lease asks for its own anew; the old and the private are removed."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nodes.agent.files import keep_text
from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.engine import Engine, EngineError
from nodes.agent.workloads.images import full_name, image_id, image_ids, pull_image
from nodes.agent.workloads.runtime import RuntimeFailure

log = logging.getLogger(__name__)

KEPT_SECONDS = 14 * 24 * 3600  # since a lease last started from it
FREE_MIB_MIN = 20 * 1024


class ImageCache:
    """Images of one engine. What was on the host before a lease asked for it is the owner's and never removed.

    `local`: full names that leases may use as they lie here, without a registry's word; the owner's choice.
    """

    def __init__(self, engine: Engine, path: Path, local: frozenset[str] = frozenset()) -> None:
        self._engine = engine
        self._path = path
        self._local = frozenset(map(full_name, local))
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def pull(self, image: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
        """Have `image` here by the registry's leave, and hold it until `let_go`. Raises RuntimeFailure."""
        name = full_name(image)
        with self._lock:
            self._held[name] += 1
        if name in self._local:
            on_progress(100)  # one that is missing is said when the container is made
            return
        if name.startswith("localhost/"):
            raise RuntimeFailure(FailureReason.IMAGE_NOT_FOUND, f"{image}: no registry has it")
        before = image_ids(self._engine)
        pull_image(self._engine, image, auth, on_progress)
        self._note(name, before, private=bool(auth))

    def let_go(self, image: str | None, free_mib: int | None) -> None:
        """A lease has ended; remove what is private, old, or in the way when less than FREE_MIB_MIN is free."""
        with self._lock:
            if image is not None:
                self._held[full_name(image)] -= 1
            known = self._load()
            kept = {key: facts for key, facts in known.items() if not self._is_removed(key, facts, free_mib)}
            if kept != known:
                self._save(kept)

    def _is_removed(self, key: str, facts: Mapping[str, Any], free_mib: int | None) -> bool:
        is_short = free_mib is not None and free_mib < FREE_MIB_MIN
        is_due = facts["private"] or is_short or time.time() - facts["used_at"] > KEPT_SECONDS
        if not is_due or self._held[facts["name"]] > 0:
            return False
        try:
            self._engine.call("DELETE", f"/images/{key}")
        except EngineError as error:
            if error.status != 404:
                log.info("image %s stays for now: %s", facts["name"], error.message)  # a container has it
                return False
        return True

    def _note(self, name: str, before: set[str], *, private: bool) -> None:
        key = image_id(self._engine, name)
        with self._lock:
            known = self._load()
            if key is None or (key in before and key not in known):
                return
            private = private or bool(known.get(key, {}).get("private"))
            self._save(known | {key: {"name": name, "used_at": time.time(), "private": private}})

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads(self._path.read_bytes()))
        except (OSError, ValueError):
            return {}

    def _save(self, known: dict[str, dict[str, Any]]) -> None:
        try:
            keep_text(self._path, json.dumps(known))
        except OSError as error:
            log.warning("which images leases brought can't be written: %s", error)
