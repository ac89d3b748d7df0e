"""The wire contract between a node and the server: JSON over HTTPS, standard library only.

The server decodes these dataclasses with msgspec, the agent with `decode`; both sides share this one file.
Times: `ts_ms` is the host's wall clock, `mono_ms` is CLOCK_BOOTTIME, both in milliseconds. Memory is in MiB,
power in W, temperature in °C, utilisation in percent. A reading that the card or driver does not offer is `None`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

PROTOCOL_VERSION = 1

ENROL_PATH = "/agent/v1/enrol"
INVENTORY_PATH = "/agent/v1/inventory"
REPORTS_PATH = "/agent/v1/reports"
ACKS_PATH = "/agent/v1/acks"
LOGS_PATH = "/agent/v1/logs"

# Headers of a signed request (inventory and acks); the signature is base64 of Ed25519 over `signing_input`.
NODE_HEADER = "X-Fallow-Node"
SIGNATURE_HEADER = "X-Fallow-Signature"
TIMESTAMP_HEADER = "X-Fallow-Timestamp"

REPORTS_PER_POST_MAX = 100
CARDS_PER_NODE_MAX = 64
BODY_BYTES_MAX = 256 * 1024
LOG_LENGTH_MAX = 8 * 1024  # characters

# One card's sample is an array in this order, one array per card in the order of the inventory.
CARD_FIELDS = (
    "utilisation_percent",
    "memory_bus_percent",
    "memory_used_mib",
    "temperature_c",
    "power_w",
    "sm_clock_mhz",
    "owner_processes",  # compute, MPS and large graphics processes that belong to no lease and are not ignored
    "lease_processes",
    "health",  # a sum of `Health` flags
    "xid",  # the last Xid since the agent started, 0 when there was none
)


class Health(enum.IntFlag):
    """What is wrong with a card; 0 is healthy."""

    LOST = 1
    RESET_REQUIRED = 2
    XID = 4  # a critical Xid, not one that an application causes
    ROW_REMAP_FAILED = 8
    ROW_REMAP_PENDING = 16
    HARDWARE_SLOWDOWN = 32
    ECC_UNCORRECTED = 64
    RECOVERY_WANTED = 128
    MIG_ENABLED = 256
    PROCESSES_UNKNOWN = 512  # the process list is not available, so idleness can't be proved by it
    NVML_STALLED = 1024


class Phase(enum.StrEnum):
    """How far an assignment has come on the node."""

    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class FailureReason(enum.StrEnum):
    """Why an assignment failed; the first four are the buyer's."""

    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_DENIED = "image_denied"
    IMAGE_TOO_LARGE = "image_too_large"
    WORKLOAD_EXITED = "workload_exited"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    GPU_NOT_VISIBLE = "gpu_not_visible"
    GPU_BUSY = "gpu_busy"
    STALE_EPOCH = "stale_epoch"
    BAD_SIGNATURE = "bad_signature"
    RELAY_UNAVAILABLE = "relay_unavailable"
    OWNER_HOOK_FAILED = "owner_hook_failed"
    OWNER_STOPPED = "owner_stopped"
    LEASE_TTL_LAPSED = "lease_ttl_lapsed"
    INTERNAL = "internal"


BUYER_FAILURES = frozenset(
    {
        FailureReason.IMAGE_NOT_FOUND,
        FailureReason.IMAGE_DENIED,
        FailureReason.IMAGE_TOO_LARGE,
        FailureReason.WORKLOAD_EXITED,
    }
)


@dataclass(frozen=True, slots=True)
class CardIdentity:
    """What NVML says of one physical card; `uuid` is its key."""

    uuid: str
    name: str
    index: int
    memory_total_mib: int
    memory_reserved_mib: int | None = None
    bar1_total_mib: int | None = None
    pci_bus_id: str | None = None
    pci_device_id: str | None = None  # "vvvv:dddd", lower-case hex, vendor first
    pci_subsystem_id: str | None = None
    serial: str | None = None
    board_part_number: str | None = None
    vbios: str | None = None
    compute_capability: str | None = None
    minor_number: int | None = None
    power_limit_w: int | None = None
    pcie_generation_max: int | None = None
    pcie_width_max: int | None = None
    ecc_enabled: bool | None = None
    mig_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """A host and its cards; sent at enrolment and whenever `inventory_digest` changes."""

    hostname: str
    agent_version: str
    runtime: str  # docker, podman, process or none
    cards: list[CardIdentity]
    driver_version: str | None = None
    cuda_version: str | None = None
    nvml_error: str | None = None
    kernel: str | None = None
    cpu_count: int | None = None
    memory_mib: int | None = None
    disk_free_gib: int | None = None


def inventory_digest(inventory: Inventory) -> str:
    """16 hex digits that change when anything of the inventory but the free disk changes."""
    stable = dataclasses.asdict(inventory) | {"disk_free_gib": None}
    return hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """A lease as the node sees it at the moment of a report; RUNNING proves use of its cards."""

    id: str
    epoch: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class Report:
    """One sample of a whole node. (run, seq) orders a node's reports: `run` counts the agent's starts."""

    run: int
    seq: int
    ts_ms: int
    mono_ms: int
    boot: str
    inventory: str
    cards: list[list[float | None]]
    leases: list[LeaseStatus] = field(default_factory=list)
    dropped: int = 0
    draining: bool = False  # the owner wants no new lease here; the running ones go on


@dataclass(frozen=True, slots=True)
class ReportBatch:
    """The body of a POST of reports: one when live, up to REPORTS_PER_POST_MAX after an outage, oldest first."""

    sent_ts_ms: int
    sent_mono_ms: int
    reports: list[Report]
    version: int = PROTOCOL_VERSION
    boot: str | None = None  # the sender's, to which `sent_mono_ms` belongs; older agents do not say it


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """`payload` is the JSON text of an `AssignmentCommand`; `signature` is base64 of the command key's Ed25519."""

    payload: str
    signature: str


@dataclass(frozen=True, slots=True)
class ReportReply:
    """The wanted state: every assignment that must run or has yet to be seen stopped."""

    server_ts_ms: int
    interval_ms: int
    inventory_wanted: bool
    draining: bool
    commands: list[SignedCommand]


@dataclass(frozen=True, slots=True)
class RelayEndpoint:
    """Where the node opens its outbound tunnel, and the port that the relay listens on for this lease."""

    host: str
    port: int
    host_key: str
    listen_port: int
    user: str


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What to run for a buyer. Limits are hard; `ports` are TCP ports inside the container."""

    image: str
    ssh_public_key: str
    command: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    disk_gib: int = 10
    cpu_millis: int | None = None
    memory_mib: int | None = None
    shm_mib: int = 1024
    pids: int = 4096
    registry_auth: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AssignmentCommand:
    """What the server wants of one lease on one node. `epochs` maps each card's UUID to its epoch."""

    assignment: str
    lease: str
    node: str
    wanted: str  # run or stop
    epochs: dict[str, int]
    ttl_seconds: int
    stop_grace_seconds: int
    spec: WorkloadSpec | None = None
    relays: list[RelayEndpoint] = field(default_factory=list)  # the first is SSH, then one for each port of the spec


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of an assignment; sent signed, repeated until answered, harmless when repeated."""

    assignment: str
    lease: str
    epochs: dict[str, int]
    phase: Phase
    run: int
    seq: int
    mono_ms: int
    progress_percent: int | None = None
    reason: FailureReason | None = None
    detail: str | None = None
    ssh_user: str | None = None
    ssh_host_key: str | None = None
    gpus_seen: list[str] = field(default_factory=list)
    memory_at_baseline: bool | None = None


@dataclass(frozen=True, slots=True)
class AckBatch:
    """The body of a signed POST of acks."""

    acks: list[Ack]
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last of what a workload wrote, for its buyer; the body of a signed POST, sent when it has changed."""

    assignment: str
    text: str


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """`proof` is base64 of Ed25519 over the token's bytes, made with the key whose public half is enrolled."""

    token: str
    public_key: str
    proof: str
    inventory: Inventory
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class EnrolReply:
    """What a node keeps: its id, its bearer for reports and the server's command key, pinned from now on."""

    node: str
    bearer: str
    command_public_key: str
    reports_url: str
    server_url: str


def signing_input(*, method: str, path: str, node: str, ts_ms: int, body: bytes) -> bytes:
    """The bytes that a node signs for a request."""
    return "\n".join([method, path, node, str(ts_ms), hashlib.sha256(body).hexdigest()]).encode()


def encode(message: Any) -> bytes:
    """Compact JSON of one of this module's dataclasses."""
    return json.dumps(dataclasses.asdict(message), separators=(",", ":")).encode()


class ProtocolError(ValueError):
    """The message does not have the agreed shape."""


Message = TypeVar("Message")


def decode(kind: type[Message], data: bytes | str) -> Message:
    """One of this module's dataclasses from JSON; unknown keys are ignored so that an older agent keeps working.

    Raises ProtocolError when a key is missing or a value has another type.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ProtocolError(f"not JSON: {error}") from error
    return typing.cast(Message, _build(kind, value, kind.__name__))


def _build(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        return None if value is None else _build(_without_none(kind), value, where)
    if origin is list:
        _expect(isinstance(value, list), where)
        (item,) = typing.get_args(kind)
        return [_build(item, each, f"{where}[{n}]") for n, each in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), where)
        return {key: _build(typing.get_args(kind)[1], each, f"{where}.{key}") for key, each in value.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(typing.cast(type, kind), value, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        _expect(value in kind._value2member_map_, where)
        return kind(value)
    _expect(_is_scalar(kind, value), where)
    return value


def _build_dataclass(kind: type, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where)
    hints = _hints(kind)
    names = {each.name for each in dataclasses.fields(kind)}
    known = {key: _build(hints[key], each, f"{where}.{key}") for key, each in value.items() if key in names}
    try:
        return kind(**known)
    except TypeError as error:
        raise ProtocolError(f"{where}: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _without_none(kind: Any) -> Any:
    (inner,) = (each for each in typing.get_args(kind) if each is not type(None))
    return inner


def _is_scalar(kind: Any, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _expect(condition: bool, where: str) -> None:
    if not condition:
        raise ProtocolError(f"{where}: unexpected value")
