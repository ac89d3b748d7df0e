"""The facts files that ship, and what a malformed one is told."""

from __future__ import annotations

import csv
import io

import pytest

from marketplace.catalogue.factsheet import FACTS, FactsError, alias_key, read_aliases, read_models

GPUS = (FACTS / "gpus.csv").read_text()
ALIASES = (FACTS / "aliases.csv").read_text()
MODELS = {model.slug: model for model in read_models(GPUS)}


def changed(slug: str, /, **cells: str) -> str:
    """The facts file with some cells of one line replaced."""
    rows = list(csv.DictReader(io.StringIO(GPUS)))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(row | cells if row["slug"] == slug else row for row in rows)
    return text.getvalue()


def test_it_has_at_least_120_models_each_with_its_source() -> None:
    assert len(MODELS) >= 120
    assert all(model.source for model in MODELS.values())


def test_only_a_few_models_have_no_memory_and_no_pci_id() -> None:
    assert {slug for slug, model in MODELS.items() if not model.memory_sizes_mib} == {"h20-nvl16", "mi350p"}
    assert {slug for slug, model in MODELS.items() if not model.pci_device_ids} == {"mi60-32gb"}


def test_models_that_share_a_pci_id_and_a_name_differ_in_memory() -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for model in MODELS.values():
        for key in {(pci, model.name, size) for pci in model.pci_device_ids for size in model.memory_sizes_mib}:
            assert seen.setdefault(key, model.slug) == model.slug


def test_totals_that_nvml_reported_are_a_little_below_the_nominal_size() -> None:
    for model in MODELS.values():
        for total in model.nvml_totals_mib:
            assert any(0.92 <= total / size <= 1.005 for size in model.memory_sizes_mib), model.slug


def test_the_4090_and_the_4090_d_stand_on_both_sides_of_the_export_threshold() -> None:
    assert (MODELS["rtx-4090-d"].tpp or 0) < 4800 < (MODELS["rtx-4090"].tpp or 0)
    assert "BORDERLINE" in MODELS["rtx-4090-d"].source


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"pci_device_ids": "10de:26"}, "not PCI ids"),
        ({"pci_device_ids": "10DE:2684"}, "not PCI ids"),
        ({"pci_device_ids": "1002:2684"}, "not PCI ids of NVIDIA"),
        ({"tpp": "5400"}, "does not follow from the rates"),
        ({"slug": "RTX 4090"}, "not a slug"),
        ({"slug": "unlisted-4090"}, "not a slug"),
        ({"vendor": "Nvidia"}, "is none of"),
        ({"memory_mib": "-1"}, "not positive"),
        ({"memory_mib": "24 GB"}, "invalid literal"),
        ({"fp16_dense_tflops": "NaN"}, "line 33"),
        ({"mig_capable": "maybe"}, "is none of"),
        ({"source": " "}, "source is empty"),
        ({"slug": "rtx-4090-d"}, "repeated slug: rtx-4090-d"),
    ],
)
def test_it_refuses_a_malformed_model(cells: dict[str, str], message: str) -> None:
    with pytest.raises(FactsError, match=message):
        read_models(changed("rtx-4090", **cells))


def test_it_names_the_line_that_is_wrong() -> None:
    with pytest.raises(FactsError, match=r"^line 2: "):
        read_models(changed("rtx-2060", tdp_w="hot"))


def test_it_refuses_a_line_that_is_cut_off() -> None:
    with pytest.raises(FactsError, match=r"^line 155: "):
        read_models(GPUS + "rtx-9090,NVIDIA GeForce RTX 9090\n")


def test_the_cluster_names_of_the_traces_stand_for_one_model_each() -> None:
    clusters = [each for each in read_aliases(ALIASES, MODELS) if each.kind == "cluster"]
    names = [each.alias for each in clusters]
    assert len(names) == len(set(names))
    assert {"P100", "T4", "A10", "V100M16", "V100M32"} <= set(names)


def test_no_alias_is_shared_with_the_slug_of_an_unrelated_model() -> None:
    owner = {alias_key(slug): slug for slug in MODELS}
    for each in read_aliases(ALIASES, MODELS):
        slug = owner.get(alias_key(each.alias), each.slug)
        assert MODELS[slug].name == MODELS[each.slug].name, each


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4090,rtx-9090,buyer,x", "models that are not there: rtx-9090"),
        ("4090,rtx-4090,friend,x", "line 2: .*is none of"),
        ("--,rtx-4090,buyer,x", "needs a letter"),
        ("4090,rtx-4090,buyer,x\n40-90,rtx-4090,buyer,x", "repeated alias"),
    ],
)
def test_it_refuses_a_malformed_alias(line: str, message: str) -> None:
    with pytest.raises(FactsError, match=message):
        read_aliases(f"alias,slug,kind,source\n{line}\n", MODELS)
