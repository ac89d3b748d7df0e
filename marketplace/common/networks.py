"""Which addresses count as one."""

from __future__ import annotations

import ipaddress

IPV6_PREFIX = 64  # what one customer gets at least


def network_of(address: str) -> str:
    """Who is at this address, as far as limits go: an IPv4 address, or the network of an IPv6 address; else nothing."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
