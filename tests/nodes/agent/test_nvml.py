"""The NVML code over scripted fleets. The cases marked gpu ask the same of a real driver."""

from __future__ import annotations

import os
import pwd
import threading

import pynvml
import pytest

from nodes.agent.gpu import Snapshot, StallGuard
from nodes.agent.nvml import FORGOTTEN_AFTER_SECONDS, REINIT_SECONDS, NvmlReader
from nodes.agent.protocol import CARD_FIELDS, Health


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reader(fleet, clock):
    opened = NvmlReader(clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def real_reader():
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"no NVIDIA driver on this machine: {error}")
    pynvml.nvmlShutdown()
    opened = NvmlReader()
    yield opened
    opened.close()


def no_lease(_pid):
    return False


def look(reader, is_lease_pid=no_lease):
    snapshot = reader.read(is_lease_pid)
    return [dict(zip(CARD_FIELDS, each, strict=True)) for each in snapshot.samples]


def check_contract(snapshot):
    """What holds for every driver, scripted or real."""
    assert snapshot.error is None
    assert snapshot.driver_version
    assert snapshot.cards
    for card, sample in zip(snapshot.cards, snapshot.samples, strict=True):
        reading = dict(zip(CARD_FIELDS, sample, strict=True))
        assert card.uuid.startswith("GPU-")
        assert card.pci_device_id.startswith("10de:")
        assert 0 <= reading["memory_used_mib"] < card.memory_total_mib
        assert 0 <= reading["utilisation_percent"] <= 100
        assert 0 < reading["temperature_c"] < 120
        assert 0 < reading["power_w"] < 2000
        assert not Health(reading["health"]) & (Health.LOST | Health.PROCESSES_UNKNOWN)
        assert reading["owner_processes"] >= 0


def test_a_scripted_fleet_keeps_the_contract(reader):
    check_contract(reader.read(no_lease))


@pytest.mark.gpu
def test_a_real_driver_keeps_the_contract(real_reader):
    check_contract(real_reader.read(no_lease))


@pytest.mark.gpu
def test_a_real_card_stays_itself_over_a_renewed_driver_session(real_reader):
    before = real_reader.read(no_lease).cards
    real_reader.close()
    again = NvmlReader()
    assert again.read(no_lease).cards == before
    again.close()


def test_it_tells_identity_as_the_driver_does(reader):
    first, second = reader.read(no_lease).cards
    assert (first.name, first.pci_device_id, first.serial) == ("NVIDIA GeForce RTX 4090", "10de:2684", None)
    assert (second.memory_total_mib, second.mig_enabled) == (81559, False)
    assert first.uuid != second.uuid


def test_memory_leaves_out_what_the_driver_keeps(reader):
    assert look(reader)[0]["memory_used_mib"] == 2


def test_an_old_driver_without_the_second_memory_call_still_tells_memory(fleet, reader):
    del pynvml.nvmlLib.nvmlDeviceGetMemoryInfo_v2
    assert look(reader)[0]["memory_used_mib"] == 382


def test_a_signal_that_a_card_lacks_is_none_and_hides_no_other(fleet, reader):
    fleet.change(0, unsupported=["nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"])
    first, second = look(reader)
    assert (first["power_w"], first["utilisation_percent"], first["temperature_c"]) == (None, None, 35)
    assert first["health"] == 0
    assert second["power_w"] == 20.0


def test_processes_of_leases_are_told_apart_from_the_owners(fleet, reader):
    kinds = [(11, "C", 500), (12, "M", 10), (13, "G", 4), (14, "G", 900), (15, "C", 20)]
    fleet.change(0, processes=[{"pid": p, "kind": k, "mib": m} for p, k, m in kinds])
    first, _ = look(reader, lambda pid: pid == 15)
    assert (first["owner_processes"], first["lease_processes"]) == (3, 1)  # 13 is a desktop


def test_processes_of_ignored_users_do_not_count(fleet, clock):
    fleet.change(0, processes=[{"pid": os.getpid(), "mib": 5}])
    me = pwd.getpwuid(os.getuid()).pw_name
    assert look(NvmlReader(clock=clock))[0]["owner_processes"] == 1
    assert look(NvmlReader(clock=clock, ignored_owners=frozenset({me})))[0]["owner_processes"] == 0


def test_a_card_without_a_process_list_says_so(fleet, reader):
    fleet.change(0, unsupported=["nvmlDeviceGetComputeRunningProcesses"])
    first, second = look(reader)
    assert first["health"] == Health.PROCESSES_UNKNOWN
    assert first["owner_processes"] is None
    assert second["health"] == 0


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"remap_failed": True}, Health.ROW_REMAP_FAILED),
        ({"remap_pending": True}, Health.ROW_REMAP_PENDING),
        ({"ecc_uncorrected": 2}, Health.ECC_UNCORRECTED),
        ({"recovery_action": 1}, Health.RECOVERY_WANTED),
        ({"clocks_reasons": 0x40}, Health.HARDWARE_SLOWDOWN),
        ({"mig": True}, Health.MIG_ENABLED),
        ({"errors": {"nvmlDeviceGetTemperature": 16}}, Health.RESET_REQUIRED),
    ],
)
def test_each_fault_has_its_flag(fleet, reader, change, flag):
    fleet.change(1, **change)
    first, second = look(reader)
    assert second["health"] == flag
    assert first["health"] == 0


def test_a_critical_xid_stays_and_an_applications_does_not_condemn(fleet, reader):
    look(reader)
    fleet.change(0, xids=[31])
    assert look(reader)[0] | {"xid": 31, "health": 0} == look(reader)[0]
    fleet.change(0, xids=[31, 79])
    first, second = look(reader)
    assert (first["xid"], first["health"]) == (79, Health.XID)
    assert (second["xid"], second["health"]) == (0, 0)
    fleet.change(0, xids=[31, 79, 31])
    assert look(reader)[0]["health"] == Health.XID


@pytest.mark.parametrize("how", [1, 2])
def test_a_lost_card_is_still_listed_and_hides_no_other(fleet, reader, how):
    cards = reader.read(no_lease).cards
    fleet.change(0, lost=how)
    first, second = look(reader)
    assert first["health"] & Health.LOST
    assert first["utilisation_percent"] is None
    assert second["temperature_c"] == 35
    assert reader.read(no_lease).cards == cards


def test_a_lost_card_comes_back_after_a_reset(fleet, reader, clock):
    look(reader)
    fleet.change(0, lost=2)
    look(reader)
    fleet.change(0, lost=0)
    clock.now += REINIT_SECONDS
    look(reader)
    assert look(reader)[0]["health"] == 0


OTHER = "GPU-00000000-0000-4000-8000-000000000002"


def wait(reader, clock, seconds):
    """As the agent waits: it looks all the time."""
    for _ in range(0, int(seconds), 10):
        clock.now += 10
        reader.read(no_lease)


@pytest.mark.parametrize("how", ["taken out", "lost 1", "lost 2", "driver gone"])
def test_only_a_card_that_is_in_the_host_no_more_is_forgotten(fleet, reader, clock, how):
    """A driver that counts a card it can't read has a broken one: its owner must see that."""
    fleet.change(1, uuid=OTHER)
    first, _ = reader.read(no_lease).cards
    if how == "taken out":
        fleet.write(cards=fleet.value["cards"][1:])
    elif how == "driver gone":
        fleet.write(init_error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    else:
        fleet.change(0, lost=int(how[-1]))
    wait(reader, clock, FORGOTTEN_AFTER_SECONDS - 20)
    assert [each.uuid for each in reader.read(no_lease).cards] == [first.uuid, OTHER]
    wait(reader, clock, 100)
    expected = {OTHER} if how == "taken out" else {first.uuid, OTHER}
    snapshot = reader.read(no_lease)
    assert ({each.uuid for each in snapshot.cards}, len(snapshot.samples)) == (expected, len(expected))


def test_a_card_that_was_forgotten_and_one_that_was_only_away_are_found_again(fleet, reader, clock):
    first, second = reader.read(no_lease).cards
    scripted = fleet.value["cards"]
    for seconds in (FORGOTTEN_AFTER_SECONDS // 2, 2 * FORGOTTEN_AFTER_SECONDS):
        fleet.write(cards=scripted[:1])
        wait(reader, clock, seconds)
        fleet.write(cards=scripted)
        wait(reader, clock, 20)
        assert {each.uuid for each in reader.read(no_lease).cards} == {first.uuid, second.uuid}
        assert look(reader)[1]["health"] == 0


def test_a_driver_that_goes_and_comes_is_found_again_once_a_minute(fleet, reader, clock):
    cards = reader.read(no_lease).cards
    fleet.write(init_error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
    gone = reader.read(no_lease)
    assert gone.cards == cards
    assert gone.error == "Driver Not Loaded"
    fleet.write(init_error=0)
    clock.now += REINIT_SECONDS - 1
    assert reader.read(no_lease).error
    clock.now += 1
    back = reader.read(no_lease)
    assert back.error is None
    assert look(reader)[0]["temperature_c"] == 35


def test_a_host_without_a_driver_has_no_cards_and_says_why(fleet, reader):
    fleet.write(init_error=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    snapshot = reader.read(no_lease)
    assert snapshot.cards == []
    assert "mismatch" in snapshot.error.lower()


def test_a_half_written_fleet_leaves_the_last_one(fleet, reader):
    before = look(reader)
    fleet.path.write_text('{"cards": [')
    assert look(reader) == before


def test_an_owner_who_comes_is_a_change_and_a_warmer_card_is_none(fleet, reader):
    before = reader.read(no_lease)
    fleet.change(0, temperature=60, utilisation=80)
    assert not reader.read(no_lease).differs(before)
    fleet.change(0, processes=[{"pid": 1, "mib": 5}])
    assert reader.read(no_lease).differs(before)


class Hanging:
    def __init__(self, reader):
        self.reader = reader
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self, is_lease_pid):
        self.may_answer.wait(10)
        return self.reader.read(is_lease_pid)

    def close(self):
        self.reader.close()


def test_a_driver_that_hangs_is_told_and_recovers(reader):
    hanging = Hanging(reader)
    guard = StallGuard(hanging, patience_seconds=0.2)
    while not guard.read(no_lease).cards:
        pass
    hanging.may_answer.clear()
    stalled = guard.read(no_lease)
    assert [sample[CARD_FIELDS.index("health")] for sample in stalled.samples] == [Health.NVML_STALLED] * 2
    assert stalled.cards
    hanging.may_answer.set()
    guard._thread.join(5)
    assert guard.read(no_lease).samples[0][CARD_FIELDS.index("health")] == 0


def test_a_reading_that_raises_is_told_as_stalled_and_recovers(fleet, reader, caplog):
    guard = StallGuard(reader)
    assert len(guard.read(no_lease).cards) == 2
    fleet.change(0, processes=[{"pid": 4, "mib": 100}])

    def broken(_pid):
        raise RuntimeError("out of threads")

    stalled = guard.read(broken)
    assert [sample[CARD_FIELDS.index("health")] for sample in stalled.samples] == [Health.NVML_STALLED] * 2
    assert "out of threads" in caplog.text
    assert guard.read(no_lease).samples[0][CARD_FIELDS.index("health")] == 0


def test_an_empty_snapshot_knows_no_memory():
    assert Snapshot().memory_used_mib("GPU-x") is None
