"""POST /agent/v1/reports, and nothing else but /healthz: authenticate, decode, queue, answer after COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from marketplace.common import hints
from nodes.agent.protocol import BODY_BYTES_MAX, PROTOCOL_VERSION, REPORTS_PATH, ReportBatch
from nodes.ingest.bearers import Bearers
from nodes.ingest.link import DatabaseAway, Link
from nodes.ingest.rows import BadBatch, submission
from nodes.ingest.writer import GroupCommit, QueueFull

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 10
HINT_SECONDS = 0.1
DECODER = msgspec.json.Decoder(ReportBatch)


@dataclass(frozen=True, slots=True)
class Limits:
    """`waiting_reports` bounds the memory that a slow disk can cost."""

    heartbeat_ms: int
    waiting_reports: int


class Refused(Exception):
    """An answer that is not 202."""

    def __init__(self, status: int, code: str, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


class IngestApp:
    """The ASGI application; the lifespan protocol starts and ends its connections."""

    def __init__(self, conninfo: str, limits: Limits) -> None:
        self._conninfo = conninfo
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._open():
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._writer.drain()
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _open(self) -> Any:
        reading, writing = Link(self._conninfo, "bearers"), Link(self._conninfo, "writer")
        bell = Bell()
        self._bearers = Bearers(reading)
        self._writer = GroupCommit(
            writing,
            heartbeat_ms=self._limits.heartbeat_ms,
            waiting_reports=self._limits.waiting_reports,
            on_commit=bell.ring,
        )
        tasks = [asyncio.create_task(self._bearers.keep_fresh()), asyncio.create_task(self._writer.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(reading.close(), writing.close())
            bell.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] == REPORTS_PATH:
                await _send(send, 202, await self._take(scope, receive))
            elif scope["path"] == "/healthz":
                await _send(send, *self._health())
            else:
                raise Refused(404, "not_found", "there is no such thing")
        except Refused as refusal:
            await _send_problem(send, refusal)

    def _health(self) -> tuple[int, bytes]:
        return (200, b'{"status":"ok"}') if self._bearers.is_up else (503, b'{"status":"database_away"}')

    async def _take(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", "POST reports here", (b"allow", b"POST"))
        try:
            node_id = await self._authenticate(scope["headers"])
            batch = _decode(await _body(scope["headers"], receive))
            received_us = time.time_ns() // 1000
            return await self._writer.submit(
                submission(node_id, batch, received_us=received_us, heartbeat_ms=self._limits.heartbeat_ms)
            )
        except BadBatch as error:
            raise Refused(400, "bad_report", str(error)) from error
        except QueueFull as error:
            raise Refused(503, "busy", "too many reports wait", (b"retry-after", b"1")) from error
        except DatabaseAway as error:
            raise Refused(503, "database_away", "not stored; send it again", (b"retry-after", b"2")) from error

    async def _authenticate(self, headers: list[tuple[bytes, bytes]]) -> int:
        given = next((value for name, value in headers if name == b"authorization"), b"")
        scheme, _, bearer = given.partition(b" ")
        node_id = await self._bearers.node_of(bearer) if scheme.lower() == b"bearer" else None
        if node_id is None:
            raise Refused(401, "unauthorised", "no node has this bearer", (b"www-authenticate", b"Bearer"))
        return node_id


class Bell:
    """Wakes the ticks at most every 100 ms; Redis is asked in a thread, because it may be away."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")
        self._is_waiting = False

    def ring(self) -> None:
        """Say soon that there are new reports."""
        if not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(HINT_SECONDS, self._ring_now)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ring_now(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed in the meantime
            ringing = asyncio.get_running_loop().run_in_executor(self._thread, hints.ring, "reports")
            ringing.add_done_callback(self._rung)

    def _rung(self, _: object) -> None:
        self._is_waiting = False


def _decode(body: bytes) -> ReportBatch:
    try:
        batch = DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(400, "bad_report", str(error)) from error
    except UnicodeDecodeError as error:
        raise Refused(400, "bad_report", "not UTF-8") from error
    if batch.version != PROTOCOL_VERSION:
        raise Refused(400, "bad_version", f"this server speaks version {PROTOCOL_VERSION}")
    return batch


async def _body(headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    declared = next((value for name, value in headers if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared[:20]) > BODY_BYTES_MAX:
        raise _too_large()
    message = await receive()
    if not message.get("more_body"):
        return _checked(message.get("body", b""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _rest_of_body(message["body"], receive)
    except TimeoutError as error:
        raise Refused(408, "timeout", "the body did not come in time") from error


async def _rest_of_body(begin: bytes, receive: Receive) -> bytes:
    body = bytearray(begin)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "bad_report", "the body ended early")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        _checked(body)
    return bytes(body)


def _checked(body: bytes | bytearray) -> bytes:
    if len(body) > BODY_BYTES_MAX:
        raise _too_large()
    return body  # type: ignore[return-value]


def _too_large() -> Refused:
    return Refused(413, "too_large", f"at most {BODY_BYTES_MAX} bytes a POST", (b"connection", b"close"))


async def _send_problem(send: Send, refusal: Refused) -> None:
    body = msgspec.json.encode(
        {
            "type": f"https://fallow.example/problems/{refusal.code}",
            "title": refusal.code.replace("_", " ").capitalize(),
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
            "errors": [],
            "request_id": "",
        }
    )
    await _send(send, refusal.status, body, b"application/problem+json", *refusal.headers)


async def _send(
    send: Send, status: int, body: bytes, kind: bytes = b"application/json", *headers: tuple[bytes, bytes]
) -> None:
    fixed = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
