"""Cards through NVML. No call here makes a CUDA context, takes a card or changes a setting.

One card's failure never hides another: each call is tried alone, what a card does not offer is None. Which call
gives which signal, and which Xids an application causes: NVIDIA's NVML API reference and Xid errors guide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import pynvml

from nodes.agent.gpu import HEALTH, IsLeasePid, Sample, Snapshot, unread_sample
from nodes.agent.identity import card_identity
from nodes.agent.nvml_calls import Signal, attempt, text
from nodes.agent.processes import OwnerProcesses
from nodes.agent.protocol import CardIdentity, Health

log = logging.getLogger(__name__)

REINIT_SECONDS = 60.0
FORGOTTEN_AFTER_SECONDS = 600.0  # longer than a lease's grace, and some fresh starts of NVML
MIB = 1024 * 1024
APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
HARDWARE_SLOWDOWN = (
    pynvml.nvmlClocksEventReasonHwSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)
EVENTS_PER_READ_MAX = 64


@dataclass(slots=True)
class _Known:
    identity: CardIdentity
    xid: int = 0  # the last since the agent started
    critical: bool = False
    registered: bool = False
    missing_since: float | None = None  # since when a driver that has all its cards does not have this one


class NvmlReader:
    """The cards of this host, remembered when they are lost, found again when the driver is back.

    A card that a well driver has had no more for ten minutes is not in this host: somebody may have it elsewhere.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, ignored_owners: frozenset[str] = frozenset()
    ) -> None:
        self._clock = clock
        self._processes = OwnerProcesses(ignored_owners)
        self._known: dict[str, _Known] = {}
        self._ready = False
        self._tried_at: float | None = None
        self._error: str | None = None
        self._mismatch = False
        self._versions: tuple[str | None, str | None] = (None, None)
        self._events: object | None = None
        self._has_all = False  # the last look reached every card that the driver counts

    def read(self, is_lease_pid: IsLeasePid) -> Snapshot:
        samples: dict[str, Sample] = {}
        if self._ready or self._initialise():
            samples = self._samples(is_lease_pid)
            self._forget_missing(samples)
            if len(samples) < len(self._known) or self._error or any(map(_is_lost, samples.values())):
                self._renew_later()
        known = self._known.items()
        return Snapshot(
            cards=[each.identity for _, each in known],
            samples=[samples.get(uuid) or unread_sample(Health.LOST, each.xid) for uuid, each in known],
            driver_version=self._versions[0],
            cuda_version=self._versions[1],
            error=self._error,
            stale_library=self._mismatch and bool(known),
        )

    def close(self) -> None:
        if self._ready:
            if self._events is not None:
                attempt(Signal("nvmlEventSetFree", self._events))
            attempt(Signal("nvmlShutdown"))
        self._ready = False
        self._events = None
        for each in self._known.values():
            each.registered = False

    def _initialise(self) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < REINIT_SECONDS:
            return False
        self._tried_at = now
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._error = str(error)
            self._mismatch = error.value == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
            return False
        self._ready, self._error = True, None
        cuda = attempt(Signal("nvmlSystemGetCudaDriverVersion"))
        self._versions = (
            text(attempt(Signal("nvmlSystemGetDriverVersion"))),
            f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        )
        self._events = attempt(Signal("nvmlEventSetCreate"))
        return True

    def _renew_later(self) -> None:
        """A lost card or a reloaded driver comes back only to a fresh NVML; not more often than once a minute."""
        if self._tried_at is not None and self._clock() - self._tried_at >= REINIT_SECONDS:
            self.close()

    def _samples(self, is_lease_pid: IsLeasePid) -> dict[str, Sample]:
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self._fail(error)
            return {}
        self._error, self._has_all = None, True
        self._take_events()
        samples: dict[str, Sample] = {}
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
                samples[uuid] = self._card(index, handle, uuid, is_lease_pid)
            except pynvml.NVMLError as error:
                self._has_all = False
                log.debug("card %d: %s", index, error)
        return samples

    def _forget_missing(self, samples: dict[str, Sample]) -> None:
        now = self._clock()
        for uuid, known in list(self._known.items()):
            if uuid in samples or not self._has_all:
                known.missing_since = None
            elif known.missing_since is None:
                known.missing_since = now
            elif now - known.missing_since >= FORGOTTEN_AFTER_SECONDS:
                log.warning("%s is in this host no more", uuid)
                del self._known[uuid]

    def _fail(self, error: pynvml.NVMLError) -> None:
        self._error, self._has_all = str(error), False
        if error.value in GONE:
            self.close()

    def _card(self, index: int, handle: object, uuid: str, is_lease_pid: IsLeasePid) -> Sample:
        """Raises NVMLError when the card does not even say what it is."""
        mig = attempt(Signal("nvmlDeviceGetMigMode", handle))
        mig_enabled = bool(mig[0]) if mig else None
        known = self._known.get(uuid)
        if known is None or known.identity.mig_enabled != mig_enabled or known.identity.index != index:
            identity = card_identity(index, handle, uuid, mig_enabled)
            known = self._known[uuid] = _Known(identity, *((known.xid, known.critical) if known else ()))
        if not known.registered:
            self._register(handle)
            known.registered = True
        return self._readings(handle, known, is_lease_pid)

    def _readings(self, handle: object, known: _Known, is_lease_pid: IsLeasePid) -> Sample:
        codes: set[int] = set()
        rates = attempt(Signal("nvmlDeviceGetUtilizationRates", handle), codes)
        memory = attempt(Signal("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2), codes)
        if memory is None:
            memory = attempt(Signal("nvmlDeviceGetMemoryInfo", handle), codes)
        temperature = attempt(Signal("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU), codes)
        power = attempt(Signal("nvmlDeviceGetPowerUsage", handle), codes)
        clock = attempt(Signal("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_SM), codes)
        owner, lease = self._processes.count(handle, is_lease_pid, codes)
        health = _health(handle, known, codes, processes_known=owner is not None)
        return [
            rates.gpu if rates else None,
            rates.memory if rates else None,
            memory.used // MIB if memory else None,
            temperature,
            round(power / 1000, 1) if power is not None else None,
            clock,
            owner,
            lease,
            int(health),
            known.xid,
        ]

    def _register(self, handle: object) -> None:
        offered = attempt(Signal("nvmlDeviceGetSupportedEventTypes", handle)) or 0
        wanted = offered & pynvml.nvmlEventTypeXidCriticalError
        if self._events is None or not wanted:
            return
        try:
            pynvml.nvmlDeviceRegisterEvents(handle, wanted, self._events)
        except pynvml.NVMLError as error:
            log.warning("no Xid events: %s", error)

    def _take_events(self) -> None:
        if self._events is None:
            return
        for _ in range(EVENTS_PER_READ_MAX):
            event = attempt(Signal("nvmlEventSetWait_v2", self._events, 0))
            if event is None:
                return
            uuid = attempt(Signal("nvmlDeviceGetUUID", event.device))
            for key, known in self._known.items():
                if uuid is None or key == uuid:  # an event of a card that can't say its name concerns them all
                    known.xid = int(event.eventData)
                    known.critical = known.critical or known.xid not in APPLICATION_XIDS


def _health(handle: object, known: _Known, codes: set[int], *, processes_known: bool) -> Health:
    remapped = attempt(Signal("nvmlDeviceGetRemappedRows", handle), codes)
    reasons = attempt(Signal("nvmlDeviceGetCurrentClocksEventReasons", handle), codes)
    if reasons is None:
        reasons = attempt(Signal("nvmlDeviceGetCurrentClocksThrottleReasons", handle), codes)
    ecc = attempt(
        Signal(
            "nvmlDeviceGetTotalEccErrors", handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        ),
        codes,
    )
    flags = {
        Health.LOST: bool(codes & {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN}),
        Health.RESET_REQUIRED: pynvml.NVML_ERROR_RESET_REQUIRED in codes,
        Health.XID: known.critical,
        Health.ROW_REMAP_FAILED: bool(remapped and remapped[3]),
        Health.ROW_REMAP_PENDING: bool(remapped and remapped[2]),
        Health.HARDWARE_SLOWDOWN: bool((reasons or 0) & HARDWARE_SLOWDOWN),
        Health.ECC_UNCORRECTED: bool(ecc),
        Health.RECOVERY_WANTED: _recovery_wanted(handle),
        Health.MIG_ENABLED: bool(known.identity.mig_enabled),
        Health.PROCESSES_UNKNOWN: not processes_known,
    }
    return Health(sum(flag for flag, raised in flags.items() if raised))


def _is_lost(sample: Sample) -> bool:
    return bool(int(sample[HEALTH] or 0) & Health.LOST)


def _recovery_wanted(handle: object) -> bool:
    values = attempt(Signal("nvmlDeviceGetFieldValues", handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]))
    if not values or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return False
    return bool(values[0].value.uiVal != pynvml.NVML_GPU_RECOVERY_ACTION_NONE)
