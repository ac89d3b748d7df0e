"""The tests on a CUDA device. The cases marked gpu ask a real one; they skip by name where there is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pynvml
import pytest

from nodes.agent.measure.cublas import half_matrix, wheel_folders
from nodes.agent.measure.cuda import CudaError
from nodes.agent.measure.document import Bench, body_of, cards_of_host
from nodes.agent.measure.driver_api import PRODUCT_SECONDS, DriverApi
from nodes.agent.passport import Challenge, is_right_product, line_of
from nodes.passports.findings import Severity, findings
from tests.nodes.passports.bodies import MODELS, row_from
from tests.nodes.passports.zoo import KEY

NONCE = b"n" * 32


@pytest.fixture
def cuda():
    try:
        return DriverApi()
    except CudaError as error:
        pytest.skip(f"no CUDA device on this machine: {error}")


@pytest.fixture
def uuid():
    pynvml.nvmlInit()
    yield next(iter(cards_of_host()))
    pynvml.nvmlShutdown()


def test_the_matrices_of_the_card_are_those_of_the_market():
    side, signed = 64, {0: 0, 1: 1, 255: -1}
    for matrix in ("A", "B"):
        halves = struct.unpack(f"<{side * side}e", half_matrix(NONCE, matrix, side))
        lines = b"".join(line_of(NONCE, matrix, number, side) for number in range(side))
        assert list(halves) == [signed[each] for each in lines]


def test_libraries_from_wheels_of_cuda_12_and_13_are_found(tmp_path, monkeypatch):
    folders = [tmp_path / "nvidia" / "cublas" / "lib", tmp_path / "nvidia" / "cu13" / "lib"]
    for folder in folders:
        folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(folders) <= set(wheel_folders())


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_a_real_card_tells_the_truth(cuda, uuid):
    card = cuda.open(uuid)
    try:
        truth = card.memory_truth(NONCE, patterns=1)
        product = card.product(NONCE, lambda: None)
        assert truth["mismatched_pages"] == 0
        assert truth["covered_mib"] > card.facts()["memory_total_mib"] * 80 // 100
        assert is_right_product(NONCE, product["product_sha256"], product["side"], product["samples"])
        took = 2 * product["side"] ** 3 * product["repeats"] / (product["gflops"] * 1e9)
        assert took > PRODUCT_SECONDS / 2  # the rate is that of a busy card, not of a library that is being loaded
        assert card.copies(lambda: None)["device_mb_s"] > 0
        assert card.work(1.0) == 0
    finally:
        card.close()


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_the_passport_of_a_real_card_has_no_false_finding(cuda, uuid, tmp_path):
    challenge = Challenge("node_gpu", uuid, "seller", "", NONCE.hex(), 1, "", "", "")
    body = body_of(Bench(Path("/"), "node_gpu", KEY, cuda, is_quick=True), uuid, challenge)
    rows = [each for each in MODELS.values() if body["views"]["nvml"]["pci_device_id"] in each.pci_device_ids]
    assert rows
    found = [each for each in findings(row_from(rows[0]), body) if each.severity is not Severity.NOTE]
    assert not [each.code for each in found if each.code != "virtualised"]
