"""A driver library made of ctypes callbacks over a scripted fleet, so that the same NVML code runs without a card."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_uint, c_ulonglong, c_void_p, cast, memmove
from pathlib import Path
from typing import Any

import pynvml

from nodes.agent.fleet import Fleet, FleetFile, ScriptedCard
from nodes.agent.measure.hardware import NVML_NUMBERS, hardware_of

MIB = 1024 * 1024
EVENT_SET = 0xE5E7
NO_INSTANCE = 0xFFFFFFFF
KINDS = {"Compute": "C", "Graphics": "G", "MPSCompute": "M"}
# A function of one number: what it reads of a card.
NUMBERS: dict[str, Callable[[ScriptedCard], int]] = {
    "PowerUsage": lambda card: round(card.power_w * 1000),
    "EnforcedPowerLimit": lambda card: card.power_limit_w * 1000,
    "MaxPcieLinkGeneration": lambda card: card.pcie_generation_max,
    "MaxPcieLinkWidth": lambda card: card.pcie_width_max,
}
TEXTS: dict[str, Callable[[ScriptedCard], str]] = {
    "UUID": lambda card: card.uuid,
    "Name": lambda card: card.name,
    "Serial": lambda card: card.serial,
    "BoardPartNumber": lambda card: card.board_part_number,
    "VbiosVersion": lambda card: card.vbios,
}


def install(path: Path) -> SimulatedLibrary:
    """Make this process's NVML binding talk to the fleet of a file; raises FleetError for a file that is none."""
    library = SimulatedLibrary(FleetFile(path))
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    return library


def remove() -> None:
    """Back to the driver's own library, for the next `nvmlInit`."""
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()


class SimulatedLibrary:
    """The functions of libnvidia-ml by their names as attributes; one that is not here is missing, as in an old driver.

    A device handle is its index plus one: never zero, never followed as a pointer.
    """

    def __init__(self, file: FleetFile) -> None:
        self._file = file
        self._fleet = file.fleet()
        self._initialised = False
        self._delivered: dict[str, int] = {}
        self._add_system()
        self._add_numbers_and_texts()
        self._add_readings()
        self._add_events()

    @property
    def fleet(self) -> Fleet:
        """As of the last count of the cards."""
        return self._fleet

    def _add_system(self) -> None:
        self._export("nvmlInitWithFlags", [c_uint], self._init)
        self._export("nvmlShutdown", [], self._shutdown)
        self._export("nvmlErrorString", [c_int], None, restype=c_char_p)
        self._export(
            "nvmlSystemGetDriverVersion", [c_void_p, c_uint], lambda at, size: _put(at, self._fleet.driver, size)
        )
        self._export("nvmlSystemGetCudaDriverVersion", [c_void_p], lambda at: _set(at, c_int, self._fleet.cuda))
        self._export("nvmlDeviceGetCount_v2", [c_void_p], self._count)
        self._export("nvmlDeviceGetHandleByIndex_v2", [c_uint, c_void_p], self._handle)

    def _add_numbers_and_texts(self) -> None:
        for what, number in NUMBERS.items():
            self._card(what, [c_void_p], lambda card, at, number=number: _set(at, c_uint, number(card)))
        for what, reading in TEXTS.items():
            self._card(what, [c_void_p, c_uint], lambda card, at, size, reading=reading: _text(at, reading(card), size))
        for what, scripted in NVML_NUMBERS.items():
            self._card(what, [c_void_p], lambda card, at, scripted=scripted: _optional(at, scripted(card)))
        self._export("nvmlDeviceGetMinorNumber", [c_void_p, c_void_p], lambda h, at: _set(at, c_uint, (h or 1) - 1))

    def _add_readings(self) -> None:
        self._card("CudaComputeCapability", [c_void_p, c_void_p], _capability)
        self._card("PciInfo", [c_void_p], _pci, version="_v3")
        self._card("BAR1MemoryInfo", [c_void_p], _bar1)
        self._card("MemoryInfo", [c_void_p], _memory)
        self._card("MemoryInfo", [c_void_p], _memory_v2, version="_v2")
        self._card("UtilizationRates", [c_void_p], _rates)
        self._card("Temperature", [c_uint, c_void_p], lambda card, _, at: _set(at, c_uint, card.temperature))
        self._card("ClockInfo", [c_uint, c_void_p], lambda card, _, at: _set(at, c_uint, card.sm_clock))
        self._card("CurrentClocksEventReasons", [c_void_p], lambda card, at: _set(at, c_ulonglong, card.clocks_reasons))
        self._card(
            "TotalEccErrors",
            [c_uint, c_uint, c_void_p],
            lambda card, _, __, at: _set(at, c_ulonglong, card.ecc_uncorrected),
        )
        self._card("RemappedRows", [c_void_p] * 4, _remapped)
        self._card("EccMode", [c_void_p, c_void_p], _ecc_mode)
        self._card("MaxClockInfo", [c_uint, c_void_p], lambda card, _, at: _set(at, c_uint, 3105))
        self._card("FieldValues", [c_int, c_void_p], _fields)
        self._card("MigMode", [c_void_p, c_void_p], _mig)
        for what, kind in KINDS.items():
            self._card(
                f"{what}RunningProcesses",
                [c_void_p, c_void_p],
                lambda card, count, at, kind=kind: _processes(card, kind, count, at),
                version="_v3",
            )

    def _add_events(self) -> None:
        self._export("nvmlEventSetCreate", [c_void_p], lambda at: _set(at, c_void_p, EVENT_SET))
        self._export("nvmlEventSetFree", [c_void_p], lambda _: pynvml.NVML_SUCCESS)
        self._card(
            "SupportedEventTypes", [c_void_p], lambda _, at: _set(at, c_ulonglong, pynvml.nvmlEventTypeXidCriticalError)
        )
        self._export("nvmlDeviceRegisterEvents", [c_void_p, c_ulonglong, c_void_p], self._register)
        self._export("nvmlEventSetWait_v2", [c_void_p, c_void_p, c_uint], self._next_event)

    def _export(self, name: str, types: list[Any], body: Any, *, restype: Any = c_int) -> None:
        if body is None:
            body = _error_string
        setattr(self, name, ctypes.CFUNCTYPE(restype, *types)(body))

    def _card(self, what: str, types: list[Any], body: Any, *, version: str = "") -> None:
        """Export a function of one card, with the failures that the script asks for."""
        name = f"nvmlDeviceGet{what}"

        def call(handle: int | None, *rest: Any) -> int:
            if not self._initialised:
                return int(pynvml.NVML_ERROR_UNINITIALIZED)
            index = (handle or 0) - 1
            if not 0 <= index < len(self._fleet.cards):
                return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
            card = self._fleet.cards[index]
            return _scripted_failure(card, name) or int(body(card, *rest))

        self._export(name + version, [c_void_p, *types], call)

    def _init(self, _flags: int) -> int:
        self._fleet = self._file.fleet()
        self._initialised = self._fleet.init_error == 0
        return self._fleet.init_error

    def _shutdown(self) -> int:
        self._initialised = False
        return int(pynvml.NVML_SUCCESS)

    def _count(self, at: int) -> int:
        self._fleet = self._file.fleet()
        if self._fleet.init_error:
            return self._fleet.init_error
        if not self._initialised:
            return int(pynvml.NVML_ERROR_UNINITIALIZED)
        return _set(at, c_uint, len(self._fleet.cards))

    def _handle(self, index: int, at: int) -> int:
        if index >= len(self._fleet.cards):
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        if self._fleet.cards[index].lost == 2:
            return int(pynvml.NVML_ERROR_GPU_IS_LOST)
        return _set(at, c_void_p, index + 1)

    def _register(self, handle: int, _types: int, _events: int) -> int:
        card = self._fleet.cards[handle - 1]
        self._delivered.setdefault(card.uuid, len(card.xids))  # those before registering are not delivered
        return int(pynvml.NVML_SUCCESS)

    def _next_event(self, _events: int, at: int, _timeout_ms: int) -> int:
        for index, card in enumerate(self._fleet.cards):
            done = self._delivered.get(card.uuid)
            if done is not None and done < len(card.xids):
                self._delivered[card.uuid] = done + 1
                event = cast(at, POINTER(pynvml.c_nvmlEventData_t)).contents
                _set(ctypes.addressof(event), c_void_p, index + 1)
                event.eventType = pynvml.nvmlEventTypeXidCriticalError
                event.eventData = card.xids[done]
                return int(pynvml.NVML_SUCCESS)
        return int(pynvml.NVML_ERROR_TIMEOUT)


_ERRORS: dict[int, bytes] = {
    value: name.removeprefix("NVML_ERROR_").replace("_", " ").capitalize().encode()
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int)
}


def _error_string(code: int) -> bytes:
    return _ERRORS.get(code, b"Unknown Error")


def _scripted_failure(card: ScriptedCard, name: str) -> int:
    if card.lost:
        # The binding still has identity when the card fell off the bus; only readings fail.
        return 0 if card.lost == 1 and name == "nvmlDeviceGetUUID" else int(pynvml.NVML_ERROR_GPU_IS_LOST)
    if name in card.unsupported:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return card.errors.get(name, 0)


def _set(at: int, kind: Any, value: int) -> int:
    cast(at, POINTER(kind))[0] = value
    return int(pynvml.NVML_SUCCESS)


def _put(at: int, value: str, size: int) -> int:
    data = value.encode()[: size - 1] + b"\0"
    memmove(at, data, len(data))
    return int(pynvml.NVML_SUCCESS)


def _text(at: int, value: str, size: int) -> int:
    return _put(at, value, size) if value else int(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _optional(at: int, value: int | None) -> int:
    return int(pynvml.NVML_ERROR_NOT_SUPPORTED) if value is None else _set(at, c_uint, value)


def _ecc_mode(card: ScriptedCard, current: int, pending: int) -> int:
    ecc = hardware_of(card).ecc
    _optional(current, ecc)
    return _optional(pending, ecc)


def _capability(card: ScriptedCard, major: int, minor: int) -> int:
    first, second = card.compute_capability.split(".")
    _set(major, c_int, int(first))
    return _set(minor, c_int, int(second))


def _pci(card: ScriptedCard, at: int) -> int:
    info = cast(at, POINTER(pynvml.nvmlPciInfo_t)).contents
    info.busId = card.pci_bus.encode()
    info.pciDeviceId = _packed(card.pci_device)
    info.pciSubSystemId = _packed(card.pci_subsystem)
    return int(pynvml.NVML_SUCCESS)


def _packed(pci_id: str) -> int:
    vendor, device = pci_id.split(":")
    return int(device, 16) << 16 | int(vendor, 16)


def _bar1(card: ScriptedCard, at: int) -> int:
    cast(at, POINTER(pynvml.c_nvmlBAR1Memory_t)).contents.bar1Total = card.bar1_total_mib * MIB
    return int(pynvml.NVML_SUCCESS)


def _memory(card: ScriptedCard, at: int) -> int:
    """The first version counts the driver's share as used."""
    memory = cast(at, POINTER(pynvml.c_nvmlMemory_t)).contents
    memory.total = card.memory_total_mib * MIB
    memory.used = (card.memory_used_mib + card.memory_reserved_mib) * MIB
    memory.free = memory.total - memory.used
    return int(pynvml.NVML_SUCCESS)


def _memory_v2(card: ScriptedCard, at: int) -> int:
    memory = cast(at, POINTER(pynvml.c_nvmlMemory_v2_t)).contents
    if memory.version != pynvml.nvmlMemory_v2:
        return int(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    memory.total = card.memory_total_mib * MIB
    memory.reserved = card.memory_reserved_mib * MIB
    memory.used = card.memory_used_mib * MIB
    memory.free = memory.total - memory.used - memory.reserved
    return int(pynvml.NVML_SUCCESS)


def _rates(card: ScriptedCard, at: int) -> int:
    if card.mig:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    rates = cast(at, POINTER(pynvml.c_nvmlUtilization_t)).contents
    rates.gpu, rates.memory = card.utilisation, card.memory_bus
    return int(pynvml.NVML_SUCCESS)


def _remapped(card: ScriptedCard, corrected: int, uncorrected: int, pending: int, failed: int) -> int:
    _set(corrected, c_uint, hardware_of(card).rows_correctable)
    _set(uncorrected, c_uint, hardware_of(card).rows_uncorrectable)
    _set(pending, c_uint, int(card.remap_pending))
    return _set(failed, c_uint, int(card.remap_failed))


def _fields(card: ScriptedCard, count: int, at: int) -> int:
    for field in (pynvml.c_nvmlFieldValue_t * count).from_address(at):
        known = field.fieldId == pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
        field.nvmlReturn = pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_NOT_SUPPORTED
        field.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
        field.value.uiVal = card.recovery_action
    return int(pynvml.NVML_SUCCESS)


def _mig(card: ScriptedCard, current: int, pending: int) -> int:
    if card.mig is None:
        return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
    _set(current, c_uint, int(card.mig))
    return _set(pending, c_uint, int(card.mig))


def _processes(card: ScriptedCard, kind: str, count: int, at: int | None) -> int:
    """Twice: first with no room, which tells how many there are, then with room."""
    running = [each for each in card.processes if each.kind == kind]
    room = cast(count, POINTER(c_uint))[0] if at else 0
    _set(count, c_uint, len(running))
    if len(running) > room:
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    if at:
        rows = (pynvml.c_nvmlProcessInfo_v3_t * len(running)).from_address(at)
        for row, process in zip(rows, running, strict=True):
            row.pid, row.usedGpuMemory = process.pid, process.mib * MIB
            row.gpuInstanceId = row.computeInstanceId = NO_INSTANCE
    return int(pynvml.NVML_SUCCESS)
