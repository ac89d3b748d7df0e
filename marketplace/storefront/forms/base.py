"""How forms look: our templates around Django's fields."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.renderers import TemplatesSetting

from marketplace.common.money import PRICE_TICK_MICROS, format_micros, parse_micros

WIDGET_CLASSES: tuple[tuple[type[forms.Widget], str], ...] = (
    (forms.CheckboxSelectMultiple, "checkbox"),
    (forms.RadioSelect, "radio"),
    (forms.CheckboxInput, "checkbox"),
    (forms.Select, "select"),
    (forms.Textarea, "textarea"),
    (forms.widgets.Input, "input"),
)


class FallowRenderer(TemplatesSetting):
    """Renders forms and fields with the storefront's templates."""

    form_template_name = "storefront/forms/form.html"
    field_template_name = "storefront/forms/field.html"


class PageForm(forms.Form):
    """A form of ours."""

    default_renderer = FallowRenderer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            css = next((css for kind, css in WIDGET_CLASSES if isinstance(field.widget, kind)), "")
            field.widget.attrs.setdefault("class", css)


class AmountField(forms.CharField):
    """A decimal amount; its clean value is micros. Never a float."""

    def __init__(self, *, tick_micros: int = 1, **options: Any) -> None:
        self.tick_micros = tick_micros
        options.setdefault("max_length", 20)
        super().__init__(**options)
        self.widget.attrs.update({"inputmode": "decimal", "autocomplete": "off"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            micros = parse_micros(text)
        except ValueError as error:
            raise ValidationError("Give a decimal number, such as 0.40.", code="invalid") from error
        if micros <= 0:
            raise ValidationError("Give an amount above zero.", code="positive")
        if micros % self.tick_micros:
            raise ValidationError(f"Use steps of {format_micros(self.tick_micros, 3)}.", code="tick")
        return micros


class PriceField(AmountField):
    """A price per GPU-hour, in the market's tick."""

    def __init__(self, **options: Any) -> None:
        super().__init__(tick_micros=PRICE_TICK_MICROS, **options)
