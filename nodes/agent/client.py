"""HTTPS to the server over one persistent connection: outbound only, through a proxy and with a private CA."""

from __future__ import annotations

import http.client
import json
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nodes.agent.connect import PROXY_PORT, proxy_headers

RETRY_SECONDS_MIN = 3.0
RETRY_SECONDS_MAX = 60.0
RETRY_AFTER_SECONDS_MAX = 600.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
TIMEOUT_SECONDS = 20.0


class Unreachable(OSError):
    """No answer came: name, route, TLS, proxy or server."""


class Refused(Exception):
    """The server answered other than 2xx. `retry_after` is in seconds."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"the server answered {status}: {detail}")
        self.status = status
        self.retry_after = retry_after

    @property
    def is_final(self) -> bool:
        """Whether repeating the same body can't help."""
        return self.status in (400, 413, 422)


@dataclass(frozen=True, slots=True)
class Route:
    """How the server is reached."""

    ca_file: Path | None = None
    proxy_url: str | None = None


class Client:
    """POSTs to one server. Not for use from several threads."""

    def __init__(self, base_url: str, route: Route, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = urlsplit(base_url)
        self._route = route
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self.date: str | None = None  # the server's clock at its last answer

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The body of the answer; raises Unreachable or Refused.

        A connection that the server closed while it lay idle is opened again once: the server takes repeats.
        """
        full = {"Content-Type": "application/json", "User-Agent": "fallow-agent", **headers}
        reused = self._connection is not None
        try:
            return self._exchange(path, body, full)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self.close()
            if not reused:
                raise Unreachable(f"{self._url.netloc} hung up: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{self._url.netloc}: {error}") from error
        try:
            return self._exchange(path, body, full)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{self._url.netloc}: {error}") from error

    def close(self) -> None:
        """Close the connection; the next POST opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _exchange(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        if self._connection is None:
            self._connection = self._open()
        self._connection.request("POST", self._url.path.rstrip("/") + path, body, dict(headers))
        response = self._connection.getresponse()
        self.date = response.headers.get("Date")
        answer = response.read(ANSWER_BYTES_MAX + 1)
        if len(answer) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException("the answer is too long")
        if not 200 <= response.status < 300:
            raise Refused(response.status, _detail(answer), _seconds(response.headers.get("Retry-After")))
        return answer

    def _open(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "http":  # loopback alone: `config.checked_url`
            return http.client.HTTPConnection(host, self._url.port or 80, timeout=self._timeout)
        context = ssl.create_default_context(cafile=str(self._route.ca_file) if self._route.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        port = self._url.port or 443
        if self._route.proxy_url is None:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        proxy = urlsplit(self._route.proxy_url)
        connection = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or PROXY_PORT, timeout=self._timeout, context=context
        )
        connection.set_tunnel(host, port, headers=proxy_headers(proxy))
        return connection


class Backoff:
    """Full jitter between 3 s and a limit that doubles up to 60 s, so that a fleet does not come back as one."""

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait after a failure; what the server asked for is the least, with jitter on top."""
        self._failures += 1
        limit = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * float(2 ** min(self._failures, 10)))
        jitter = self._uniform(RETRY_SECONDS_MIN, limit)
        return jitter if retry_after is None else retry_after + self._uniform(0, min(jitter, 5.0))

    def succeeded(self) -> None:
        """Begin at the bottom again."""
        self._failures = 0


def _detail(answer: bytes) -> str:
    """The `detail` of a problem document (RFC 9457), or the beginning of whatever came."""
    try:
        value = json.loads(answer)
        if isinstance(value, dict):
            return str(value.get("detail") or value.get("title") or value.get("code") or "")[:300]
    except ValueError:
        pass
    return answer[:100].decode(errors="replace")


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; a date or nonsense counts as none, and nobody can send a node to sleep for a day."""
    if retry_after is None or not retry_after.strip().isdigit():
        return None
    return min(float(retry_after), RETRY_AFTER_SECONDS_MAX)
