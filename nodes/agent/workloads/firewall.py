"""What a lease's network may reach: the public internet, never the owner's network, the host, or mail servers.

Each lease has a bridge of its own whose name begins with `flw`; one nftables table covers them all. It hooks in ahead
of the engine's own rules, and a drop there is final.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import RuntimeFailure

BRIDGE_PREFIX = "flw"

# IANA's special-purpose registry: everything that is not the public internet, metadata services included.
PRIVATE_RANGES = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
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

_RULES = f"""
add table inet fallow
delete table inet fallow
table inet fallow {{
    set private {{ type ipv4_addr; flags interval; elements = {{ {", ".join(PRIVATE_RANGES)} }} }}
    chain leaving {{
        ct state established,related accept
        meta nfproto ipv6 drop
        ip daddr @private drop
        tcp dport {{ {", ".join(map(str, MAIL_PORTS))} }} drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname "{BRIDGE_PREFIX}*" jump leaving
        oifname "{BRIDGE_PREFIX}*" ct state established,related accept
        oifname "{BRIDGE_PREFIX}*" drop
    }}
    chain host {{
        type filter hook input priority -10; policy accept;
        iifname "{BRIDGE_PREFIX}*" ct state established,related accept
        iifname "{BRIDGE_PREFIX}*" drop
    }}
}}
"""


def bridge_name(lease: str) -> str:
    """The lease's interface name, within the kernel's 15 characters."""
    return BRIDGE_PREFIX + hashlib.sha256(lease.encode()).hexdigest()[:12]


def close_private_ranges() -> None:
    """Load the rules in one transaction; without them nothing may start. Raises RuntimeFailure."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=_RULES, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, f"no lease without a firewall: nft: {error}") from error
    if done.returncode:
        raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, f"no lease without a firewall: {done.stderr.strip()}")
    _keep_bridges_routed()


def _keep_bridges_routed() -> None:
    # Without forwarding the engine's NAT has nothing to do; engines set it, a fresh network namespace has not
    path = Path("/proc/sys/net/ipv4/ip_forward")
    if path.exists() and path.read_text().strip() == "0":
        path.write_text("1")
