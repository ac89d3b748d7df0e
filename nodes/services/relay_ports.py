"""The relay's public ports: rows, so that two leases can't get the same one, in the range that the setting names."""

from __future__ import annotations

import re

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from marketplace.common.errors import Conflict
from nodes.models import RelayPort

RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")
PORT_MAX = 65_535


class NoRelayPort(Conflict):
    """Every public port of the relay is in use."""

    code = "no_relay_port"


def relay_port_range() -> tuple[int, int]:
    """The first and the last port of RELAY_PORTS."""
    found = RANGE.fullmatch(settings.RELAY_PORTS)
    first, last = map(int, found.groups()) if found else (0, 0)
    if not 0 < first <= last <= PORT_MAX:
        raise ImproperlyConfigured(f"RELAY_PORTS must be such as 20000-29999, not {settings.RELAY_PORTS!r}")
    return first, last


@transaction.atomic
def keep_relay_ports() -> None:
    """Make the rows those of the setting; a port outside of it that a lease holds stays until it is given back."""
    first, last = relay_port_range()
    RelayPort.objects.bulk_create([RelayPort(port=port) for port in range(first, last + 1)], ignore_conflicts=True)
    RelayPort.objects.filter(holder="").exclude(port__range=(first, last)).delete()


@transaction.atomic
def take_ports(*, holder: str, count: int) -> list[int]:
    """So many free ports for a lease, or NoRelayPort."""
    free = RelayPort.objects.select_for_update(skip_locked=True).filter(holder="", port__range=relay_port_range())
    ports = list(free.order_by("port").values_list("port", flat=True)[:count])
    if len(ports) < count:
        raise NoRelayPort("every public port of the relay is in use")
    RelayPort.objects.filter(port__in=ports).update(holder=holder)
    return ports
