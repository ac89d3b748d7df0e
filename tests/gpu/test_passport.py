"""The measuring of a bare machine, on scripted fleets: as a process that has the agent's packages alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nacl
import pynvml
import pytest

from nodes.agent.fleet import Fleet, write_fleet
from tests.nodes.passports.zoo import SPOOFS, factory_card

ROOT = Path(__file__).parents[2]
PACKAGES = Path(nacl.__file__).parents[1]


@pytest.fixture
def bare(tmp_path):
    """A folder with what `pip install --target` puts there, and a call of the script that sees nothing else."""
    for name in ("nacl", "pynvml.py", "_cffi_backend*", "cffi", "pycparser"):
        for each in PACKAGES.glob(name):
            (tmp_path / each.name).symlink_to(each)

    def call(*cards):
        write_fleet(tmp_path / "fleet.json", Fleet(cards=list(cards)))
        command = ["-m", "tests.gpu.passport", "--quick", "--fleet", "fleet.json", "--out", "out"]
        paths = f"{tmp_path}{os.pathsep}{ROOT}"
        return subprocess.run(
            [sys.executable, "-S", *command], cwd=tmp_path, env={"PYTHONPATH": paths}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    call.out = tmp_path / "out"
    return call


def test_a_well_card_is_measured_in_full(bare):
    card = factory_card("h100-sxm5-80gb")
    done = bare(card)
    assert (done.returncode, done.stderr) == (0, "")
    assert "h100-sxm5-80gb: measured, grade FX, 1 findings" in done.stdout  # it is simulated
    assert json.loads((bare.out / f"{card.uuid}.json").read_text())["tests"]["gemm"]["gflops"]


def test_what_is_found_and_what_did_not_run_are_told(bare):
    hidden = factory_card("rtx-4090", hardware={"hidden": ["cuda"]})
    done = bare(hidden)
    assert done.returncode == 1 and "gemm did not run: CUDA sees no such device" in done.stdout
    relabelled = next(each for each in SPOOFS if each.expected == "sku_relabelled").scripted()
    done = bare(relabelled)
    assert done.returncode == 1 and "disqualifying: sku_relabelled" in done.stdout


def test_a_machine_without_a_card_or_a_driver_says_so(bare):
    assert bare().returncode == 2
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has a driver")
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.passport"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "no driver" in done.stdout and "CUDA: no CUDA runtime" in done.stdout
