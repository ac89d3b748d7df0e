"""What measuring does on a host: nobody is disturbed, time is bounded, and everything is given back."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os

import pynvml
import pytest
from nacl.signing import SigningKey

from nodes.agent import simulator
from nodes.agent.client import Unreachable
from nodes.agent.fleet import Fleet, ScriptedProcess, write_fleet
from nodes.agent.measure.command import SENDINGS, patiently
from nodes.agent.measure.cublas import opened
from nodes.agent.measure.cuda import CudaError
from nodes.agent.measure.document import Bench, body_of
from nodes.agent.measure.driver_api import RealCard
from nodes.agent.measure.kernel_log import kernel_xids
from nodes.agent.measure.libcuda import LibCuda
from nodes.agent.measure.probe import Probe
from nodes.agent.measure.simulated import SimulatedCard, SimulatedCuda, write_host
from nodes.agent.measure.suite import SOAK_SECONDS_QUICK, Suite
from tests.nodes.passports.zoo import CHALLENGE, factory_card

BUS = "0000:01:00.0"
CARD = factory_card("rtx-4090")


@pytest.fixture
def library(tmp_path):
    write_fleet(tmp_path / "fleet.json", Fleet(cards=[CARD]))
    library = simulator.install(tmp_path / "fleet.json")
    write_host(tmp_path / "host", library.fleet.cards, library.fleet.driver)
    pynvml.nvmlInit()
    yield library
    simulator.remove()


class Time:
    """A clock that a test moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class ScriptedDevice(SimulatedCard):
    """A device on which a second of work takes longer, or during whose work something happens."""

    def __init__(self, time, seconds_per_batch=1.0, happens=lambda: None):
        super().__init__(CARD, SOAK_SECONDS_QUICK)
        self.time, self.seconds, self.happens, self.batches = time, seconds_per_batch, happens, 0

    def work(self, seconds):
        self.batches += 1
        self.time.seconds += self.seconds
        self.happens()
        return 0

    def load(self):
        return {}


def suite_of(device, time):
    probe = Probe(pynvml.nvmlDeviceGetHandleByIndex(0))
    return Suite(device, probe, {}, b"n" * 32, True, clock=time)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 7.0, 500.0])
def test_a_slow_card_is_not_soaked_for_longer_than_a_fast_one(library, seconds):
    time = Time()
    device = ScriptedDevice(time, seconds)
    soak = suite_of(device, time).run()["soak"]
    assert time.seconds < SOAK_SECONDS_QUICK + seconds
    assert device.batches <= SOAK_SECONDS_QUICK
    assert soak["clock_early_mhz"] == soak["clock_late_mhz"] == 210


def on_the_card(tmp_path, *processes):
    card = dataclasses.replace(CARD, processes=list(processes))
    write_fleet(tmp_path / "fleet.json", Fleet(cards=[card]))
    pynvml.nvmlDeviceGetCount()


@pytest.mark.parametrize("kind", ["C", "M", "G"])
def test_somebody_who_begins_to_work_ends_the_tests(library, tmp_path, kind):
    time = Time()
    stranger = ScriptedProcess(pid=4711, kind=kind, mib=900)
    device = ScriptedDevice(time, happens=lambda: on_the_card(tmp_path, stranger))
    found = suite_of(device, time).run()
    assert "began to use" in found["soak"]["skipped"] and device.batches == 1
    assert found["gemm"]["gflops"]


def test_the_tests_own_process_is_nobody_else(library, tmp_path):
    on_the_card(tmp_path, ScriptedProcess(pid=os.getpid(), mib=20_000))
    time = Time()
    assert "skipped" not in suite_of(ScriptedDevice(time), time).run()["soak"]


class Unable(SimulatedCard):
    """A device that fails before the first test."""

    closed = 0

    def facts(self):
        raise CudaError("cuDeviceGetName failed with 999")

    def close(self):
        Unable.closed += 1


def test_a_device_that_fails_at_once_is_a_passport_that_says_so(library, tmp_path):
    class Runtime(SimulatedCuda):
        def open(self, uuid):
            return Unable(CARD, 60)

    bench = Bench(tmp_path / "host", "node_x", SigningKey.generate(), Runtime(lambda: [CARD]), is_quick=True)
    body = body_of(bench, CARD.uuid, CHALLENGE)
    assert body["views"]["cuda"] is None and Unable.closed == 1
    assert {each["skipped"] for each in body["tests"].values()} == {"cuDeviceGetName failed with 999"}


class FailingDriver(LibCuda):
    """A libcuda whose call of one name fails; what was called is written down."""

    def __init__(self, failing):
        self.failing, self.called = failing, []

    def tried(self, name, *arguments):
        self.called.append(name)
        return 999 if name == self.failing else 0


@pytest.mark.parametrize("failing", ["cuCtxSetCurrent", "cuModuleLoadData", "cuModuleGetFunction"])
def test_a_context_that_could_not_be_used_is_given_back(failing):
    driver = FailingDriver(failing)
    with pytest.raises(CudaError, match=failing):
        RealCard(driver, 0, "GPU-x")
    assert driver.called[-1] == "cuDevicePrimaryCtxRelease_v2"


def test_a_context_that_was_never_there_is_not_given_back():
    driver = FailingDriver("cuDevicePrimaryCtxRetain")
    with pytest.raises(CudaError):
        RealCard(driver, 0, "GPU-x")
    assert "cuDevicePrimaryCtxRelease_v2" not in driver.called


class NamingDriver(LibCuda):
    """A libcuda that knows its errors' names."""

    def __init__(self):
        self.name = ctypes.create_string_buffer(b"CUDA_ERROR_SYSTEM_NOT_READY")

    def tried(self, name, *arguments):
        if name != "cuGetErrorName":
            return 802
        ctypes.cast(arguments[1], ctypes.POINTER(ctypes.c_char_p))[0] = ctypes.addressof(self.name)
        return 0


def test_a_failed_call_is_told_with_the_name_of_its_error():
    with pytest.raises(CudaError, match="cuInit failed with 802 CUDA_ERROR_SYSTEM_NOT_READY"):
        NamingDriver()("cuInit", 0)
    with pytest.raises(CudaError, match=r"cuInit failed with 999$"):
        FailingDriver("cuInit")("cuInit", 0)


def test_cards_that_an_owners_shell_hides_are_measured(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with contextlib.suppress(CudaError):
        LibCuda()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


class Library:
    """A cuBLAS that works with this driver, or does not."""

    def __init__(self, code):
        self.code = code

    def cublasCreate_v2(self, handle):
        return self.code


def test_a_library_that_is_too_new_for_the_driver_leaves_the_next_one():
    too_new, works = Library(1), Library(0)
    assert opened([too_new, works])[0] is works
    with pytest.raises(CudaError, match="cublasCreate_v2 failed with 1"):
        opened([too_new])
    with pytest.raises(CudaError, match="pip install"):
        opened([])


def test_the_clock_of_a_product_is_the_one_it_mostly_ran_at(library, tmp_path):
    """A card whose power is capped clocks up and down; what it was at its best is not what it computed at."""

    class Capped(ScriptedDevice):
        def product(self, nonce, during):
            for clock in (2700, 2100, 2000, 2100, 2100):
                write_fleet(tmp_path / "fleet.json", Fleet(cards=[dataclasses.replace(CARD, sm_clock=clock)]))
                pynvml.nvmlDeviceGetCount()
                during()
            return {"gflops": 1}

    time = Time()
    assert suite_of(Capped(time), time).run()["gemm"]["sm_clock_mhz"] == 2100


def logged(xid, bus=BUS):
    return f"kernel: NVRM: Xid (PCI:{bus[:-2]}): {xid}, pid=1\n"


def test_xids_are_those_of_this_card_since_the_host_began(tmp_path):
    log = tmp_path / "var/log/kern.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        logged(79) + "kernel: Linux version 6.8.0 (buildd@lcy02)\n" + logged(31) + logged(48, "0000:02:00.0")
    )
    assert kernel_xids(tmp_path, BUS) == [31]
    assert kernel_xids(tmp_path, None) is None


def test_a_host_whose_log_can_not_be_read_says_so(tmp_path):
    assert kernel_xids(tmp_path, BUS) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text(f"4,1,2,-;{logged(94)}")
    assert kernel_xids(tmp_path, BUS) == [94]


def test_the_end_of_a_long_log_is_enough(tmp_path):
    log = tmp_path / "var/log/messages"
    log.parent.mkdir(parents=True)
    log.write_text("x" * 3_000_000 + "\n" + logged(119))
    assert kernel_xids(tmp_path, BUS) == [119]


class Line:
    """A link that is down for so many tries."""

    def __init__(self, failures):
        self.failures, self.waited = failures, []

    def send(self):
        if len(self.waited) < self.failures:
            raise Unreachable("no route")
        return "taken"

    def wait(self, seconds):
        self.waited.append(seconds)


def test_what_was_measured_waits_for_the_line_but_not_for_ever():
    line = Line(failures=SENDINGS - 1)
    assert patiently(line.send, wait=line.wait) == "taken"
    assert len(line.waited) == SENDINGS - 1 and sum(line.waited) < 600
    line = Line(failures=SENDINGS)
    with pytest.raises(Unreachable):
        patiently(line.send, wait=line.wait)
