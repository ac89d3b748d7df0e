"""Bytes between a buyer's TCP connection and a channel of the node's tunnel, with a limit to silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from nodes.relay.tunnels import Limits


class Source(Protocol):
    """The reading side of a stream: asyncio's and asyncssh's readers both are one."""

    async def read(self, n: int = -1, /) -> bytes: ...


class Sink(Protocol):
    """The writing side of a stream."""

    def write(self, data: bytes, /) -> None: ...

    def write_eof(self) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


class _Activity:
    """When something last moved, and whether the near side has said anything yet."""

    def __init__(self, limits: Limits, on_word: Callable[[], None]) -> None:
        self._limits = limits
        self._on_word = on_word
        self._began = self._at = asyncio.get_running_loop().time()
        self._has_spoken = False

    def touch(self) -> None:
        self._at = asyncio.get_running_loop().time()

    def speak(self) -> None:
        if not self._has_spoken:
            self._has_spoken = True
            self._on_word()

    @property
    def ends_at(self) -> float:
        idle = self._at + self._limits.idle_seconds
        return idle if self._has_spoken else min(idle, self._began + self._limits.mute_seconds)


async def pipe(
    near: tuple[Source, Sink], far: tuple[Source, Sink], limits: Limits, *, said: bytes, on_word: Callable[[], None]
) -> None:
    """Copy both ways until both sides end, one breaks, or there was silence for too long; closes both sinks.

    `said` is what was already read of the near side; `on_word` is called when it says something for the first time.
    """
    activity = _Activity(limits, on_word)
    if said:
        activity.speak()
        far[1].write(said)
    copies = [
        asyncio.create_task(_copy(near[0], far[1], limits.chunk_bytes, activity, activity.speak)),
        asyncio.create_task(_copy(far[0], near[1], limits.chunk_bytes, activity, activity.touch)),
    ]
    watch = asyncio.create_task(_until_silent(activity))
    both = asyncio.gather(*copies)
    waits: set[asyncio.Future[Any]] = {both, watch}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*copies, watch):
            task.cancel()
        await asyncio.gather(both, *copies, watch, return_exceptions=True)
        near[1].close()
        far[1].close()


async def _copy(source: Source, sink: Sink, chunk_bytes: int, activity: _Activity, on_data: Callable[[], None]) -> None:
    while data := await source.read(chunk_bytes):
        on_data()
        activity.touch()
        sink.write(data)
        await sink.drain()
        activity.touch()
    sink.write_eof()


async def _until_silent(activity: _Activity) -> None:
    loop = asyncio.get_running_loop()
    while (left := activity.ends_at - loop.time()) > 0:
        await asyncio.sleep(left)
