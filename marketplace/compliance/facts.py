"""What the conditions of rows are compared with: from an inquiry, by the name of the fact. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from marketplace.common.countries import COUNTRIES
from marketplace.compliance.inquiry import Deal, Inquiry, Match

UNKNOWN = "unknown"
UNITED_STATES = "US"
Facts = dict[str, frozenset[str]]


def facts_of(
    inquiry: Inquiry, *, groups: Mapping[str, frozenset[str]] | None = None, toggles: Iterable[str] = ()
) -> Facts:
    """Every fact; `groups` are the day's country groups by name, `toggles` those that are on."""
    places = _places(inquiry)
    return {
        "deal": frozenset({inquiry.deal.value}),
        "stage": frozenset({inquiry.stage.value}),
        "toggle": frozenset(toggles),
        "intended_use_word": frozenset(re.findall(r"\w+", inquiry.intended_use.lower())),
        "any_region": frozenset(region.strip().upper() for region in inquiry.regions),
        "movement": _movement(inquiry),
        "item_class": frozenset({inquiry.classification.item_class.value} if inquiry.classification else ()),
        "document_on_file": frozenset(inquiry.documents_on_file),
        **_countries(places),
        **_groups(places, groups or {}),
        **_screening(inquiry),
    }


def country_of(text: str) -> str:
    """The country of a code such as `DE` or `DE-BE`; `unknown` where ISO 3166-1 has none, such as `UK`."""
    code = text.strip().upper().partition("-")[0]
    return code if code in COUNTRIES else UNKNOWN


def _places(inquiry: Inquiry) -> dict[str, frozenset[str]]:
    seller, lab = inquiry.seller, inquiry.lab
    return {
        "headquarters": frozenset({country_of(inquiry.headquarters_country)}),
        "parent": frozenset({country_of(inquiry.ultimate_parent_country)}),
        "destination": _one(inquiry.destination_country) | _one(inquiry.lab_country),
        "origin": _one(inquiry.origin_country),
        "seller": _one(seller.headquarters_country) | _one(seller.ultimate_parent_country) if seller else frozenset(),
        "lab": _one(lab.headquarters_country) | _one(lab.ultimate_parent_country) if lab else frozenset(),
    }


def _one(country: str | None) -> frozenset[str]:
    return frozenset() if country is None else frozenset({country_of(country)})


def _countries(places: Mapping[str, frozenset[str]]) -> Facts:
    return {
        "headquarters_country": places["headquarters"],
        "ultimate_parent_country": places["parent"],
        "destination_country": places["destination"],
        "origin_country": places["origin"],
        "any_country": frozenset().union(*places.values()),
    }


def _groups(places: Mapping[str, frozenset[str]], groups: Mapping[str, frozenset[str]]) -> Facts:
    """`control_group` is of whoever gets the card on its way: a headquarters counts wherever the card goes."""
    buyer = places["headquarters"] | places["parent"]
    wanted = {
        "buyer_group": buyer,
        "destination_group": places["destination"],
        "origin_group": places["origin"],
        "control_group": buyer | places["lab"] | places["destination"],
    }
    return {
        fact: frozenset(name for name, countries in groups.items() if countries & here) for fact, here in wanted.items()
    }


def _movement(inquiry: Inquiry) -> frozenset[str]:
    """Of every leg: to the lab and from there on, where there is one."""
    if inquiry.deal is not Deal.SALE:
        return frozenset()
    stops = [inquiry.origin_country, inquiry.lab_country, inquiry.destination_country]
    countries = [country_of(stop or "") for number, stop in enumerate(stops) if stop is not None or number != 1]
    return frozenset(_leg(*leg) for leg in pairwise(countries))


def _leg(origin: str, destination: str) -> str:
    if UNKNOWN in {origin, destination}:
        return UNKNOWN
    if origin == destination:
        return "in-country"
    return "export" if origin == UNITED_STATES else "reexport"


def _screening(inquiry: Inquiry) -> Facts:
    screening = inquiry.screening
    matches = screening.matches if screening else ()
    return {
        "screening_list": frozenset({screening.state.value} if screening else ()),
        "firm_listed_on": _lists(matches, role="firm", is_exact=True),
        "parent_listed_on": _lists(matches, role="parent", is_exact=True),
        "similar_name_on": _lists(matches, role="firm", is_exact=False)
        | _lists(matches, role="parent", is_exact=False),
    }


def _lists(matches: Iterable[Match], *, role: str, is_exact: bool) -> frozenset[str]:
    return frozenset(each.source for each in matches if each.role == role and each.is_exact is is_exact)
