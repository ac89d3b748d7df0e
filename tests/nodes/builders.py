"""Nodes, cards and reports for tests."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from datetime import datetime
from typing import Any

from django.db.models import F
from nacl.signing import SigningKey

from marketplace.accounts.models import Firm
from nodes.agent import protocol
from nodes.agent.protocol import CardIdentity, Inventory, ReportBatch
from nodes.models import Node, NodeReportState, Report
from nodes.states import NodeState
from tests.factories import NOON, make_firm

_numbers = itertools.count(1)
HEALTHY = [3.0, 2.0, 512.0, 41.0, 60.0, 300.0, 0.0, 0.0, 0.0, 0.0]


def make_node(firm: Firm | None = None, **columns: Any) -> tuple[Node, str]:
    """A node as enrolment and a proving lease leave it, and its bearer."""
    number = next(_numbers)
    bearer = f"fal_node_{number:032d}"
    node = Node.objects.create(
        **{
            "firm": firm or make_firm(),
            "name": f"host-{number}",
            "state": NodeState.ONLINE,
            "public_key": hashlib.sha256(f"key {number}".encode()).digest(),
            "bearer_hash": hashlib.sha256(bearer.encode()).digest(),
            "region": "de",
            "country": "DE",
            "inventory_digest": "0123456789abcdef",
            "enrolled_at": NOON,
            "proven_at": NOON,
        }
        | columns
    )
    return node, bearer


def make_report(run: int = 1, seq: int = 1, **values: Any) -> protocol.Report:
    """A report of one quiet card; `seq` seconds after the boot."""
    return protocol.Report(
        **{
            "run": run,
            "seq": seq,
            "ts_ms": 1_790_000_000_000 + seq * 1000,
            "mono_ms": seq * 1000,
            "boot": "b1",
            "inventory": "0123456789abcdef",
            "cards": [HEALTHY],
        }
        | values
    )


def make_batch(*reports: protocol.Report, waited_ms: int = 0) -> ReportBatch:
    """A POST that is sent `waited_ms` after its newest report."""
    newest = max(reports, key=lambda report: (report.run, report.seq))
    return ReportBatch(
        sent_ts_ms=newest.ts_ms + waited_ms, sent_mono_ms=newest.mono_ms + waited_ms, reports=list(reports)
    )


def card_identity(uuid: str = "", name: str = "NVIDIA GeForce RTX 4090", index: int = 0, **values: Any) -> CardIdentity:
    """What NVML says of a factory 4090."""
    number = next(_numbers)
    return CardIdentity(
        **{
            "uuid": uuid or f"GPU-{number:08x}-0000-4000-8000-{number:012x}",
            "name": name,
            "index": index,
            "memory_total_mib": 24564,
            "pci_device_id": "10de:2684",
        }
        | values
    )


def make_inventory(*cards: CardIdentity, **values: Any) -> Inventory:
    """A host with these cards, one 4090 when none is given."""
    return Inventory(
        **{
            "hostname": "gpu-host",
            "agent_version": "0.1.0",
            "runtime": "docker",
            "cards": list(cards) or [card_identity()],
            "driver_version": "580.65.06",
        }
        | values
    )


def enrol_request(token: str, key: SigningKey, inventory: Inventory) -> protocol.EnrolRequest:
    """What an agent sends."""
    return protocol.EnrolRequest(
        token=token,
        public_key=base64.b64encode(bytes(key.verify_key)).decode(),
        proof=base64.b64encode(key.sign(token.encode()).signature).decode(),
        inventory=inventory,
    )


def signed_headers(key: SigningKey, node: str, path: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a signed request."""
    ts_ms = int(now.timestamp() * 1000)
    signing = protocol.signing_input(method="POST", path=path, node=node, ts_ms=ts_ms, body=body)
    return {
        protocol.NODE_HEADER: node,
        protocol.TIMESTAMP_HEADER: str(ts_ms),
        protocol.SIGNATURE_HEADER: base64.b64encode(key.sign(signing).signature).decode(),
    }


def heard(node: Node, at: datetime, seq: int, cards: list[list[float]], **state: Any) -> None:
    """What the ingest leaves behind when a report of the node came in."""
    Report.objects.create(
        node=node,
        run=1,
        seq=seq,
        received_at=at,
        observed_at=at,
        mono_ms=seq * 1000,
        is_live=True,
        cards=[value for card in cards for value in card],
    )
    columns = {"run": 1, "seq": seq, "received_at": at, "inventory_digest": node.inventory_digest} | state
    moved = NodeReportState.objects.filter(node=node).update(state_version=F("state_version") + 1, **columns)
    if not moved:
        NodeReportState.objects.create(node=node, **columns)


def as_json(message: Any) -> Any:
    """A message as its receiver reads it."""
    return json.loads(protocol.encode(message))
