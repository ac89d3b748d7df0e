"""The same card again, another card, and the same card in worse health."""

from __future__ import annotations

import pytest

from nodes.passports.comparison import differences
from tests.nodes.passports.bodies import changed, honest_body

REMAPS = {"correctable": 0, "uncorrectable": 0, "pending": False, "failed": False}


def compared(path, value, slug="rtx-4090"):
    buyer = changed(honest_body(slug, role="buyer"), path, value)
    return {each.code: each.is_identity for each in differences(honest_body(slug), buyer)}


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
