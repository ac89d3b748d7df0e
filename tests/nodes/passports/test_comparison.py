"""The same card again, another card, and the same card in worse health."""

from __future__ import annotations

import pytest

from nodes.passports.comparison import differences
from tests.nodes.passports.bodies import changed, honest_body

REMAPS = {"correctable": 0, "uncorrectable": 0, "pending": False, "failed": False}


def compared(path, value, slug="rtx-4090"):
    sold = changed(honest_body(slug), "views.cuda.sm_count", 128)
    buyer = changed(sold | {"role": "buyer"}, path, value)
    return {each.code: each.is_identity for each in differences(sold, buyer)}


def test_the_same_card_on_another_host_has_no_difference():
    buyer = honest_body(role="buyer")
    for path, value in (
        ("views.nvml.pci_bus_id", "0000:81:00.0"),
        ("views.nvml.bar1_total_mib", 32768),
        ("tests.pcie_link.width_under_load", 8),
        ("tests.gemm.sm_clock_mhz", 2500),
    ):
        buyer = changed(buyer, path, value)
    buyer = changed(buyer, "tests.gemm.gflops", buyer["tests"]["gemm"]["gflops"] * 25 // 26)
    assert differences(honest_body(), buyer) == ()


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("views.nvml.uuid", "GPU-0", "uuid"),
        ("views.nvml.pci_device_id", "10de:2685", "pci_device_id"),
        ("views.nvml.pci_subsystem_id", "1462:5110", "pci_subsystem_id"),
        ("views.nvml.vbios", "95.02.3c.00.99", "vbios"),
        ("views.nvml.serial", "1650522003820", "serial"),
        ("views.nvml.memory_total_mib", 49140, "memory_total_mib"),
        ("views.nvml.memory_total_mib", None, "memory_total_mib"),
        ("tests.gemm.gflops", 400_000, "gemm"),
        ("views.pci.pci_device_id", "10de:2685", "pci.pci_device_id"),
        ("views.pci.pci_subsystem_id", "1462:5110", "pci.pci_subsystem_id"),
        ("views.driver.uuid", "GPU-0", "driver.uuid"),
        ("views.driver.vbios", "94.02.42.00.01", "driver.vbios"),
        ("views.cuda.compute_capability", "8.6", "cuda.compute_capability"),
        ("views.cuda.memory_total_mib", 12000, "cuda.memory_total_mib"),
        ("views.cuda.sm_count", 114, "cuda.sm_count"),
    ],
)
def test_another_card_is_another_card(path, value, code):
    assert compared(path, value)[code] is True


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("tests.gemm.gflops", 200_000, "gemm"),
        ("tests.memory_truth.mismatched_pages", 2, "memory_truth"),
        ("health.remapped_rows", REMAPS | {"uncorrectable": 1}, "remapped_rows_uncorrectable"),
        ("health.remapped_rows", REMAPS | {"failed": True}, "remap_failed"),
        ("health.xids", [79], "xid"),
        ("health.retired_pages", 3, "retired_pages"),
        ("health.ecc_uncorrected", 3, "ecc_uncorrected"),
        ("tests.soak.wrong_results", 1, "soak"),
        ("tests.gemm.samples", [0] * 16, "arithmetic"),
        ("tests.copy_bandwidth.device_mb_s", 700_000, "copy_bandwidth"),
        ("tests.soak", {"skipped": "--quick"}, "not_measured"),
    ],
)
def test_the_same_card_in_worse_health_is_said_to_be_that(path, value, code):
    assert compared(path, value)[code] is False


def test_ecc_that_was_switched_between_the_two_is_no_other_card():
    seller = changed(honest_body("rtx-a6000"), "views.nvml.memory_total_mib", 49140)
    buyer = changed(changed(seller, "views.nvml.memory_total_mib", 46068), "views.nvml.ecc_enabled", True)
    assert differences(seller, buyer) == ()


def test_application_faults_of_the_buyers_own_are_not_the_cards():
    assert compared("health.xids", [13, 31]) == {}


def test_faults_that_were_sold_as_such_are_no_difference():
    sold = honest_body()
    for path, value in (
        ("health.retired_pages", 3),
        ("health.ecc_uncorrected", 3),
        ("health.xids", [79]),
        ("tests.soak.wrong_results", 4),
        ("tests.memory_truth.mismatched_pages", 2),
    ):
        sold = changed(sold, path, value)
    assert differences(sold, sold | {"role": "buyer"}) == ()
