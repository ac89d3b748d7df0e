from __future__ import annotations

from pathlib import Path

import pytest

from nodes.agent.fleet import TRACE_PID, FleetError, FleetFile
from nodes.agent.gpu import MEMORY_USED, OWNER_PROCESSES
from nodes.agent.nvml import NvmlReader
from nodes.agent.traces import generate_trace, open_trace

RECORDED = Path(__file__).parents[4] / "shared/data/traces"


def test_a_generated_day_looks_like_an_idle_fleet():
    percents = [value for seed in range(40) for value in generate_trace(str(seed)).percent]
    assert 4 < sum(percents) / len(percents) < 15
    assert 0.55 < percents.count(0) / len(percents) < 0.9


def test_the_same_seed_is_the_same_day():
    assert generate_trace("a").percent == generate_trace("a").percent != generate_trace("b").percent


def test_a_recorded_column_is_played_and_starts_again_at_its_end(tmp_path):
    (tmp_path / "duty.csv").write_text("timestamp,container,value\n100,b,9\n100,a,5\n160,a,42.4\n")
    (tmp_path / "memory.csv").write_text(f"timestamp,container,value\n100,a,{700 * 2**20}\n")
    trace = open_trace(seed="", duty=str(tmp_path / "duty.csv"), memory=str(tmp_path / "memory.csv"))
    played = [trace.at(second) for second in (0, 59, 60, 119, 120)]
    assert played == [(5, 700), (5, 700), (42, 700), (42, 700), (5, 700)]


def test_a_trace_can_be_played_faster(tmp_path):
    (tmp_path / "duty.csv").write_text("0,a,5\n60,a,42\n")
    assert open_trace(seed="", duty=str(tmp_path / "duty.csv"), speed=60).at(1) == (42, 0)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded traces are not beside the repository")
def test_the_recorded_traces_can_be_read():
    files = {
        "duty": str(RECORDED / "gentd26_gpu_duty_percent.csv.gz"),
        "memory": str(RECORDED / "gentd26_gpu_memory_bytes.csv.gz"),
    }
    trace = open_trace(seed="", container=3, **files)
    assert len(trace.seconds) > 1000 and max(trace.memory_mib) > 1000


def test_a_trace_drives_utilisation_memory_and_the_owners_process(fleet, tmp_path):
    (tmp_path / "duty.csv").write_text("0,a,42\n")
    (tmp_path / "memory.csv").write_text(f"0,a,{2000 * 2**20}\n")
    fleet.change(0, trace={"duty": str(tmp_path / "duty.csv"), "memory": str(tmp_path / "memory.csv")})
    reader = NvmlReader()
    sample = reader.read(lambda pid: False).samples[0]
    reader.close()
    assert (sample[0], sample[MEMORY_USED], sample[OWNER_PROCESSES]) == (42, 2000, 1)


def test_a_trace_plays_on_when_the_script_changes(fleet, tmp_path):
    now = [0.0]
    (tmp_path / "duty.csv").write_text("0,a,0\n60,a,50\n")
    file = FleetFile(fleet.path, clock=lambda: now[0])
    fleet.change(0, trace={"duty": str(tmp_path / "duty.csv")})
    assert (file.fleet().cards[0].utilisation, file.fleet().cards[0].processes) == (0, [])
    now[0] = 61
    fleet.change(1, utilisation=7)
    first, second = file.fleet().cards
    assert (first.utilisation, [each.pid for each in first.processes], second.utilisation) == (50, [TRACE_PID], 7)


@pytest.mark.parametrize("trace", [{"duty": "/nonexistent.csv"}, {"volume": 3}], ids=["no such file", "no such key"])
def test_a_trace_that_can_not_be_opened_is_named(fleet, trace):
    fleet.change(0, trace=trace)
    with pytest.raises(FleetError, match="the trace of GPU-"):
        FleetFile(fleet.path).fleet()
