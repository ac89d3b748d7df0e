"""An engine may be restarted or a disk be full for a while: what runs must not end for that."""

from __future__ import annotations

import logging
import time

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import RuntimeFailure

log = logging.getLogger(__name__)


class Patience:
    """Puts up with failures of the host's for `seconds` in a row, and says so once."""

    def __init__(self, lease: str, seconds: float) -> None:
        self._lease = lease
        self._seconds = seconds
        self._since: float | None = None

    @property
    def is_tried(self) -> bool:
        """Whether the last look failed."""
        return self._since is not None

    def bear(self, error: Exception) -> None:
        """Raises the error when it is of another kind or has lasted too long."""
        if isinstance(error, RuntimeFailure) and error.reason is not FailureReason.ENGINE_UNAVAILABLE:
            raise error
        if self._since is None:
            log.warning("lease %s is looked at again: %s", self._lease, error)
            self._since = time.monotonic()
        if time.monotonic() - self._since > self._seconds:
            raise error

    def rest(self) -> None:
        """All is well again."""
        self._since = None
