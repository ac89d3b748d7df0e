"""Acks one by one: what a node says is cleaned, and what can't be read is left out without hurting the rest.

A node repeats its acks until they are answered and drops a batch that is refused, so one bad ack must never cost it
the news of its other leases.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from marketplace.common.errors import Invalid
from nodes.agent import protocol
from nodes.agent.protocol import Ack, FailureReason, Phase, ProtocolError

log = logging.getLogger(__name__)

Given = TypeVar("Given")

NUMBER_MAX = 2**63 - 1
NUMBER_DIGITS_MAX = 19
DETAIL_LENGTH_MAX = 500
REASONS = frozenset(each.value for each in FailureReason)
ASSIGNMENT = re.compile(r"[0-9A-Za-z_-]{1,32}")
SSH_USER = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,31}")
SSH_HOST_KEY = re.compile(r"[a-z0-9@.-]{1,64} [A-Za-z0-9+/=]{1,700}")


class BadAck(ValueError):
    """This one can't be used."""


def read_acks(body: bytes, *, sender: str) -> list[Ack]:
    """The acks of a batch that can be read. Invalid when it is no batch at all."""
    try:
        batch = json.loads(body, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not what the protocol says: {error}", code="bad_message") from error
    if not isinstance(batch, dict) or not isinstance(batch.get("acks"), list):
        raise Invalid("not what the protocol says: a batch has a list of acks", code="bad_message")
    return _each(batch["acks"], _read, sender)


def clean_acks(acks: Iterable[Ack], *, sender: str) -> list[Ack]:
    """Those that can be kept, with texts that PostgreSQL and people can read."""
    return _each(acks, _cleaned, sender)


def _each(given: Iterable[Given], use: Callable[[Given], Ack], sender: str) -> list[Ack]:
    good: list[Ack] = []
    bad: list[str] = []
    for one in given:
        try:
            good.append(use(one))
        except (BadAck, ProtocolError, RecursionError) as error:
            bad.append(repr(str(error))[:200])
    if bad:
        log.warning("%d acks of node %s are left out, the first because of %s", len(bad), sender, bad[0])
    return good


def _read(said: Any) -> Ack:
    reason = said.get("reason") if isinstance(said, dict) else None
    if isinstance(reason, str) and reason not in REASONS:
        said = said | {"reason": FailureReason.INTERNAL.value}  # a newer agent's reason: that it failed still counts
    return protocol.decode(Ack, json.dumps(said))


def _cleaned(ack: Ack) -> Ack:
    if not ASSIGNMENT.fullmatch(ack.assignment):
        raise BadAck("an assignment that is no id")
    if not (0 <= ack.run <= NUMBER_MAX and 0 <= ack.seq <= NUMBER_MAX):
        raise BadAck("run and seq are not negative and fit 63 bits")
    if ack.phase == Phase.RUNNING:
        _check_access(ack)
    percent = ack.progress_percent
    return dataclasses.replace(
        ack,
        progress_percent=None if percent is None else min(max(percent, 0), 100),
        detail=None if ack.detail is None else _printable(ack.detail)[:DETAIL_LENGTH_MAX],
    )


def _check_access(ack: Ack) -> None:
    if ack.ssh_user is not None and not SSH_USER.fullmatch(ack.ssh_user):
        raise BadAck("a user whom no SSH client could name")
    if ack.ssh_host_key is not None and not SSH_HOST_KEY.fullmatch(ack.ssh_host_key):
        raise BadAck("a host key that is none")


def _printable(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def _whole(text: str) -> float:
    """Python refuses to read numbers of thousands of digits, which would cost the whole batch."""
    return int(text) if len(text) <= NUMBER_DIGITS_MAX + 1 else math.inf
