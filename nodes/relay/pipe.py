"""Bytes between a buyer's TCP connection and a channel of the node's tunnel, with an idle limit."""

from __future__ import annotations

import asyncio
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
    def __init__(self) -> None:
        self.at = asyncio.get_running_loop().time()

    def touch(self) -> None:
        self.at = asyncio.get_running_loop().time()


async def pipe(near: tuple[Source, Sink], far: tuple[Source, Sink], limits: Limits) -> None:
    """Copy both ways until both sides end, one breaks, or nothing moved for `idle_seconds`; closes both sinks."""
    activity = _Activity()
    copies = [
        asyncio.create_task(_copy(near[0], far[1], limits.chunk_bytes, activity)),
        asyncio.create_task(_copy(far[0], near[1], limits.chunk_bytes, activity)),
    ]
    watch = asyncio.create_task(_until_idle(activity, limits.idle_seconds))
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


async def _copy(source: Source, sink: Sink, chunk_bytes: int, activity: _Activity) -> None:
    while data := await source.read(chunk_bytes):
        activity.touch()
        sink.write(data)
        await sink.drain()
        activity.touch()
    sink.write_eof()


async def _until_idle(activity: _Activity, idle_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while (left := activity.at + idle_seconds - loop.time()) > 0:
        await asyncio.sleep(left)
