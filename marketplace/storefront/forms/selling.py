"""Listing hours and enrolling hosts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms

from listings.services import ListingTerms
from marketplace.accounts.models import Firm
from marketplace.storefront.forms.base import PageForm, PriceField
from marketplace.storefront.forms.buying import DURATION_UNITS, currency_choices
from marketplace.storefront.wording import memory
from nodes.models import Card

DAYS_MAX = 365


class ListingForm(PageForm):
    """Named cards or a whole model, a price and a window."""

    hides_optional = True  # one of cards and model is needed

    what = forms.ChoiceField(
        label="What you list",
        widget=forms.RadioSelect,
        initial="cards",
        choices=[("cards", "The cards chosen below"), ("pool", "Every card of one model, whichever is idle")],
    )
    cards = forms.MultipleChoiceField(label="Cards", required=False, widget=forms.CheckboxSelectMultiple)
    pool_gpu = forms.ChoiceField(label="Model", required=False)
    ask = PriceField(
        label="Your price per GPU-hour",
        widget=forms.TextInput(attrs={"data-earnings": "earnings", "aria-describedby": "earnings"}),
    )
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)
    days = forms.IntegerField(label="Listed for (days)", min_value=1, max_value=DAYS_MAX, initial=30)
    shortest = forms.IntegerField(label="Shortest lease", min_value=1, max_value=200_000, initial=1)
    shortest_unit = forms.ChoiceField(label="Unit of the shortest", choices=DURATION_UNITS, initial="3600")
    longest = forms.IntegerField(label="Longest lease", min_value=1, max_value=200_000, initial=7)
    longest_unit = forms.ChoiceField(label="Unit of the longest", choices=DURATION_UNITS, initial="86400")

    def __init__(self, data: Any = None, *, firm: Firm, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        cards = Card.objects.filter(firm=firm, node__isnull=False).select_related("gpu_model", "node")
        ordered = list(cards.order_by("node__name", "index"))
        chosen, pool = self.fields["cards"], self.fields["pool_gpu"]
        assert isinstance(chosen, forms.MultipleChoiceField) and isinstance(pool, forms.ChoiceField)
        chosen.choices = [(card.public_id, card_label(card)) for card in ordered]
        chosen.scrolls = len(ordered) > 6  # type: ignore[attr-defined]  # read by our template
        models = {card.gpu_model.slug: card.gpu_model.marketing_name for card in ordered}
        pool.choices = [("", "Choose a model"), *sorted(models.items(), key=lambda item: item[1])]

    def clean(self) -> dict[str, Any]:
        values = dict(super().clean() or self.cleaned_data)
        wants_pool = values.get("what") == "pool"
        if wants_pool and not values.get("pool_gpu"):
            self.add_error("pool_gpu", "Choose the model.")
        if not wants_pool and "cards" in values and not values["cards"]:
            self.add_error("cards", "Choose at least one card.")
        return values

    def terms(self, now: datetime) -> ListingTerms:
        """What the service takes."""
        values = self.cleaned_data
        is_pool = values["what"] == "pool"
        return ListingTerms(
            cards=() if is_pool else tuple(values["cards"]),
            pool_gpu=values["pool_gpu"] if is_pool else None,
            ask_micros_per_gpu_hour=values["ask"],
            currency=values["currency"],
            window_start_at=now,
            window_end_at=now + timedelta(days=values["days"]),
            duration_seconds_min=values["shortest"] * int(values["shortest_unit"]),
            duration_seconds_max=values["longest"] * int(values["longest_unit"]),
        )


def card_label(card: Card) -> str:
    """`H100 SXM5 80GB · 80 GiB · rack-3 #2`."""
    node = card.node.name if card.node else "no node"
    modified = " · modified" if card.is_modified else ""
    return f"{card.gpu_model.marketing_name} · {memory(card.memory_mib)}{modified} · {node} #{card.index}"


class TokenForm(PageForm):
    """A token with which hosts join the fleet."""

    name = forms.CharField(label="What it is for", max_length=80, initial="New hosts")
    uses = forms.IntegerField(label="For how many hosts", min_value=1, max_value=10_000, initial=1)
    hours = forms.IntegerField(label="Valid for (hours)", min_value=1, max_value=720, initial=24)
