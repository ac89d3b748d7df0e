"""Classes of the export rules, against the limits written out and against the catalogue that ships."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketplace.catalogue.factsheet import FACTS, read_models
from marketplace.compliance.items import Basis, Item, ItemClass, classify, is_eccn, memory_gib, near_a_limit

MODELS = {model.slug: model for model in read_models((FACTS / "gpus.csv").read_text())}


def item(slug: str = "", **facts: object) -> Item:
    """A card of the catalogue, or one of the figures alone."""
    model = MODELS.get(slug)
    made = Item(
        slug=slug,
        tpp=model.tpp if model else 1000,
        performance_density=model.performance_density if model else Decimal(1),
        designed_for_datacentre=model.designed_for_datacentre if model else False,
        vendor_eccn="",
        is_borderline="BORDERLINE" in model.source if model else False,
        is_modified=False,
        as_rebuilt_for_datacentre=False,
    )
    return replace(made, **facts)


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("h100-sxm5-80gb", "a_dc"),
        ("l40s", "a_dc"),
        ("rtx-4090", "a_ndc"),
        ("rtx-6000-ada", "a_ndc"),
        ("l40", "b"),
        ("rtx-3090", "p"),
        ("t4", "p"),
        ("rtx-4090-d", "unknown"),
        ("a100-sxm4-80gb", "unknown"),
        ("a40", "unknown"),
        ("h20-sxm5-96gb", "unknown"),
    ],
)
def test_cards_that_everybody_knows(slug: str, expected: str) -> None:
    assert classify(item(slug)).item_class == expected


def test_the_48_gb_4090_d_of_the_story_waits_for_a_person_until_its_sku_is_cleared() -> None:
    card = item("rtx-4090-d", is_modified=True, memory_gib=memory_gib(49_140))
    assert card.sku == ("rtx-4090-d", 48, True)
    assert classify(card).item_class is ItemClass.UNKNOWN
    cleared = classify(replace(card, as_rebuilt_for_datacentre=True), cleared_as=ItemClass.P)
    assert (cleared.item_class, cleared.basis) == (ItemClass.P, Basis.CLEARANCE)


def test_a_card_rebuilt_for_datacentres_is_unknown_whatever_its_maker_said() -> None:
    rebuilt = item("rtx-4090", as_rebuilt_for_datacentre=True, vendor_eccn="4A090.a")
    assert classify(rebuilt).item_class is ItemClass.UNKNOWN


def test_the_makers_word_leads_for_a_card_as_it_left_the_factory_and_only_for_that() -> None:
    borderline = item("a100-sxm4-80gb", vendor_eccn="4A090.a")
    assert classify(borderline).basis is Basis.VENDOR
    assert classify(borderline).item_class is ItemClass.A_DC
    assert classify(replace(borderline, is_modified=True)).item_class is ItemClass.UNKNOWN


@pytest.mark.parametrize(
    ("eccn", "for_datacentre", "expected"),
    [
        ("3A090.a", True, "a_dc"),
        ("4A090.a", False, "a_ndc"),
        ("4A090.a.1", True, "a_dc"),
        ("4A090.a", None, "unknown"),
        ("4A090.b", True, "b"),
        ("3A090.c", True, "unknown"),
        ("3A991.p", False, "p"),
        ("4A994.l", False, "p"),
        ("4A994.b", False, "none"),
        ("5A992.c", False, "none"),
        ("5A992.z", True, "unknown"),
        ("5A002.z", True, "unknown"),
        ("EAR99", False, "none"),
        ("9A610.x", False, "unknown"),
        ("as the seller says", False, "unknown"),
    ],
)
def test_what_an_eccn_says(eccn: str, for_datacentre: bool | None, expected: str) -> None:
    found = classify(item(vendor_eccn=eccn, designed_for_datacentre=for_datacentre))
    assert (found.item_class, found.basis) == (expected, Basis.VENDOR)
    assert is_eccn(eccn) is (eccn != "as the seller says")


@pytest.mark.parametrize(
    ("slug", "factory", "expected"),
    [
        ("rtx-4090", "a_ndc", "unknown"),  # for datacentres it would be a_dc
        ("rtx-4080-super", "p", "unknown"),
        ("rtx-2080-ti", "p", "p"),  # slow enough to be of one class wherever it stands
        ("rtx-3070", "p", "p"),
        ("h100-sxm5-80gb", "a_dc", "a_dc"),
    ],
)
def test_changed_memory_waits_where_a_rebuild_for_datacentres_is_of_another_class(
    slug: str, factory: str, expected: str
) -> None:
    """Whether a seller ticks "rebuilt" is his own choice; a third party's 48 GB board is seldom made for a desk."""
    assert (classify(item(slug)).item_class, classify(item(slug, is_modified=True)).item_class) == (factory, expected)


@pytest.mark.parametrize("missing", [{"tpp": None}, {"designed_for_datacentre": None}])
def test_what_nobody_has_said_is_unknown(missing: dict[str, None]) -> None:
    assert classify(item(**missing)).item_class is ItemClass.UNKNOWN


def test_a_density_is_needed_only_where_it_decides() -> None:
    dense = {"designed_for_datacentre": True, "performance_density": None}
    assert classify(item(tpp=2000, **dense)).item_class is ItemClass.UNKNOWN
    assert classify(item(tpp=9000, **dense)).item_class is ItemClass.A_DC
    assert classify(item(tpp=500, **dense)).item_class is ItemClass.P
    assert classify(item(tpp=50, **dense)).item_class is ItemClass.NONE


def test_every_borderline_line_of_the_catalogue_is_unknown_until_somebody_says() -> None:
    borderline = [slug for slug, model in MODELS.items() if "BORDERLINE" in model.source]
    assert len(borderline) >= 20
    assert {classify(item(slug)).item_class for slug in borderline} == {ItemClass.UNKNOWN}


def test_the_catalogue_flags_what_our_own_figures_call_close() -> None:
    close = {slug for slug in MODELS if near_a_limit(item(slug))}
    assert close <= {slug for slug, model in MODELS.items() if "BORDERLINE" in model.source}


FIGURES = st.integers(1, 30_000)
DENSITIES = st.decimals(Decimal("0.1"), Decimal(20), places=3)


@given(tpp=FIGURES, density=DENSITIES, for_datacentre=st.booleans())
def test_computed_classes_follow_the_limits_as_they_are_written(
    tpp: int, density: Decimal, for_datacentre: bool
) -> None:
    card = item(tpp=tpp, performance_density=density, designed_for_datacentre=for_datacentre)
    assume(not near_a_limit(card))
    is_a = tpp >= 4800 or (for_datacentre and tpp >= 1600 and density >= Decimal("5.92"))
    is_b = for_datacentre and (
        (2400 <= tpp < 4800 and Decimal("1.6") <= density < Decimal("5.92"))
        or (tpp >= 1600 and Decimal("3.2") <= density < Decimal("5.92"))
    )
    slower = "b" if is_b else "p" if tpp >= 64 else "none"
    expected = slower if not is_a else "a_dc" if for_datacentre else "a_ndc"
    assert classify(card).item_class == expected


@given(limit=st.sampled_from([1600, 2400, 4800]), percent=st.integers(-3, 3))
def test_three_percent_around_a_limit_belongs_to_a_person(limit: int, percent: int) -> None:
    close = item(tpp=limit * (100 + percent) // 100, designed_for_datacentre=True, performance_density=Decimal(9))
    assert classify(close).item_class is ItemClass.UNKNOWN
