"""The platform's own look through the relay: does the lease's sshd answer, and is it the one that the node named?"""

from __future__ import annotations

import asyncio

import asyncssh


class ProbeFailed(Exception):
    """The endpoint can't be shown to a buyer yet; the text says why."""


async def probe(host: str, port: int, expected_host_key: str, *, timeout_seconds: float = 10.0) -> None:
    """Complete an SSH key exchange with (host, port) and compare the host key; raises ProbeFailed."""
    try:
        async with asyncio.timeout(timeout_seconds):
            seen = await asyncssh.get_server_host_key(host, port, server_host_key_algs=["ssh-ed25519"], config=None)
    except TimeoutError as error:
        raise ProbeFailed(f"no SSH key exchange within {timeout_seconds:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise ProbeFailed(f"no SSH key exchange: {error}") from error
    if seen is None or seen.public_data != _public_data(expected_host_key):
        raise ProbeFailed("another host key than the one that the node acked")


def probe_now(host: str, port: int, expected_host_key: str, *, timeout_seconds: float = 10.0) -> None:
    """`probe` for callers without an event loop."""
    asyncio.run(probe(host, port, expected_host_key, timeout_seconds=timeout_seconds))


def _public_data(line: str) -> bytes:
    try:
        return bytes(asyncssh.import_public_key(line).public_data)
    except asyncssh.KeyImportError as error:
        raise ProbeFailed(f"the acked host key is no key: {error}") from error
