"""The zoo: every spoof is seen, and no honest card of the catalogue is accused."""

from __future__ import annotations

import dataclasses

import pytest

from nodes.passports.comparison import differences
from nodes.passports.findings import Severity
from tests.nodes.passports.bodies import MODELS, row_from
from tests.nodes.passports.zoo import SPOOFS, factory_card, judged, measured, row_for

HONEST = [
    (slug, quirk)
    for number, (slug, facts) in enumerate(MODELS.items())
    if facts.vendor == "NVIDIA" and facts.pci_device_ids and facts.memory_sizes_mib and facts.compute_capability
    for quirk in (number, number + 7)
]


def test_every_spoof_is_seen(tmp_path, tell):
    missed = []
    for number, spoof in enumerate(SPOOFS):
        (body,) = measured(tmp_path / str(number), [spoof.scripted()])
        found, grade = judged(row_for(spoof), body)
        if spoof.expected not in {each.code.value for each in found} or grade in {"F0", "F1"}:
            missed.append((spoof.name, grade, [each.code.value for each in found]))
    tell(f"the zoo: {len(SPOOFS) - len(missed)} of {len(SPOOFS)} spoofs detected")
    assert not missed and len(SPOOFS) >= 25


def test_no_honest_card_is_accused(tmp_path, tell):
    accused = []
    for number, (slug, quirk) in enumerate(HONEST):
        (body,) = measured(tmp_path / str(number), [factory_card(slug, quirk)])
        found, grade = judged(row_from(MODELS[slug]), body)
        grave = [each for each in found if each.severity is not Severity.NOTE]
        is_cmp = slug.startswith("cmp-") and {each.code.value for each in grave} == {"mining_sku"}
        if not is_cmp and (grave or grade != "F1"):
            accused.append((slug, quirk, grade, [each.json() for each in grave]))
    models = len({slug for slug, _ in HONEST})
    tell(f"honest cards: {len(accused)} false alarms on {len(HONEST)} cards of {models} models")
    assert not accused and len(HONEST) >= 100


SWAPS = {
    "another card of the same model": {"uuid": "GPU-another"},
    "a clone of the UUID on another board": {"pci_subsystem": "1462:5110"},
    "a clone with another VBIOS": {"vbios": "95.02.18.00.77"},
    "half of the memory": {"memory_total_mib": 12282},
    "a cheaper model with its UUID": {"pci_device": "10de:2685"},
    "a serial that was not there": {"serial": "1650522003820"},
}
WORSE = {
    "a slower chip": {"gflops": 190_000},
    "bad cells": {"bad_pages": 2},
    "an Xid in the soak": {"soak_xids": [79]},
}


@pytest.mark.parametrize("swap", [*SWAPS, *WORSE])
def test_a_card_that_was_swapped_after_the_sale_is_seen(tmp_path, swap):
    sold = factory_card("rtx-4090")
    came = dataclasses.replace(sold, **SWAPS.get(swap, {}))
    came = dataclasses.replace(came, hardware=sold.hardware | WORSE.get(swap, {}))
    (seller,), (buyer,) = measured(tmp_path / "a", [sold]), measured(tmp_path / "b", [came])
    found = differences(seller, buyer)
    assert found
    assert any(each.is_identity for each in found) is (swap in SWAPS)


def test_the_same_card_on_another_host_is_the_same(tmp_path):
    sold = factory_card("rtx-4090")
    there = dataclasses.replace(sold, pci_bus="00000000:81:00.0", bar1_total_mib=32768)
    there = dataclasses.replace(there, hardware=sold.hardware | {"slot_width": 8})
    (seller,), (buyer,) = measured(tmp_path / "a", [sold]), measured(tmp_path / "b", [there])
    assert differences(seller, buyer) == ()


def test_a_host_without_a_runtime_or_without_files_only_declares(tmp_path):
    for number, hidden in enumerate((["cuda"], ["pci"], ["driver"])):
        card = factory_card("rtx-4090")
        card = dataclasses.replace(card, hardware=card.hardware | {"hidden": hidden})
        (body,) = measured(tmp_path / str(number), [card])
        found, grade = judged(row_from(MODELS["rtx-4090"]), body)
        assert (grade, [each.code.value for each in found]) == ("FX", ["view_missing"])
    assert body["tests"]["gemm"]["samples"]
