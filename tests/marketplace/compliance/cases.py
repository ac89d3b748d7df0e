"""Inquiries for tests: a lease or a sale that is allowed until something is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from marketplace.compliance.inquiry import Deal, Inquiry, ListState, Match, Party, Screening, Stage
from marketplace.compliance.items import Basis, Classification, Item, ItemClass
from marketplace.compliance.rulefile import RULES_FILE, read_ruleset
from marketplace.compliance.rules import Decision, Ruleset, decide

SHIPPED = read_ruleset(RULES_FILE.read_text())
TODAY = date(2026, 11, 24)
CARD = Item("rtx-3090", 2280, Decimal("3.63"), False, "", False, False, False, 24)


def lease(**facts: Any) -> Inquiry:
    """A German firm leases."""
    plain = {"headquarters_country": "DE", "ultimate_parent_country": "DE", "intended_use": "training of models"}
    return Inquiry(deal=Deal.LEASE, **(plain | facts))


def sale(*, item_class: str = "p", **facts: Any) -> Inquiry:
    """A German firm buys a card from a Dutch one."""
    plain: dict[str, Any] = {
        "headquarters_country": "DE",
        "ultimate_parent_country": "DE",
        "intended_use": "training of models",
        "origin_country": "NL",
        "destination_country": "DE",
        "stage": Stage.ORDER,
        "seller": Party("firm_seller", "NL", "NL"),
        "item": CARD,
        "classification": Classification(ItemClass(item_class), Basis.COMPUTED, "for a test"),
        "screening": Screening(ListState.FRESH, "scr_1"),
    }
    return Inquiry(deal=Deal.SALE, **(plain | facts))


def match(source: str = "EL", *, role: str = "firm", is_exact: bool = True) -> Match:
    """The buyer's name, or his parent's, on a list."""
    score = 100 if is_exact else 91
    return Match("firm_buyer", role, "Grain Works", f"{source}-1", "d", source, "Grain Works Co", score, is_exact)


def screened(*matches: Match, state: ListState = ListState.FRESH) -> Screening:
    """What a list says."""
    return Screening(state, "scr_1", matches)


def with_toggle(name: str, ruleset: Ruleset = SHIPPED) -> Ruleset:
    """The table with a switch turned on, on every day."""
    turned = tuple(replace(each, values=frozenset({"on"})) if each.name == name else each for each in ruleset.toggles)
    return replace(ruleset, toggles=turned)


def shipped(inquiry: Inquiry, on: date = TODAY, ruleset: Ruleset = SHIPPED) -> Decision:
    """What the table that ships says."""
    return decide(inquiry, on=on, ruleset=ruleset)
