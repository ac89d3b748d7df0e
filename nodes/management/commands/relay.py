"""`manage.py relay`: the process that carries buyers to hosts without an open port."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

import asyncssh
from django.conf import settings
from django.core.management.base import BaseCommand

from nodes.relay.leases import LeaseTunnels
from nodes.relay.server import serve
from nodes.relay.tunnels import Limits
from nodes.relay_keys import relay_host_key_file
from nodes.services.relay_ports import keep_relay_ports

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Runs until SIGTERM; one relay serves an exchange."""

    help = "Carry SSH and declared ports of leases to their nodes."

    def handle(self, *args: Any, **options: Any) -> None:
        keep_relay_ports()
        asyncio.run(_serve_until_stopped())


async def _serve_until_stopped() -> None:
    asyncssh.set_log_level("WARNING")  # it says a dozen lines per connection otherwise
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    relay = await serve(
        host=settings.RELAY_BIND,
        port=settings.RELAY_PORT,
        host_key_path=relay_host_key_file(),
        tunnels=LeaseTunnels(),
        bind_host=settings.RELAY_BIND,
        limits=Limits(
            connections_per_address=settings.RELAY_CONNECTIONS_PER_ADDRESS,
            logins_pending_per_address=settings.RELAY_LOGINS_PER_ADDRESS,
        ),
    )
    log.info("nodes dial %s:%s", settings.RELAY_BIND, relay.port)
    try:
        await stopped.wait()
    finally:
        await relay.close()
