"""`fallow-agent doctor`: what would keep this host from earning, each with what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from nodes.agent.client import Client, Refused, Unreachable
from nodes.agent.config import Config
from nodes.agent.gpu import HEALTH, Snapshot
from nodes.agent.protocol import REPORTS_PATH, EnrolReply, Health
from nodes.agent.service import reader_of, route_of
from nodes.agent.state import StateDir, StateError
from nodes.agent.workloads import open_workloads

DISK_FREE_GIB_MIN = 20
SKEW_SECONDS_MAX = 30


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
    return [*_state(config), *_cards(snapshot), _runtime(config), _ssh(), _disk(config), *_server(config)]


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


def _runtime(config: Config) -> Finding:
    runtime = open_workloads(config, lambda: None).runtime
    advice = "no container engine: install Docker or Podman, or start its service"
    return Finding("runtime", runtime != "none", runtime if runtime != "none" else advice)


def _ssh() -> Finding:
    found = shutil.which("ssh")
    return Finding("ssh", found is not None, found or "buyers are reached through it: install openssh-client")


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
