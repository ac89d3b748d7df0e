"""Searching the cards that are for sale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import Q

from listings.cards.states import FUNCTION_GRADES, FunctionGrade, is_as_good
from marketplace.storefront.forms.accounts import countries
from marketplace.storefront.forms.base import PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.forms.cards import CardPriceField

MIB_PER_GIB = 1024
COLUMNS = {"gpu": "gpu_model__slug__in", "price": "ask_micros__lte", "currency": "currency"}
GRADES = [("", "Any"), *((grade.value, f"{grade.value} or better") for grade in FunctionGrade if grade != "FX")]


class CardSearchForm(PageForm):
    """The filters; every one is optional, and the URL says them all."""

    hides_optional = True  # every field is

    gpu = forms.MultipleChoiceField(label="GPU", required=False, widget=forms.CheckboxSelectMultiple)
    memory_gib = forms.IntegerField(label="Memory, at least (GiB)", required=False, min_value=0, max_value=4096)
    price = CardPriceField(label="At most, without shipping", required=False)
    currency = forms.ChoiceField(label="Currency", required=False)
    grade = forms.ChoiceField(label="Works", required=False, choices=GRADES)
    ships_to = forms.ChoiceField(label="Ships to", required=False)
    factory = forms.BooleanField(label="Only with the memory of the factory", required=False)

    def __init__(self, data: Any, models: Iterable[tuple[str, str]]) -> None:
        super().__init__(data, auto_id="filter_%s")
        self._choose("gpu", list(models))
        self._choose("currency", [("", "Any"), *currency_choices()])
        self._choose("ships_to", [("", "Any country"), *countries()])

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def condition(self) -> Q:
        """What a listing must be."""
        values = self.cleaned_data
        wanted = Q()
        for name, column in COLUMNS.items():
            if values.get(name):
                wanted &= Q(**{column: values[name]})
        if values.get("memory_gib"):
            wanted &= Q(memory_mib__gte=values["memory_gib"] * MIB_PER_GIB)
        if values.get("grade"):
            wanted &= Q(function_grade__in=[grade for grade in FUNCTION_GRADES if is_as_good(grade, values["grade"])])
        if values.get("factory"):
            wanted &= Q(is_modified=False)
        if country := values.get("ships_to"):
            everywhere = Q(shipping_abroad_micros__isnull=False) | Q(ships_from=country)
            wanted &= everywhere & (Q(ships_to=[]) | Q(ships_to__contains=[country]))
        return wanted
