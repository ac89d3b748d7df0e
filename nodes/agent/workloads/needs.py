"""The programs without which no buyer can be let in, each with what to do when it is missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from nodes.agent.workloads.bundle import PACKAGES, missing_programs


@dataclass(frozen=True, slots=True)
class Need:
    """One of them; `missing` is empty when it is there."""

    name: str
    missing: str


def needs(runtime: str) -> list[Need]:
    """What a runtime needs of the host: `process` no more than ssh."""
    found = [Need("ssh", "" if shutil.which("ssh") else "buyers are reached through it: install openssh-client")]
    if runtime == "process":
        return found
    nft = "" if shutil.which("nft") else "no lease without a firewall: install nftables"
    absent = missing_programs()
    sshd = f"{', '.join(absent)} not found: install {PACKAGES}" if absent else ""
    return [*found, Need("nft", nft), Need("sshd", sshd)]


def what_is_missing(runtime: str) -> str | None:
    """One line for the owner; None when leases can be run."""
    return "; ".join(f"{each.name}: {each.missing}" for each in needs(runtime) if each.missing) or None
