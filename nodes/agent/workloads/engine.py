"""The engine's HTTP API over its unix socket, without an SDK."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

CALL_SECONDS = 60.0
PULL_SILENCE_SECONDS = 300.0


class EngineError(Exception):
    """The engine said no (`status`), or did not answer (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """One engine; a connection per call, so that threads share nothing."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = str(socket_path)

    def get(self, path: str, **query: Any) -> Any:
        """JSON of a GET."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """The decoded JSON answer, or None where there is none; raises EngineError."""
        data = self.raw(method, path, body, query=query, seconds=seconds)
        return _decoded(data) if data.strip() else None

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        """The answer's bytes; raises EngineError."""
        connection = _UnixConnection(self._socket_path, seconds)
        try:
            response = _request(connection, method, path, body, query, {})
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"engine does not answer: {error}") from error
        finally:
            connection.close()

    def lines(self, method: str, path: str, *, query: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Any]:
        """The JSON lines of an answer as they come; closing the iterator hangs up."""
        connection = _UnixConnection(self._socket_path, PULL_SILENCE_SECONDS)
        try:
            response = _request(connection, method, path, None, query, headers)
            for line in response:
                if line.strip():
                    yield _decoded(line)
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"engine does not answer: {error}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("engine", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _request(
    connection: _UnixConnection,
    method: str,
    path: str,
    body: Any,
    query: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    data = None if body is None else json.dumps(body).encode()
    target = path + ("?" + urlencode(query) if query else "")
    kind = {"Content-Type": "application/json"} if data is not None else {}
    connection.request(method, target, data, {**kind, **headers})
    response = connection.getresponse()
    if response.status >= 400:
        raise EngineError(response.status, _message(response.read()))
    return response


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:  # it went away in the middle of its answer
        raise EngineError(0, f"engine does not answer in JSON: {error}") from error


def _message(body: bytes) -> str:
    try:
        said = json.loads(body)
        return str(said.get("message") or said.get("cause") or said)
    except (ValueError, AttributeError):
        return body.decode(errors="replace").strip()
