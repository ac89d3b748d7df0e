"""Selling and buying cards, and what is said about a sale."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import RegexValidator

from listings.cards.models import CardListing
from listings.cards.photos import BYTES_MAX
from listings.cards.serializers import CARD_TICK_MICROS, DAYS_MAX, RENT_DAYS_MAX
from listings.cards.services import CardTerms
from listings.cards.states import AppearanceGrade, Flag, FunctionGrade, PhotoKind
from marketplace.accounts.models import Firm
from marketplace.sales.models import Sale
from marketplace.sales.serializers import ADDRESS_MAX
from marketplace.sales.services.bidding import COUNT_MAX, BidRequest, Take
from marketplace.sales.states import Route, Ruling
from marketplace.storefront.forms.accounts import country_choices
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.forms.selling import card_label
from marketplace.storefront.wording import amount
from nodes.models import Card

COUNTRY_LIST = RegexValidator(r"^[A-Za-z]{2}([ ,]+[A-Za-z]{2})*$", "Two-letter codes, such as DE, FR.")
PHOTO_HELP = f"JPEG, PNG or WebP, at most {BYTES_MAX // 1024 // 1024} MiB. Where it was taken is removed."
LOOKS = [
    (AppearanceGrade.PREMIUM, "Premium: no signs of use"),
    (AppearanceGrade.EXCELLENT, "Excellent: none from 20 cm"),
    (AppearanceGrade.GOOD, "Good: none from 50 cm"),
    (AppearanceGrade.FAIR, "Fair: scratches or dents"),
]
ROUTES = [("", "As usual for such a card"), *Route.choices]


class CardPriceField(AmountField):
    """A card's price, in steps of 0.01."""

    def __init__(self, **options: Any) -> None:
        super().__init__(tick_micros=CARD_TICK_MICROS, **options)


class CostField(CardPriceField):
    """What something costs; it may cost nothing."""

    def clean(self, value: Any) -> Any:
        text = (value or "").strip()
        return 0 if text and not text.strip("0.") else super().clean(value)


class CardListingForm(PageForm):
    """A card, or a lot of like ones, with its price and how it ships."""

    cards = forms.MultipleChoiceField(label="Cards", widget=forms.CheckboxSelectMultiple)
    ask = CardPriceField(
        label="Your price per card",
        widget=forms.TextInput(attrs={"data-earnings": "earnings", "aria-describedby": "earnings"}),
    )
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)
    appearance_grade = forms.ChoiceField(label="How they look", choices=LOOKS, initial="good")
    flags = forms.MultipleChoiceField(
        label="What a buyer must know", required=False, choices=Flag.choices, widget=forms.CheckboxSelectMultiple
    )
    warranty_days = forms.IntegerField(label="Your warranty (days)", min_value=0, max_value=DAYS_MAX, initial=0)
    ships_from = forms.ChoiceField(label="Ships from", choices=country_choices)
    shipping = CostField(label="Shipping within the country, per card")
    shipping_abroad = CostField(
        label="Shipping abroad, per card", required=False, help_text="Leave it empty to sell within the country only."
    )
    ships_to = forms.CharField(
        label="Only to these countries", required=False, validators=[COUNTRY_LIST],
        help_text="Codes such as DE, FR. Empty: wherever the rules allow.",
    )  # fmt: skip
    rent_counts_days = forms.IntegerField(
        label="Try, then buy: rent of so many last days counts", min_value=0, max_value=RENT_DAYS_MAX, initial=0,
        help_text="What a buyer paid for hours of this very card is taken off its price. 0: it is not.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, firm: Firm, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        cards = Card.objects.filter(firm=firm, node__isnull=False).select_related("gpu_model", "node")
        ordered = list(cards.order_by("node__name", "index"))
        chosen = self.fields["cards"]
        assert isinstance(chosen, forms.MultipleChoiceField)
        chosen.choices = [(card.public_id, card_label(card)) for card in ordered]
        chosen.scrolls = len(ordered) > 6  # type: ignore[attr-defined]  # read by our template

    def terms(self) -> CardTerms:
        """What the service takes."""
        values = self.cleaned_data
        return CardTerms(
            cards=tuple(values["cards"]),
            ask_micros=values["ask"],
            currency=values["currency"],
            appearance_grade=values["appearance_grade"],
            flags=tuple(values["flags"]),
            warranty_days=values["warranty_days"],
            ships_from=values["ships_from"],
            ships_to=tuple(values["ships_to"].upper().replace(",", " ").split()),
            shipping_micros=values["shipping"] or 0,
            shipping_abroad_micros=values["shipping_abroad"],
            rent_counts_days=values["rent_counts_days"],
        )


def reachable(listing: CardListing) -> set[str]:
    """The countries that it ships to; none stands for wherever the rules allow."""
    if listing.shipping_abroad_micros is None:
        return {listing.ships_from}
    return set(listing.ships_to)


class PhotoForm(PageForm):
    """One photo of a listing."""

    kind = forms.ChoiceField(label="What it shows", choices=PhotoKind.choices)
    file = forms.FileField(
        label="Photo",
        help_text=PHOTO_HELP,
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
    )


class BuyForm(PageForm):
    """Take cards of a listing; only countries that it ships to can be chosen."""

    hides_optional = True  # the only optional field has an answer that is chosen already

    count = forms.IntegerField(label="Cards", min_value=1, max_value=COUNT_MAX, initial=1)
    ships_to = forms.ChoiceField(label="Ships to", choices=country_choices)
    address = forms.CharField(label="Address", max_length=ADDRESS_MAX, widget=forms.Textarea(attrs={"rows": 3}))
    route = forms.ChoiceField(
        label="Route", required=False, choices=ROUTES, help_text="Usual: straight to you; modified memory by a lab."
    )

    def __init__(
        self, data: Any = None, *, listing: CardListing | None = None, left: int = 1, initial: Any = None
    ) -> None:
        super().__init__(data, initial=initial)
        self.fields["count"].help_text = f"{left} can be bought now." if left != 1 else ""
        self.fields["count"].widget.attrs["max"] = max(left, 1)
        field, open_to = self.fields["ships_to"], reachable(listing) if listing else set()
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(code, name) for code, name in country_choices() if not code or not open_to or code in open_to]

    def take(self, listing: str, most_micros: int | None = None) -> Take:
        """What the service takes."""
        values = self.cleaned_data
        return Take(
            listing=listing,
            count=values["count"],
            ships_to=values["ships_to"],
            address=values["address"],
            route=values["route"],
            most_micros=most_micros,
        )


class BidForm(PageForm):
    """Wait in the book for cards of a kind; the price is all in."""

    limit = CardPriceField(label="At most, per card, with shipping and tax")
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)
    memory_mib = forms.TypedChoiceField(label="Memory", coerce=int)
    grade_min = forms.ChoiceField(label="At least", choices=FunctionGrade.choices, initial="F2")
    count = forms.IntegerField(label="Cards", min_value=1, max_value=COUNT_MAX, initial=1)
    ships_to = forms.ChoiceField(label="Ships to", choices=country_choices)
    address = forms.CharField(label="Address", max_length=ADDRESS_MAX, widget=forms.Textarea(attrs={"rows": 3}))

    def __init__(self, data: Any = None, *, memories: list[tuple[int, str]], initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial, prefix="bid")
        field = self.fields["memory_mib"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = memories

    def request(self, gpu: str) -> BidRequest:
        """What the service takes."""
        values = self.cleaned_data
        return BidRequest(
            gpu=gpu,
            memory_mib=values["memory_mib"],
            grade_min=values["grade_min"],
            currency=values["currency"],
            limit_micros=values["limit"],
            count=values["count"],
            ships_to=values["ships_to"],
            address=values["address"],
        )


class ShipForm(PageForm):
    """How a parcel travels."""

    carrier = forms.CharField(label="Carrier", max_length=40)
    tracking = forms.CharField(label="The carrier's number of the parcel", max_length=60)
    file = forms.FileField(
        label="Photo of the label",
        help_text=PHOTO_HELP,
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
    )


class EvidenceForm(PageForm):
    """A message, a photo or both."""

    text = forms.CharField(label="Message", required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3}))
    file = forms.FileField(
        label="Photo",
        required=False,
        help_text=PHOTO_HELP,
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"}),
    )

    def clean(self) -> dict[str, Any]:
        """One of both is needed."""
        values = super().clean() or {}
        if not self.errors and not values.get("text") and not values.get("file"):
            self.add_error("text", "Write something or choose a photo.")
        return values


class AddressQuestionForm(PageForm):
    """Why nothing can be shipped to the buyer's address."""

    reason = forms.CharField(label="What is wrong with it", max_length=ADDRESS_MAX)


class AddressForm(PageForm):
    """The address, corrected or as it was."""

    address = forms.CharField(label="Address", max_length=ADDRESS_MAX, widget=forms.Textarea(attrs={"rows": 3}))


class DisputeForm(PageForm):
    """Why it is not what was sold."""

    text = forms.CharField(label="What is wrong", max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))


class RulingForm(PageForm):
    """What an operator decides."""

    hides_optional = True  # the one that is says when it is needed

    ruling = forms.ChoiceField(label="Ruling", choices=Ruling.choices, widget=forms.RadioSelect)
    refund = AmountField(label="Only for a split: the buyer gets back", required=False, tick_micros=CARD_TICK_MICROS)
    text = forms.CharField(
        label="Why", max_length=2000, widget=forms.Textarea(attrs={"rows": 3}), help_text="Both sides read it."
    )

    def __init__(self, data: Any = None, *, sale: Sale) -> None:
        super().__init__(data)
        self.sale = sale
        self.fields["refund"].help_text = f"Of {amount(sale.price.total_micros)} {sale.currency}."

    def clean(self) -> dict[str, Any]:
        """A split, and only that, says what the buyer gets back."""
        values = super().clean() or {}
        refund, is_split = values.get("refund"), values.get("ruling") == Ruling.SPLIT
        if is_split and "refund" not in self.errors and (not refund or refund >= self.sale.price.total_micros):
            self.add_error("refund", f"Give a part of {amount(self.sale.price.total_micros)} {self.sale.currency}.")
        if refund and not is_split and "ruling" in values:
            self.add_error("refund", "Leave it empty: only a split has parts.")
        return values
