"""What a lease's network may reach: the public internet, never the owner's network, the host, or mail servers.

Each lease has a bridge of its own whose name begins with `flw`; one nftables table covers them all. It hooks in ahead
of the engine's own rules, and a drop there is final.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import RuntimeFailure

log = logging.getLogger(__name__)

BRIDGE_PREFIX = "flw"

# IANA's special-purpose registry: everything that is not the public internet, metadata services included.
PRIVATE_RANGES = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's metadata and health service, on a public address
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
MAIL_PORTS = (25, 465, 587, 2525)

TABLE = "inet fallow"
ROUTES = Path("/proc/net/route")
_GATEWAY_FLAG = 0x2

_RULES = """
add table {table}
delete table {table}
table {table} {{
    set private {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {closed} }} }}
    chain leaving {{
        ct state established,related accept
        meta nfproto ipv6 drop
        ip daddr @private drop
        tcp dport {{ {mail} }} drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname "{bridges}*" jump leaving
        oifname "{bridges}*" ct state established,related accept
        oifname "{bridges}*" drop
    }}
    chain host {{
        type filter hook input priority -10; policy accept;
        iifname "{bridges}*" ct state established,related accept
        iifname "{bridges}*" drop
    }}
}}
"""


def bridge_name(lease: str) -> str:
    """The lease's interface name, within the kernel's 15 characters."""
    return BRIDGE_PREFIX + hashlib.sha256(lease.encode()).hexdigest()[:12]


class Firewall:
    """The one table of this host."""

    def __init__(self) -> None:
        self._loaded = ""

    def close(self) -> None:
        """Load the rules in one transaction; without them nothing may start. Raises RuntimeFailure."""
        rules = rules_for(connected_networks())
        if said := _nft("-f", "-", rules=rules):
            raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, f"no lease without a firewall: {said}")
        self._loaded = rules
        _keep_bridges_routed()

    def keep_closed(self) -> None:
        """Load the rules again when something took them away or the host has other networks. Raises RuntimeFailure."""
        if rules_for(connected_networks()) != self._loaded or _nft("list", "table", *TABLE.split()):
            log.info("the firewall of the leases is loaded again")
            self.close()


def rules_for(connected: Sequence[str]) -> str:
    """What nft loads; `connected` are networks beyond the fixed ranges, as `address/bits`."""
    closed = ", ".join([*PRIVATE_RANGES, *connected])
    return _RULES.format(table=TABLE, closed=closed, mail=", ".join(map(str, MAIL_PORTS)), bridges=BRIDGE_PREFIX)


def connected_networks(routes: Path = ROUTES) -> list[str]:
    """Networks that the host reaches without a gateway, the leases' own left out: its neighbours may be public."""
    found = set()
    for line in routes.read_text().splitlines()[1:] if routes.exists() else []:
        interface, target, _, flags, _, _, _, mask = line.split()[:8]
        bits = int(mask, 16).bit_count()
        if bits and not int(flags, 16) & _GATEWAY_FLAG and not interface.startswith(BRIDGE_PREFIX):
            found.add(f"{socket.inet_ntoa(int(target, 16).to_bytes(4, sys.byteorder))}/{bits}")
    return sorted(found)


def _nft(*words: str, rules: str | None = None) -> str:
    """What went wrong; nothing when all went well."""
    try:
        done = subprocess.run(["nft", *words], input=rules, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nft: {error}"
    return (done.stderr.strip() or f"nft returned {done.returncode}") if done.returncode else ""


def _keep_bridges_routed() -> None:
    # Without forwarding the engine's NAT has nothing to do; engines set it, a fresh network namespace has not
    path = Path("/proc/sys/net/ipv4/ip_forward")
    if path.exists() and path.read_text().strip() == "0":
        path.write_text("1")
