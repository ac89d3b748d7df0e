"""`fallow-agent doctor`: what would keep this host from earning, each with what to do about it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from nodes.agent.client import Client, Refused, Unreachable
from nodes.agent.config import Config
from nodes.agent.connect import open_through
from nodes.agent.gpu import HEALTH, Snapshot
from nodes.agent.protocol import REPORTS_PATH, EnrolReply, Health
from nodes.agent.service import reader_of, route_of
from nodes.agent.state import StateDir, StateError
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.needs import needs
from nodes.agent.workloads.store import LeaseStore

DISK_FREE_GIB_MIN = 20
SKEW_SECONDS_MAX = 30
RELAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: whether it is well, and what to do when it is not."""

    name: str
    good: bool
    detail: str


def examine(config: Config) -> list[Finding]:
    """Every check, in the order in which a host is set up. Changes nothing but asks the server and the driver."""
    reader = reader_of(config)
    snapshot = reader.read(lambda _: False)
    reader.close()
    return [*_state(config), *_cards(snapshot), *_leases(config), _disk(config), *_server(config)]


def _state(config: Config) -> Iterator[Finding]:
    state = StateDir(config.state_dir)
    try:
        state.create()
        enrolled = state.enrolment()
    except StateError as error:
        yield Finding("state folder", False, str(error))
        return
    mode = os.stat(config.state_dir).st_mode & 0o077
    private = f"{config.state_dir}" if not mode else f"others can look into it: chmod 700 {config.state_dir}"
    yield Finding("state folder", not mode, private)
    yield Finding("enrolment", enrolled is not None, enrolled.node if enrolled else "run fallow-agent enrol")


def _cards(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.error:
        yield Finding("NVIDIA driver", False, f"{snapshot.error}: install the driver, or reboot after its update")
        return
    yield Finding("NVIDIA driver", True, f"{snapshot.driver_version}, CUDA {snapshot.cuda_version}")
    if not snapshot.cards:
        yield Finding("cards", False, "the driver sees no card")
    for card, sample in zip(snapshot.cards, snapshot.samples, strict=True):
        health = Health(int(sample[HEALTH] or 0))
        yield Finding(f"card {card.index}", not health, f"{card.name}: {health.name or 'healthy'}")


def _leases(config: Config) -> Iterator[Finding]:
    workloads = open_workloads(config, lambda: None)
    yield Finding("runtime", not workloads.problem, workloads.problem or workloads.runtime)
    for each in needs(config.runtime):
        yield Finding(each.name, not each.missing, each.missing or "here")
    for host, port in _relays(config):
        yield _relay(config, host, port)


def _relays(config: Config) -> list[tuple[str, int]]:
    """Those that this host's leases have gone through."""
    records = LeaseStore(config.state_dir / "leases").load()
    return sorted({(each.host, each.port) for record in records for each in record.command.relays})


def _relay(config: Config, host: str, port: int) -> Finding:
    try:
        if config.proxy_url:
            open_through(config.proxy_url, host, port, seconds=RELAY_SECONDS).close()
        else:
            socket.create_connection((host, port), timeout=RELAY_SECONDS).close()
    except OSError as error:
        advice = f"{host}:{port}: {error}: let this host out to it, buyers are reached through it"
        return Finding("relay", False, advice)
    return Finding("relay", True, f"{host}:{port} answers")


def _disk(config: Config) -> Finding:
    stat = os.statvfs(config.state_dir if config.state_dir.exists() else "/")
    free = stat.f_bavail * stat.f_frsize // 1024**3
    return Finding("disk", free >= DISK_FREE_GIB_MIN, f"{free} GiB free, images want {DISK_FREE_GIB_MIN} or more")


def _server(config: Config) -> Iterator[Finding]:
    try:
        enrolment = StateDir(config.state_dir).enrolment()
    except (StateError, OSError):
        return
    if enrolment is None:
        return
    yield _resolves(config, enrolment)
    client = Client(enrolment.reports_url, route_of(config), timeout=10)
    try:
        # An empty body is refused before the bearer is looked at, or after: both prove that the way is open.
        client.post(REPORTS_PATH, b"{}", {"Authorization": f"Bearer {enrolment.bearer}"})
    except Refused as error:
        known = error.status != 401
        yield Finding("server", known, "answers" if known else "does not know this host: enrol again")
    except Unreachable as error:
        yield Finding("server", False, f"{error}: check the firewall, HTTPS_PROXY and FALLOW_CA_FILE")
    else:
        yield Finding("server", True, "answers")
    finally:
        client.close()
    if client.date:
        yield _clock(client.date)


def _clock(date: str) -> Finding:
    skew = round(time.time() - parsedate_to_datetime(date).timestamp())
    advice = "as the server's" if abs(skew) <= SKEW_SECONDS_MAX else f"{skew} s off: let timesyncd or chrony set it"
    return Finding("clock", abs(skew) <= SKEW_SECONDS_MAX, advice)


def _resolves(config: Config, enrolment: EnrolReply) -> Finding:
    url = config.proxy_url or enrolment.reports_url
    host = urlsplit(url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return Finding("name", False, f"{host} can't be resolved: {error.strerror}")
    return Finding("name", True, host)
