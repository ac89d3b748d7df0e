"""Which model a card is: tables of real and rebuilt cards, and properties over the whole catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalogue.factsheet import FACTS, read_aliases, read_models
from marketplace.catalogue.recognition import (
    SLUG_LENGTH_MAX,
    Confidence,
    FactoryModel,
    Kind,
    Reason,
    match_card,
    unlisted_slug,
)
from nodes.agent.protocol import CardIdentity

FACTSHEET = {model.slug: model for model in read_models((FACTS / "gpus.csv").read_text())}
ALIASES = read_aliases((FACTS / "aliases.csv").read_text(), FACTSHEET)


@dataclass(frozen=True)
class Card:
    name: str
    memory_total_mib: int
    pci_device_id: str | None = None


def factory_models() -> list[FactoryModel]:
    return [
        facts.factory_model(each.alias for each in ALIASES if each.kind == "nvml" and each.slug == facts.slug)
        for facts in FACTSHEET.values()
    ]


MODELS = factory_models()


@pytest.mark.parametrize(
    ("card", "slug"),
    [
        (Card("NVIDIA GeForce RTX 4090", 24564, "10de:2684"), "rtx-4090"),
        (Card("NVIDIA GeForce RTX 4090 D", 24564, "10de:2685"), "rtx-4090-d"),
        (Card("NVIDIA GeForce RTX 2060", 6144, "10de:1f08"), "rtx-2060"),
        (Card("NVIDIA GeForce RTX 2060", 12288, "10de:1f03"), "rtx-2060-12gb"),
        (Card("NVIDIA GeForce RTX 3080", 10240, "10de:2206"), "rtx-3080-10gb"),
        (Card("NVIDIA GeForce RTX 3080", 12288, "10de:220a"), "rtx-3080-12gb"),
        (Card("NVIDIA GeForce RTX 3060", 12288, "10de:2504"), "rtx-3060-12gb"),
        (Card("NVIDIA GeForce RTX 3060", 8192, "10de:2504"), "rtx-3060-8gb"),
        (Card("NVIDIA GeForce RTX 5060 Ti", 8151, "10de:2d04"), "rtx-5060-ti-8gb"),
        (Card("NVIDIA GeForce RTX 5060 Ti", 16311, "10de:2d04"), "rtx-5060-ti-16gb"),
        (Card("NVIDIA A100-SXM4-40GB", 40960, "10de:20b0"), "a100-sxm4-40gb"),
        (Card("NVIDIA A100-SXM4-80GB", 81920, "10de:20b2"), "a100-sxm4-80gb"),
        (Card("A100-PCIE-40GB", 40536, "10DE:20F1"), "a100-pcie-40gb"),
        (Card("NVIDIA A100 80GB PCIe", 81920, "10de:20b5"), "a100-pcie-80gb"),
        (Card("NVIDIA RTX A6000", 49140, "10de:2230"), "rtx-a6000"),
        (Card("NVIDIA RTX A6000", 46068, "10de:2230"), "rtx-a6000"),  # ECC on
        (Card("Quadro RTX 8000", 48601, "10de:1e30"), "quadro-rtx-8000"),
        (Card("Tesla T4", 15109, "10de:1eb8"), "t4"),  # ECC on, an older driver
        (Card("NVIDIA H100 NVL", 95830, "10de:2321"), "h100-nvl-94gb"),
        (Card("NVIDIA H200", 143771, "10de:2335"), "h200-sxm-141gb"),
        (Card("NVIDIA B200", 183359, "10de:2901"), "b200-sxm6-180gb"),
        (Card("NVIDIA GH200 120GB", 97871, "10de:2342"), "gh200-96gb"),
        (Card("GeForce RTX 3090", 24268, "10de:2204"), "rtx-3090"),  # a driver of 2021
        (Card("NVIDIA A16", 15356, "10de:25b6"), "a16"),  # shares its id with the A2
    ],
)
def test_it_knows_factory_cards_by_id_name_and_memory(card: Card, slug: str) -> None:
    found = match_card(card, MODELS)
    assert (found.slug, found.kind, found.confidence, found.reasons) == (slug, Kind.FACTORY, Confidence.CERTAIN, ())


@pytest.mark.parametrize(
    ("card", "base"),
    [
        (Card("NVIDIA GeForce RTX 4090 D", 49140, "10de:2685"), "rtx-4090-d"),
        (Card("NVIDIA GeForce RTX 4090", 49140, "10de:2684"), "rtx-4090"),
        (Card("NVIDIA GeForce RTX 2080 Ti", 22528, "10de:1e07"), "rtx-2080-ti"),
        (Card("NVIDIA GeForce RTX 3080", 20480, "10de:2206"), "rtx-3080-10gb"),
        (Card("NVIDIA GeForce RTX 3070", 16384, "10de:2484"), "rtx-3070"),
        (Card("NVIDIA GeForce RTX 4080 SUPER", 32760, "10de:2702"), "rtx-4080-super"),
        (Card("NVIDIA GeForce RTX 2060", 12288, "10de:1f08"), "rtx-2060"),  # not the factory's 12 GB one
        (Card("NVIDIA GeForce RTX 5060 Ti", 32623, "10de:2d04"), "rtx-5060-ti-16gb"),
    ],
)
def test_more_memory_than_any_factory_variant_makes_a_modified_card_of_its_base(card: Card, base: str) -> None:
    found = match_card(card, MODELS)
    assert (found.slug, found.kind) == (base, Kind.MODIFIED)
    assert Reason.MEMORY_ABOVE_FACTORY in found.reasons


def test_less_memory_than_any_factory_variant_is_modified_too_and_says_so() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 4090", 20470, "10de:2684"), MODELS)
    assert (found.slug, found.kind, found.reasons) == ("rtx-4090", Kind.MODIFIED, (Reason.MEMORY_BELOW_FACTORY,))


def test_a_48_gb_card_with_the_id_of_a_4090_is_not_passed_off_as_an_a6000() -> None:
    found = match_card(Card("NVIDIA RTX A6000", 49140, "10de:2684"), MODELS)
    assert (found.slug, found.kind, found.confidence) == ("rtx-4090", Kind.MODIFIED, Confidence.DOUBTFUL)
    assert Reason.NAME_CONTRADICTS_PCI_ID in found.reasons


def test_a_name_that_contradicts_the_id_is_reported_and_the_id_believed() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 4090", 24564, "10de:2685"), MODELS)
    assert (found.slug, found.confidence, found.reasons) == (
        "rtx-4090-d",
        Confidence.DOUBTFUL,
        (Reason.NAME_CONTRADICTS_PCI_ID,),
    )


def test_a_name_that_is_not_listed_leaves_the_id_to_speak() -> None:
    found = match_card(Card("NVIDIA Graphics Device", 24564, "10de:2684"), MODELS)
    assert (found.slug, found.kind, found.confidence) == ("rtx-4090", Kind.FACTORY, Confidence.LIKELY)


def test_without_an_id_the_name_and_the_memory_are_likely() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 3080", 12288), MODELS)
    assert (found.slug, found.confidence, found.reasons) == (
        "rtx-3080-12gb",
        Confidence.LIKELY,
        (Reason.PCI_ID_MISSING,),
    )


def test_without_an_id_two_models_of_one_size_are_a_doubt() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 3060 Ti", 8192), MODELS)
    assert (found.slug, found.confidence) == ("rtx-3060-ti", Confidence.DOUBTFUL)
    assert Reason.SEVERAL_MODELS_POSSIBLE in found.reasons


def test_an_unknown_id_makes_a_known_name_doubtful() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 4090", 24564, "10de:ffff"), MODELS)
    assert (found.slug, found.kind, found.confidence) == ("rtx-4090", Kind.FACTORY, Confidence.DOUBTFUL)
    assert found.reasons == (Reason.PCI_ID_NOT_LISTED,)


def test_an_unknown_id_and_a_wrong_size_are_not_passed_off_as_the_name() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 4090", 1024, "10de:0dc4"), MODELS)
    assert (found.slug, found.kind) == ("unlisted-nvidia-geforce-rtx-4090-1gb", Kind.UNLISTED)


def test_an_unknown_card_is_unlisted_with_a_slug_of_its_name_and_memory() -> None:
    found = match_card(Card("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, "10de:2757"), MODELS)
    assert (found.slug, found.kind) == ("unlisted-nvidia-geforce-rtx-4090-laptop-gpu-16gb", Kind.UNLISTED)
    assert found.reasons == (Reason.PCI_ID_NOT_LISTED, Reason.NAME_NOT_LISTED)


def test_a_malformed_id_is_reported() -> None:
    found = match_card(Card("Tesla T4", 15360, "0x1EB810DE"), MODELS)
    assert (found.slug, found.confidence, found.reasons) == ("t4", Confidence.DOUBTFUL, (Reason.PCI_ID_MALFORMED,))


def test_memory_that_the_driver_does_not_tell_is_reported() -> None:
    found = match_card(Card("NVIDIA GB10", 0, "10de:2e12"), MODELS)
    assert (found.slug, found.kind, found.reasons) == ("gb10-spark", Kind.FACTORY, (Reason.MEMORY_NOT_MEASURED,))


def test_a_model_whose_size_nobody_published_is_recognised_and_says_so() -> None:
    found = match_card(Card("NVIDIA H20 NVL16", 98304, "10de:230c"), MODELS)
    assert (found.slug, found.kind, found.reasons) == ("h20-nvl16", Kind.FACTORY, (Reason.MEMORY_NOT_KNOWN,))


def test_it_takes_the_identity_that_the_agent_sends() -> None:
    identity = CardIdentity(uuid="GPU-1", name="NVIDIA A10", index=0, memory_total_mib=23028, pci_device_id="10de:2236")
    assert match_card(identity, MODELS).slug == "a10"


def test_every_factory_card_is_recognised_at_every_total_that_was_seen() -> None:
    for facts in FACTSHEET.values():
        for total in (*facts.nvml_totals_mib, *facts.memory_sizes_mib):
            for pci_device_id in facts.pci_device_ids:
                found = match_card(Card(facts.name, total, pci_device_id), MODELS)
                assert (found.slug, found.kind) == (facts.slug, Kind.FACTORY)
                assert found.confidence is Confidence.CERTAIN


@given(model=st.sampled_from(MODELS), total=st.integers(1, 2**20), data=st.data())
def test_no_memory_size_turns_a_card_into_another_model(model: FactoryModel, total: int, data: st.DataObject) -> None:
    pci_device_id = data.draw(st.sampled_from([*sorted(model.pci_device_ids), None]))
    found = match_card(Card(model.names[0], total, pci_device_id), MODELS)
    twins = {each.slug: each for each in MODELS if model.names[0] in each.names}
    assert found.slug in twins
    sizes = twins[found.slug].memory_sizes_mib
    fits = any(0.92 <= total / size <= 1.005 for size in sizes)
    near_seen = any(abs(total - seen) <= 64 for seen in twins[found.slug].nvml_totals_mib)
    assert (found.kind is Kind.FACTORY) == (fits or near_seen or not sizes)


@given(
    name=st.one_of(st.text(max_size=200), st.sampled_from([model.names[0] for model in MODELS])),
    total=st.integers(-(2**40), 2**40),
    pci_device_id=st.one_of(st.none(), st.text(max_size=20), st.from_regex(r"10de:[0-9a-f]{4}", fullmatch=True)),
)
def test_whatever_a_host_says_the_answer_is_a_known_slug_or_an_unlisted_one(
    name: str, total: int, pci_device_id: str | None
) -> None:
    found = match_card(Card(name, total, pci_device_id), MODELS)
    assert found.slug in FACTSHEET or found.slug.startswith("unlisted-")
    assert (found.kind is Kind.UNLISTED) == (found.slug not in FACTSHEET)


@given(name=st.text(max_size=300), total=st.integers(-10, 2**60))
def test_an_unlisted_slug_is_short_and_url_safe(name: str, total: int) -> None:
    slug = unlisted_slug(name, total)
    assert len(slug) <= SLUG_LENGTH_MAX
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.endswith("-")


def test_a_name_without_any_letter_still_has_a_slug() -> None:
    assert unlisted_slug("显卡", 0) == "unlisted-unknown"
