"""Findings against the rows of the catalogue: each lie is seen, an honest quirk is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.passports.findings import Code, Finding, Severity, findings, function_grade, tier
from tests.nodes.passports.bodies import changed, honest_body, row_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def codes(body, slug="rtx-4090"):
    return {each.code.value for each in findings(row_of(slug), body)}


def grade(body, slug="rtx-4090"):
    return function_grade(findings(row_of(slug), body), body)


def test_a_factory_card_without_a_serial_has_no_finding():
    body = honest_body()
    assert findings(row_of("rtx-4090"), body) == ()
    assert (grade(body), tier(body)) == ("F1", "measured")
    assert grade(changed(body, "role", "lab")) == "F0"


LIES = [
    ("views.nvml.memory_total_mib", 49140, "memory_modified"),
    ("views.cuda.memory_total_mib", 12000, "views_disagree"),
    ("tests.memory_truth.mismatched_pages", 3_000_000, "memory_overstated"),
    ("tests.memory_truth.mismatched_pages", 3, "memory_errors"),
    ("views.nvml.name", "NVIDIA GeForce RTX 4090 D", "sku_relabelled"),
    ("views.nvml.pci_device_id", "10de:2685", "sku_relabelled"),
    ("views.pci.pci_device_id", "10de:2685", "views_disagree"),
    ("views.pci.pci_device_id", "10de:1f0b", "mining_sku"),
    ("views.cuda.compute_capability", "8.6", "sku_relabelled"),
    ("views.nvml.mig_enabled", True, "virtualised"),
    ("views.nvml.virtualisation_mode", 1, "virtualised"),
    ("views.nvml.virtualisation_mode", 2, "virtualised"),
    ("views.pci.is_virtual_function", True, "virtualised"),
    ("host.hypervisor", True, "virtualised"),
    ("views.nvml.name", "GRID RTX6000-12Q", "virtualised"),
    ("views.driver.uuid", "GPU-00000000-0000-4000-8000-000000000002", "views_disagree"),
    ("views.driver.vbios", "94.02.42.00.01", "views_disagree"),
    ("views.driver.name", "NVIDIA GeForce RTX 3090", "views_disagree"),
    ("agent.simulated", True, "simulated"),
    ("tests.gemm.samples", [0] * 16, "wrong_result"),
    ("tests.gemm.product_sha256", "cd" * 32, "wrong_result"),
    ("nonce", "00" * 32, "wrong_result"),
    ("tests.gemm.gflops", 900_000, "rate_impossible"),
    ("tests.gemm.gflops", 150_000, "compute_slow"),
    ("tests.copy_bandwidth.device_mb_s", 3_000_000, "rate_impossible"),
    ("tests.copy_bandwidth.device_mb_s", 700_000, "bandwidth_low"),
    ("tests.pcie_link.width_under_load", 8, "link_narrow"),
    ("tests.pcie_link.generation_under_load", 1, "link_narrow"),
    ("tests.pcie_link.replays", 12, "link_errors"),
    ("tests.soak.reasons", ["hw_thermal_slowdown"], "thermal"),
    ("tests.soak.wrong_results", 1, "wrong_result"),
    ("tests.soak.xids", [79], "xid"),
    ("health.remapped_rows", {"failed": True, "uncorrectable": 9}, "remap_failure"),
    ("health.remapped_rows", {"failed": False, "pending": True}, "remap_pending"),
    ("health.remapped_rows", {"failed": False, "uncorrectable": 2}, "rows_remapped"),
    ("health.retired_pages", 4, "pages_retired"),
    ("health.ecc_uncorrected", 4, "ecc_errors"),
    ("health.xids", [48], "xid"),
]


@pytest.mark.parametrize(("path", "value", "code"), LIES, ids=[f"{path}={value}" for path, value, _ in LIES])
def test_each_lie_and_each_fault_is_found(path, value, code):
    body = changed(honest_body(), path, value)
    assert code in codes(body)
    assert grade(body) not in {"F0", "F1"}


HONEST = [
    ("rtx-4090", "tests.pcie_link.width_slot", 8, {"tests.pcie_link.width_under_load": 8}),
    ("rtx-4090", "views.nvml.bar1_total_mib", 32768, {}),
    ("rtx-4090", "health.xids", [31, 43], {}),
    ("rtx-4090", "health.remapped_rows", {"correctable": 0, "uncorrectable": 0, "pending": False, "failed": False}, {}),
    ("rtx-4090", "tests.gemm.sm_clock_mhz", 1500, {"tests.gemm.gflops": 170_000}),
    ("rtx-a6000", "views.nvml.memory_total_mib", 46068, {"views.nvml.ecc_enabled": True,
     "views.cuda.memory_total_mib": 45600}),
    ("rtx-a6000", "views.nvml.ecc_enabled", False, {"views.nvml.ecc_default": False}),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "path", "value", "more"), HONEST, ids=[f"{each[0]} {each[1]}" for each in HONEST])
def test_an_honest_quirk_is_no_finding(slug, path, value, more):
    body = changed(honest_body(slug), path, value)
    for name, each in more.items():
        body = changed(body, name, each)
    assert {each.code for each in findings(row_of(slug), body)} <= {Code.VBIOS_UNUSUAL}


def test_49140_mib_is_honest_on_an_a6000_and_a_modification_on_a_4090_d():
    assert "memory_modified" not in codes(honest_body("rtx-a6000"), "rtx-a6000")
    body = changed(honest_body("rtx-4090-d"), "views.nvml.memory_total_mib", 49140)
    body = changed(body, "views.cuda.memory_total_mib", 48500)
    body = changed(body, "tests.memory_truth.covered_mib", 46500)
    assert codes(body, "rtx-4090-d") == {"memory_modified"}
    assert grade(body, "rtx-4090-d") == "F2"


def test_what_was_not_measured_has_no_grade():
    for path in ("views.cuda", "views.pci", "views.driver", "tests.soak", "tests.gemm"):
        body = changed(honest_body(), path, None)
        assert (tier(body), grade(body)) == ("declared", "FX")
    for path, value in (("tests.soak.elapsed_ms", 900), ("tests.memory_truth.covered_mib", 1024)):
        assert tier(changed(honest_body(), path, value)) == "declared"
    skipped = changed(honest_body(), "tests.soak", {"skipped": "no CUDA runtime"})
    assert (tier(skipped), grade(skipped)) == ("declared", "FX")


def test_a_mining_card_that_is_sold_as_one_is_disclosed_and_no_lie():
    body = honest_body("cmp-40hx")
    (found,) = [each for each in findings(row_of("cmp-40hx"), body) if each.code is Code.MINING_SKU]
    assert found.severity is Severity.LIMIT


def test_ecc_that_its_owner_switched_off_is_said():
    body = changed(changed(honest_body("rtx-a6000"), "views.nvml.ecc_enabled", False), "views.nvml.ecc_default", True)
    assert "ecc_off" in codes(body, "rtx-a6000")


@given(JSON)
def test_whatever_a_host_writes_nothing_raises(value):
    body = value if isinstance(value, dict) else {"views": value, "tests": value, "health": value, "agent": value}
    found = findings(row_of("rtx-4090"), body)
    assert function_grade(found, body) in {"F3", "FX"}


@given(st.sampled_from([path for path, _, _ in LIES]), JSON)
def test_whatever_one_value_is_nothing_raises(path, value):
    body = changed(honest_body(), path, value)
    assert function_grade(findings(row_of("rtx-4090"), body), body) in {"F0", "F1", "F2", "F3", "FX"}


@given(JSON, st.sampled_from(["clock_late_mhz", "clock_early_mhz", "temperature_max_c"]), JSON)
def test_whatever_two_values_of_a_soak_are_nothing_raises(reasons, name, value):
    body = changed(changed(honest_body(), "tests.soak.reasons", reasons), "tests.soak.clock_late_mhz", 1000)
    body = changed(body, f"tests.soak.{name}", value)
    assert function_grade(findings(row_of("rtx-4090"), body), body) in {"F1", "F2", "FX"}


UNSAID = [
    "views.nvml.pci_device_id",
    "views.driver.uuid",
    "views.pci.pci_device_id",
    "views.cuda.uuid",
    "views.cuda.memory_total_mib",
    "tests.memory_truth.mismatched_pages",
    "tests.copy_bandwidth.device_mb_s",
    "tests.gemm.gflops",
    "tests.soak.wrong_results",
]


@pytest.mark.parametrize("path", UNSAID)
def test_a_source_or_a_test_that_leaves_its_number_out_has_not_spoken(path):
    body = changed(honest_body(), path, None)
    assert (tier(body), grade(body)) == ("declared", "FX")


def test_a_log_that_nobody_could_read_is_no_proof_and_no_accusation():
    body = changed(honest_body(), "health.xids", None)
    (found,) = findings(row_of("rtx-4090"), body)
    assert (found.code, found.severity, found.evidence) == (Code.VIEW_MISSING, Severity.NOTE, {"view": "kernel_log"})
    assert grade(body) == "F1"


def test_a_view_of_empty_words_and_tests_without_numbers_are_no_measurement():
    body = honest_body()
    for view in ("driver", "pci", "cuda"):
        body = changed(body, f"views.{view}", {"a": "b"})
    assert tier(body) == "declared"
    body = honest_body()
    for test in set(body["tests"]) - {"pcie_link"}:
        assert tier(changed(body, f"tests.{test}", {"a": 1})) == "declared"


@pytest.mark.parametrize(
    ("path", "value"), [("tests.gemm.gflops", -1), ("tests.copy_bandwidth.device_mb_s", 0), ("tests.gemm.gflops", 0)]
)
def test_a_rate_of_nothing_is_a_fault(path, value):
    assert grade(changed(honest_body(), path, value)) == "F3"


@given(st.lists(st.sampled_from(Severity)), st.booleans(), st.booleans())
def test_the_grade_is_what_the_table_says(severities, is_measured, is_lab):
    body = honest_body(role="lab" if is_lab else "seller")
    if not is_measured:
        body = changed(body, "tests.gemm", None)
    found = [Finding(Code.THERMAL, each) for each in severities]
    if Severity.DISQUALIFYING in severities:
        expected = "FX"
    elif Severity.FAULT in severities:
        expected = "F3"
    elif not is_measured:
        expected = "FX"
    elif Severity.LIMIT in severities:
        expected = "F2"
    else:
        expected = "F0" if is_lab else "F1"
    assert function_grade(found, body) == expected


REAL = json.loads(Path(__file__).with_name("h200_in_a_guest.json").read_text())


def test_of_a_real_h200_in_a_guest_nothing_is_found_but_the_guest():
    """What the agent read and measured on a real card, a guest's by passthrough; its UUID and serial are changed."""
    row = row_of("h200-sxm-141gb")
    assert [(each.code, each.evidence["signs"]) for each in findings(row, REAL)] == [
        (Code.VIRTUALISED, ["hypervisor", "virtualisation_mode"])
    ]
    on_its_own = changed(changed(REAL, "views.nvml.virtualisation_mode", 0), "host.hypervisor", False)
    assert findings(row, on_its_own) == ()
    assert tier(on_its_own) == "measured"
