"""What every lease of one host works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from nodes.agent.protocol import Ack, AssignmentCommand, LogTail
from nodes.agent.workloads.runtime import Runtime
from nodes.agent.workloads.settings import Settings
from nodes.agent.workloads.store import LeaseStore


@dataclass(frozen=True, slots=True)
class Host:
    """One for all leases of a manager."""

    runtime: Runtime
    settings: Settings
    store: LeaseStore
    emit: Callable[[Ack], None]
    keep_log: Callable[[LogTail], None]
    make_room: Callable[[AssignmentCommand], None]  # stops older epochs on these cards; raises RuntimeFailure
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)  # from the look for room to the container
