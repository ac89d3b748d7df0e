"""The assumptions of the advisor; what is left empty stays as measured, found or usual."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from marketplace.common.money import MICROS, parse_micros
from marketplace.fleet.assumptions import BY_NAME, KINDS, Assumed, Kind, Unit, contradictions
from marketplace.storefront.forms.base import PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.wording import amount

FIRST = ("card_value", "monthly_decline", "rent_price", "rented_share", "energy_price", "horizon_months")
SCALES = {Unit.SHARE: 100, Unit.SIGNED_SHARE: 100, Unit.RATIO: 10_000}
UNITS = {Unit.SHARE: " %", Unit.SIGNED_SHARE: " %", Unit.WATTS: " W", Unit.MONTHS: " months"}


class ScaledField(forms.DecimalField):
    """Percent or a ratio; its clean value is in ten-thousandths."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.scale = SCALES[kind.unit]
        super().__init__(
            min_value=Decimal(kind.low) / self.scale,
            max_value=Decimal(kind.high) / self.scale,
            decimal_places=2,
            **options,
        )

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        return None if found is None else int(found * self.scale)


class MicrosField(forms.CharField):
    """An amount within the limits of an assumption; its clean value is micros."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.low, self.high = kind.low, kind.high
        super().__init__(max_length=20, **options)
        self.widget.attrs.update({"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            micros = parse_micros(text)
        except ValueError as error:
            raise ValidationError("Give a decimal number, such as 0.40.", code="invalid") from error
        if not self.low <= micros <= self.high:
            raise ValidationError(f"Give an amount up to {self.high // MICROS}.", code="range")
        return micros


class AssumptionsForm(PageForm):
    """Every assumption, with what stands in its place and why."""

    hides_optional = True  # every field is

    currency = forms.ChoiceField(label="Currency", required=False, choices=currency_choices)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="assume_%s")
        for kind in KINDS:
            self.fields[kind.name] = _field_of(kind)
            self.fields[kind.name].widget.attrs["class"] = "input"

    def clean(self) -> dict[str, Any]:
        values = dict(super().clean() or self.cleaned_data)
        given = {name: value for name, value in values.items() if name in BY_NAME and value is not None}
        for name, text in contradictions(given).items():
            self.add_error(name, f"{text[0].upper()}{text[1:]}.")
        return values

    def given(self) -> dict[str, int]:
        """What the seller assumes otherwise; what was not understood is left out."""
        self.is_valid()
        return {name: self.cleaned_data[name] for name in BY_NAME if self.cleaned_data.get(name) is not None}

    def show(self, assumed: Mapping[str, Assumed]) -> None:
        """Say in each field what holds without it."""
        for name, each in assumed.items():
            self.fields[name].widget.attrs["placeholder"] = value_text(each)
            self.fields[name].help_text = f"{value_text(each)}: {each.source}"

    def first_fields(self) -> list[forms.BoundField]:
        """What decides most."""
        return [self[name] for name in FIRST]

    def more_fields(self) -> list[forms.BoundField]:
        """The rest."""
        return [self[kind.name] for kind in KINDS if kind.name not in FIRST]


def value_text(assumed: Assumed) -> str:
    """A value as people write it, with its unit."""
    unit, value = assumed.kind.unit, assumed.value
    if value is None:
        return "unknown"
    if unit == Unit.MONEY:
        return amount(value)
    number = f"{(Decimal(value) / SCALES.get(unit, 1)).normalize():f}".replace("-", "\N{MINUS SIGN}")
    return number + UNITS.get(unit, "")


def _field_of(kind: Kind) -> forms.Field:
    if kind.unit == Unit.MONEY:
        return MicrosField(kind, label=f"{kind.label} ({kind.symbol})", required=False)
    unit = UNITS.get(kind.unit, "").strip()
    label = f"{kind.label} ({kind.symbol}{f', {unit}' if unit else ''})"
    if kind.unit in SCALES:
        return ScaledField(kind, label=label, required=False)
    return forms.IntegerField(label=label, required=False, min_value=kind.low, max_value=kind.high)
