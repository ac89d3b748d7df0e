"""The relay: nodes dial out to it with stock `ssh -N -R`, it listens on the ports of their leases and pipes bytes.

It sees ciphertext only: the buyer's SSH session ends inside the container. A node logs in per lease (user: the
lease's id, key: the node's own), may open that lease's ports and nothing else: no shell, no exec, no -L.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import asyncssh

from nodes.relay.peers import Place, Standing, peer_of
from nodes.relay.pipe import pipe
from nodes.relay.tunnels import Limits, Tunnel, Tunnels

log = logging.getLogger(__name__)


async def serve(
    *, host: str, port: int, host_key_path: Path, tunnels: Tunnels, bind_host: str, limits: Limits | None = None
) -> Relay:
    """Listen for nodes on (host, port; 0 picks one) and for buyers on `bind_host`; the host key is made once."""
    relay = Relay(tunnels=tunnels, bind_host=bind_host, limits=limits or Limits(), host_key=_host_key(host_key_path))
    await relay.listen(host, port)
    return relay


class Relay:
    """A running relay; `port` is where nodes dial, `host_key` the line that they pin."""

    def __init__(self, *, tunnels: Tunnels, bind_host: str, limits: Limits, host_key: asyncssh.SSHKey) -> None:
        self.tunnels = tunnels
        self.bind_host = bind_host
        self.limits = limits
        self.connections: set[_NodeConnection] = set()
        self.pending: set[_NodeConnection] = set()
        self.buyers = Standing()
        self.holders: dict[int, _NodeConnection] = {}
        self._key = host_key
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._rechecks: asyncio.Task[None] | None = None
        self.is_closed = False

    @property
    def host_key(self) -> str:
        """`ssh-ed25519 AAAA…` as in RelayEndpoint.host_key."""
        return self._key.export_public_key().decode().strip()

    @property
    def port(self) -> int:
        assert self._acceptor is not None
        return int(self._acceptor.get_port())

    async def listen(self, host: str, port: int) -> None:
        """Accept nodes from now on."""
        limits = self.limits
        self._acceptor = await asyncssh.create_server(
            lambda: _NodeConnection(self),
            host,
            port,
            server_host_keys=[self._key],
            login_timeout=limits.login_seconds,
            keepalive_interval=limits.keepalive_seconds,
            keepalive_count_max=limits.keepalive_misses,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            compression_algs=None,
        )
        self._rechecks = asyncio.create_task(self._recheck_forever())

    async def close(self) -> None:
        """Stop listening and drop every tunnel, and whoever was being accepted."""
        self.is_closed = True
        if self._rechecks is not None:
            self._rechecks.cancel()
        if self._acceptor is not None:
            self._acceptor.close()
        for each in list(self.connections):
            each.drop()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    async def run(self) -> None:
        """Serve until cancelled; for a management command."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def recheck(self) -> None:
        """Drop the tunnels of leases that have lost their right since they logged in."""
        for each in list(self.connections):
            if each.tunnel is not None and await self.tunnels.find(each.user) != each.tunnel:
                log.info("lease %s has no right to its tunnel any more", each.user)
                each.drop()

    async def _recheck_forever(self) -> None:
        while True:
            await asyncio.sleep(self.limits.recheck_seconds)
            try:
                await self.recheck()
            except Exception:  # the lookup's database may be away; tunnels stay up and are asked about again
                log.exception("tunnels could not be checked")

    def full(self, peer: str) -> bool:
        """Whether another node that has yet to log in would pass the relay's limits, or those of its address."""
        of_peer = sum(each.peer == peer for each in self.pending)
        return (
            len(self.connections) >= self.limits.tunnels
            or len(self.pending) >= self.limits.logins_pending
            or of_peer >= self.limits.logins_pending_per_address
        )

    def take_port(self, port: int, connection: _NodeConnection) -> None:
        """Give a port to the newest login of its lease: an older one is a line that died without saying so."""
        older = self.holders.get(port)
        if older is not None and older is not connection:
            older.drop()
        self.holders[port] = connection

    def free_port(self, port: int, connection: _NodeConnection) -> None:
        """Forget a port, unless somebody newer has it."""
        if self.holders.get(port) is connection:
            del self.holders[port]


class _NodeConnection(asyncssh.SSHServer):
    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.tunnel: Tunnel | None = None
        self.user = ""
        self.peer = ""
        self._connection: asyncssh.SSHServerConnection | None = None
        self._candidate: Tunnel | None = None
        self._listeners: dict[int, _PortListener] = {}

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self.peer = peer_of(conn.get_extra_info("peername"))
        if self.relay.is_closed:
            conn.abort()
            return
        if self.relay.full(self.peer):
            log.warning("relay is full, a node at %s is turned away", self.peer)
            conn.abort()
            return
        self.relay.connections.add(self)
        self.relay.pending.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.connections.discard(self)
        self.relay.pending.discard(self)
        for listener in list(self._listeners.values()):
            listener.close()

    async def begin_auth(self, username: str) -> bool:
        self.user = username
        self._candidate = await self.relay.tunnels.find(username)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._candidate is not None and key.public_data == _public_data(self._candidate.public_key)

    def auth_completed(self) -> None:
        self.tunnel = self._candidate
        self.relay.pending.discard(self)
        log.info("tunnel of lease %s is up", self.user)

    async def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        if not await self._may_listen(listen_port):
            log.warning("lease %s asked for port %s, which is not its own", self.user, listen_port)
            return False
        return await self._listen(listen_host, listen_port)

    async def _may_listen(self, port: int) -> bool:
        """As of now: what the lease had at its login may have gone to the next one."""
        if self.tunnel is None or port in self._listeners:
            return False
        try:
            now = await self.relay.tunnels.find(self.user)
        except Exception:  # the lookup's database may be away; the node dials again
            log.exception("lease %s: its ports could not be looked up", self.user)
            return False
        return self in self.relay.connections and now == self.tunnel and port in self.tunnel.ports

    def drop(self) -> None:
        """Close every listener now and hang up."""
        for listener in list(self._listeners.values()):
            listener.close()
        if self._connection is not None:
            self._connection.abort()

    async def _listen(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener:
        self.relay.take_port(listen_port, self)
        listener = self._listeners[listen_port] = _PortListener(self, listen_host, listen_port)
        try:
            await listener.listen()
        except BaseException:  # cancelled too: nobody else knows of its socket yet
            listener.close()
            raise
        return listener

    def closed(self, port: int) -> None:
        self._listeners.pop(port, None)
        self.relay.free_port(port, self)

    async def buyer(self, listener: _PortListener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection of a buyer, or close it when its lease or its address has too many."""
        peer = peer_of(writer.get_extra_info("peername"))
        place = Place(self.relay.buyers, self.user, peer, self.relay.limits)
        try:
            if place.is_taken and self._connection is not None:
                await self._carry(self._connection, listener, (reader, writer), place)
        finally:
            place.leave()
            writer.close()

    async def _carry(
        self,
        connection: asyncssh.SSHServerConnection,
        listener: _PortListener,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        place: Place,
    ) -> None:
        origin = near[1].get_extra_info("peername") or ("", 0)
        said = b"" if place.may_be_mute else await self._first_words(near[0])
        if not said and not place.may_be_mute:
            return
        try:
            async with asyncio.timeout(self.relay.limits.login_seconds):
                far: tuple[Any, Any] = await connection.open_connection(
                    listener.requested_host, listener.port, origin[0], origin[1]
                )
        except (asyncssh.Error, OSError) as error:  # a TimeoutError is an OSError
            log.info("lease %s: the node does not answer on port %s: %s", self.user, listener.port, error)
            return
        await pipe(near, far, self.relay.limits, said=said, on_word=place.speak)

    async def _first_words(self, reader: asyncio.StreamReader) -> bytes:
        """What a buyer says before the node hears of him; nothing when he is mute for too long."""
        limits = self.relay.limits
        try:
            async with asyncio.timeout(limits.mute_seconds):
                return await reader.read(limits.chunk_bytes)
        except OSError:  # a TimeoutError is one
            return b""


class _PortListener(asyncssh.SSHListener):
    def __init__(self, owner: _NodeConnection, requested_host: str, port: int) -> None:
        super().__init__()
        self.requested_host = requested_host
        self.port = port
        self._owner = owner
        self._server: asyncio.Server | None = None
        self._is_closed = False

    async def listen(self) -> None:
        host = self._owner.relay.bind_host
        # Served in a second step: a cancel in the first one of `start_server` would leave a socket that listens.
        self._server = await asyncio.start_server(self._accept, host, self.port, start_serving=False)
        if self._is_closed:  # the node hung up meanwhile
            self.close()
        else:
            await self._server.start_serving()

    def get_port(self) -> int:
        return self.port

    def close(self) -> None:
        self._is_closed = True
        if self._server is not None:
            self._server.close()
            self._server = None
        self._owner.closed(self.port)

    async def wait_closed(self) -> None:
        """Sockets that listened are closed by `close`; pipes end with their connection."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._owner.buyer(self, reader, writer)


def _host_key(path: Path) -> asyncssh.SSHKey:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        path.touch(mode=0o600)
        path.write_bytes(key.export_private_key())
    return asyncssh.read_private_key(path)


def _public_data(line: str) -> bytes:
    return bytes(asyncssh.import_public_key(line).public_data)
