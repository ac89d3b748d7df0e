"""Programs whose parent has left them come to us, so that we can end them (on Linux)."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """From now on orphans below the calling process become its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all() -> int:
    """Kills everything below the calling process and returns how many there were."""
    ended = 0
    while children := _children(os.getpid()):
        for child in children:
            # a killed child's own children come to us next, so the tree shrinks round by round
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            ended += 1
    return ended


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            # the name in parentheses may hold spaces: what follows it is state, parent, …
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
