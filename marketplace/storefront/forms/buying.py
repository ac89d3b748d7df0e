"""Searching offers and ordering hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from listings.offers import Offer
from listings.search import OfferFilters
from listings.states import TIERS
from marketplace.orders.serializers import COUNT_MAX, SSH_KEY
from marketplace.orders.workloads import IMAGE, IMAGE_WRONG
from marketplace.storefront.forms.base import PageForm, PriceField
from marketplace.storefront.names import gpu_names

HOUR = 3600
DURATION_UNITS = (("60", "minutes"), ("3600", "hours"), ("86400", "days"))
SORTS = (
    ("price", "Cheapest first"),
    ("-price", "Dearest first"),
    ("-memory_mib", "Most memory first"),
    ("-count", "Most GPUs first"),
    ("-reliability", "Most reliable first"),
)


def currency_choices() -> list[tuple[str, str]]:
    """The currencies of this Fallow."""
    return [(code, code) for code in settings.CURRENCIES]


class OfferSearchForm(PageForm):
    """The filters; every one is optional, and the URL says them all."""

    hides_optional = True  # every field is

    gpu = forms.MultipleChoiceField(label="GPU", required=False, widget=forms.CheckboxSelectMultiple)
    count = forms.IntegerField(label="GPUs on one node", required=False, min_value=1, max_value=COUNT_MAX)
    memory_gib = forms.IntegerField(label="Memory per GPU, at least (GiB)", required=False, min_value=0, max_value=4096)
    hours = forms.IntegerField(label="For how many hours", required=False, min_value=1, max_value=2160)
    price = PriceField(label="At most, per GPU-hour", required=False)
    region = forms.MultipleChoiceField(label="Region", required=False, widget=forms.CheckboxSelectMultiple)
    tier = forms.ChoiceField(
        label="Proof",
        required=False,
        choices=[("", "Any"), ("measured", "Measured or attested"), ("attested", "Attested")],
    )
    kept = forms.IntegerField(label="Leases kept, at least (%)", required=False, min_value=0, max_value=100)
    currency = forms.ChoiceField(label="Currency", required=False, choices=currency_choices)
    sort = forms.ChoiceField(label="Order", required=False, choices=SORTS)

    def __init__(self, data: Any, offers: list[Offer]) -> None:
        super().__init__(data, auto_id="filter_%s")
        gpus = {offer.gpu: offer.gpu_name for offer in offers}
        regions = {offer.region: offer.region for offer in offers}
        for name, known in (("gpu", gpus), ("region", regions)):
            for chosen in data.getlist(name):
                known.setdefault(chosen, gpu_names([chosen]) if name == "gpu" else chosen)
            field = self.fields[name]
            assert isinstance(field, forms.MultipleChoiceField)
            field.choices = [(value, known[value]) for value in sorted(known, key=lambda each: known[each])]
            field.scrolls = len(known) > 6  # type: ignore[attr-defined]  # read by our template

    def filters(self, *, exclude_firm_pk: int | None) -> OfferFilters:
        """What the search takes."""
        values = self.cleaned_data
        hours = values.get("hours")
        return OfferFilters(
            currency=values.get("currency") or settings.CURRENCIES[0],
            gpu=tuple(values.get("gpu") or ()),
            memory_mib_min=(values.get("memory_gib") or 0) * 1024,
            count=values.get("count") or 1,
            region=tuple(values.get("region") or ()),
            duration_seconds=hours * HOUR if hours else None,
            price_micros_max=values.get("price"),
            tier=values.get("tier") or TIERS[0],
            reliability_basis_points_min=(values.get("kept") or 0) * 100,
            exclude_firm_pk=exclude_firm_pk,
        )


class DurationMixin(forms.Form):
    """A number and a unit that together are seconds."""

    duration = forms.IntegerField(label="For how long", min_value=1, max_value=200_000)
    duration_unit = forms.ChoiceField(label="Unit", choices=DURATION_UNITS, initial="3600")

    def duration_seconds(self) -> int:
        """The duration that was asked for."""
        return int(self.cleaned_data["duration"]) * int(self.cleaned_data["duration_unit"])


class OrderForm(DurationMixin, PageForm):
    """What to run, for how long, on how many cards."""

    count = forms.IntegerField(label="GPUs", min_value=1, max_value=COUNT_MAX, initial=1)
    image = forms.CharField(
        label="Container image",
        max_length=300,
        validators=[RegexValidator(IMAGE, f"{IMAGE_WRONG.capitalize()}.")],
    )
    ssh_public_key = forms.CharField(
        label="Your SSH public key",
        max_length=2300,
        validators=[RegexValidator(SSH_KEY, "Paste one line that begins with ssh-ed25519, ssh-rsa or ecdsa-sha2.")],
        widget=forms.Textarea(attrs={"rows": 3, "class": "textarea mono", "spellcheck": "false"}),
        help_text="The one line of a file such as ~/.ssh/id_ed25519.pub.",
    )
    ports = forms.CharField(
        label="Ports to open",
        required=False,
        max_length=80,
        help_text="Numbers with commas between, such as 8888.",
    )
    disk_gib = forms.IntegerField(label="Disk (GiB)", min_value=1, max_value=4096, initial=10)

    field_order: Sequence[str] = ("count", "duration", "duration_unit")

    def clean_ports(self) -> list[int]:
        numbers = [each.strip() for each in self.cleaned_data["ports"].split(",") if each.strip()]
        if any(not each.isdecimal() or not 1 <= int(each) <= 65535 for each in numbers) or len(numbers) > 10:
            raise ValidationError("Give at most ten port numbers from 1 to 65535.")
        return [int(each) for each in numbers]

    def workload(self) -> dict[str, Any]:
        """What the node will run."""
        names = ("image", "ports", "disk_gib", "ssh_public_key")
        return {"env": {}} | {name: self.cleaned_data[name] for name in names}


class StandingOrderForm(OrderForm):
    """An order that waits in the book until something matches it."""

    gpu = forms.CharField(max_length=80, widget=forms.HiddenInput)
    price = PriceField(label="At most, per GPU-hour")
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)

    field_order = ("gpu", "price", "currency", "count", "duration", "duration_unit")
