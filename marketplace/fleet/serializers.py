"""Shapes of the advisor and the price guide."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from rest_framework import serializers

from marketplace.common.api import MicrosField, MoneyShape, money_json
from marketplace.common.money import format_micros
from marketplace.fleet.advice import Advice, BuyBack
from marketplace.fleet.advisor import CardAdvice, Judgement, KindAdvice
from marketplace.fleet.assumptions import BY_NAME, KINDS, Assumed, Kind, Unit, contradictions
from marketplace.fleet.guide import Guide
from marketplace.fleet.selectors import LOOKED_BACK, Use
from marketplace.fleet.selling import Bids, Pace

BASIS_POINTS = 10_000
MEMORY_MIB = (1024, 4 * 1024 * 1024)  # a GiB to four TiB
FRACTIONS = {Unit.SHARE, Unit.SIGNED_SHARE, Unit.RATIO}
GRADES = ("F0", "F1", "F2", "F3", "FX")
APPEARANCES = ("premium", "excellent", "good", "fair")


class FractionField(serializers.DecimalField):
    """A decimal in the API, basis points within the limits of an assumption inside."""

    def __init__(self, *, low: int, high: int, **options: Any) -> None:
        self.low, self.high = low, high
        super().__init__(max_digits=6, decimal_places=4, **options)

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        part = int(super().to_internal_value(data) * BASIS_POINTS)
        if not self.low <= part <= self.high:
            between = f"between {Decimal(self.low) / BASIS_POINTS} and {Decimal(self.high) / BASIS_POINTS}"
            raise serializers.ValidationError(between, code="range")
        return part


class AmountField(MicrosField):
    """An amount within the limits of an assumption."""

    def __init__(self, *, high: int, **options: Any) -> None:
        self.high = high
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> int:
        micros = super().to_internal_value(data)
        if not 0 <= micros <= self.high:
            raise serializers.ValidationError(f"between 0 and {format_micros(self.high, 0)}")
        return micros


def field_of(kind: Kind) -> serializers.Field[Any, Any, Any, Any]:
    """The query parameter of an assumption."""
    text = f"{kind.label} ({kind.symbol})"
    if kind.unit == Unit.MONEY:
        return AmountField(high=kind.high, positive=kind.low > 0, required=False, help_text=text)
    if kind.unit in FRACTIONS:
        return FractionField(low=kind.low, high=kind.high, required=False, help_text=text)
    return serializers.IntegerField(min_value=kind.low, max_value=kind.high, required=False, help_text=text)


class AdvisorQuery(serializers.Serializer[Any]):
    """Which cards, and every assumption that is made otherwise."""

    currency = serializers.ChoiceField(choices=settings.CURRENCIES, default=settings.CURRENCIES[0])
    gpu = serializers.SlugField(max_length=80, required=False)
    memory_mib = serializers.IntegerField(min_value=MEMORY_MIB[0], max_value=MEMORY_MIB[1], required=False)
    card = serializers.ListField(child=serializers.CharField(max_length=32), max_length=100, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=100, default=25)
    cursor = serializers.CharField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if wrong := contradictions({name: value for name, value in attrs.items() if name in BY_NAME}):
            raise serializers.ValidationError({name: [text] for name, text in wrong.items()}, code="contradiction")
        return attrs

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return super().get_fields() | {kind.name: field_of(kind) for kind in KINDS}


class GuideQuery(serializers.Serializer[Any]):
    """Which card; a grade or region that is left open means any."""

    kind = serializers.ChoiceField(choices=["card"])
    currency = serializers.ChoiceField(choices=settings.CURRENCIES, default=settings.CURRENCIES[0])
    memory_mib = serializers.IntegerField(min_value=MEMORY_MIB[0], max_value=MEMORY_MIB[1], required=False)
    modified = serializers.BooleanField(required=False, allow_null=True, default=None)
    grade_function = serializers.ChoiceField(choices=GRADES, required=False)
    grade_appearance = serializers.ChoiceField(choices=APPEARANCES, required=False)
    region = serializers.CharField(max_length=40, required=False)


class PriceGuideShape(serializers.Serializer[Any]):
    """Half of such cards went for `p25` to `p75`; show `basis` with every number."""

    method = serializers.ChoiceField(choices=["sales", "hedonic"])
    p25 = MoneyShape()
    p50 = MoneyShape()
    p75 = MoneyShape()
    sales = serializers.IntegerField()
    sales_left_out = serializers.IntegerField()
    sales_between_linked_firms = serializers.IntegerField()
    effective_sales = serializers.FloatField()
    updated_at = serializers.DateTimeField(allow_null=True)
    any = serializers.ListField(child=serializers.CharField())
    basis = serializers.CharField()


class GuideShape(serializers.Serializer[Any]):
    """The guide, or why there is none."""

    gpu = serializers.CharField()
    memory_mib = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    guide = PriceGuideShape(allow_null=True)
    reason = serializers.CharField(allow_null=True)


class UseShape(serializers.Serializer[Any]):
    """What was measured in so many days; seconds of all the cards together."""

    days = serializers.IntegerField()
    seen_seconds = serializers.IntegerField()
    idle_seconds = serializers.IntegerField()
    leased_seconds = serializers.IntegerField()
    owner_used_seconds = serializers.IntegerField()
    utilisation_percent = serializers.FloatField(allow_null=True)


class OptionShape(serializers.Serializer[Any]):
    """A choice and its present value."""

    choice = serializers.CharField()
    months = serializers.IntegerField()
    value = MoneyShape()
    p10 = MoneyShape()
    p90 = MoneyShape()


class BuyBackShape(serializers.Serializer[Any]):
    """The way back."""

    months = serializers.IntegerField()
    cost = MoneyShape()
    p10 = MoneyShape()
    p90 = MoneyShape()
    loss = MoneyShape()
    possible = serializers.BooleanField()


class CautionShape(serializers.Serializer[Any]):
    """What to know before acting."""

    code = serializers.CharField()
    text = serializers.CharField()


class AssumptionShape(serializers.Serializer[Any]):
    """One assumption: send `name=value` to make it otherwise."""

    name = serializers.CharField()
    symbol = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    value = serializers.CharField(allow_null=True)
    origin = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]


class WorkingShape(serializers.Serializer[Any]):
    """A formula with the numbers put in."""

    name = serializers.CharField()
    symbol = serializers.CharField()
    formula = serializers.CharField()
    numbers = serializers.CharField()
    result = serializers.CharField()


class JudgementShape(serializers.Serializer[Any]):
    """An advice with everything behind it; null where a price is missing."""

    verdict = serializers.CharField(allow_null=True)
    verdict_at_p10 = serializers.CharField(allow_null=True)
    verdict_at_p90 = serializers.CharField(allow_null=True)
    close_call = serializers.BooleanField()
    options = OptionShape(many=True)
    break_even_share = serializers.FloatField(allow_null=True)
    required_price_per_gpu_hour = MoneyShape(allow_null=True)
    monthly_margin = MoneyShape(allow_null=True)
    monthly_cost_of_keeping = MoneyShape(allow_null=True)
    buy_back = BuyBackShape(allow_null=True)
    cautions = CautionShape(many=True)
    use = UseShape()
    assumptions = AssumptionShape(many=True)
    workings = WorkingShape(many=True)


class PaceShape(serializers.Serializer[Any]):
    """How fast to sell."""

    per_week = serializers.IntegerField()
    weeks = serializers.IntegerField()
    first_price = MoneyShape()
    own_impact_share = serializers.FloatField()
    proceeds = MoneyShape()


class BidsShape(serializers.Serializer[Any]):
    """What selling all of them at once into the standing bids would bring, shipping included."""

    cards = serializers.IntegerField()
    filled = serializers.IntegerField()
    average = MoneyShape(allow_null=True)
    worst = MoneyShape(allow_null=True)


class KindAdviceShape(JudgementShape):
    """The cards of one kind together."""

    gpu = serializers.CharField()
    name = serializers.CharField()
    memory_mib = serializers.IntegerField()
    modified = serializers.BooleanField()
    cards = serializers.IntegerField()
    rent_cards = serializers.IntegerField()
    sell_cards = serializers.IntegerField()
    pace = PaceShape(allow_null=True)
    bids = BidsShape()
    guide = PriceGuideShape(allow_null=True)


class CardAdviceShape(JudgementShape):
    """One card."""

    card = serializers.CharField()
    node = serializers.CharField(allow_null=True)
    gpu = serializers.CharField()
    memory_mib = serializers.IntegerField()
    modified = serializers.BooleanField()


class AdvisorShape(serializers.Serializer[Any]):
    """Advice for the fleet by kind, and for each card."""

    currency = serializers.CharField()
    fleet = KindAdviceShape(many=True)
    data = CardAdviceShape(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


def guide_json(guide: Guide | None) -> dict[str, Any] | None:
    """A guide with what it is based on."""
    if guide is None:
        return None
    return {
        "method": guide.method.value,
        "p25": money_json(guide.p25_micros, guide.currency),
        "p50": money_json(guide.p50_micros, guide.currency),
        "p75": money_json(guide.p75_micros, guide.currency),
        "sales": guide.sale_count,
        "sales_left_out": guide.dropped_count,
        "sales_between_linked_firms": guide.linked_count,
        "effective_sales": round(guide.effective_count, 1),
        "updated_at": guide.updated_at,
        "any": list(guide.pooled),
        "basis": guide.basis,
    }


def kind_json(kind: KindAdvice, currency: str) -> dict[str, Any]:
    """A kind of cards."""
    return {
        "gpu": kind.model.slug,
        "name": kind.model.marketing_name,
        "memory_mib": kind.memory_mib,
        "modified": kind.key.is_modified,
        "cards": kind.count,
        "rent_cards": kind.rent_count if kind.judgement.advice.verdict else 0,
        "sell_cards": kind.sell_count,
        "pace": _pace_json(kind.pace, currency),
        "bids": _bids_json(kind.bids, currency),
        "guide": guide_json(kind.guide),
    } | judgement_json(kind.judgement, currency)


def card_json(row: CardAdvice, currency: str) -> dict[str, Any]:
    """A card."""
    return {
        "card": row.card.public_id,
        "node": row.card.node.public_id if row.card.node else None,
        "gpu": row.kind.model.slug,
        "memory_mib": row.card.memory_mib,
        "modified": row.card.is_modified,
    } | judgement_json(row.judgement, currency)


def judgement_json(judgement: Judgement, currency: str) -> dict[str, Any]:
    """An advice with everything behind it."""
    advice = judgement.advice
    return {
        "verdict": advice.verdict,
        "verdict_at_p10": advice.verdict_p10,
        "verdict_at_p90": advice.verdict_p90,
        "close_call": advice.is_close,
        "options": _options_json(advice, currency),
        "break_even_share": None if advice.break_even is None else round(float(advice.break_even), 4),
        "required_price_per_gpu_hour": money_json(advice.required_price_micros, currency),
        "monthly_margin": money_json(advice.margin_micros, currency),
        "monthly_cost_of_keeping": money_json(advice.keeping_micros, currency),
        "buy_back": _buy_back_json(advice.buy_back, currency),
        "cautions": [{"code": each.code, "text": each.text} for each in judgement.cautions],
        "use": _use_json(judgement.use),
        "assumptions": [assumption_json(each) for each in judgement.assumed.values()],
        "workings": [
            {name: getattr(line, name) for name in ("name", "symbol", "formula", "numbers", "result")}
            for line in judgement.workings
        ],
    }


def assumption_json(assumed: Assumed) -> dict[str, Any]:
    """An assumption; its value as the query takes it."""
    return {
        "name": assumed.kind.name,
        "symbol": assumed.kind.symbol,
        "label": assumed.kind.label,
        "value": value_text(assumed.kind.unit, assumed.value),
        "origin": assumed.origin,
        "source": assumed.source,
    }


def value_text(unit: Unit, value: int | None) -> str | None:
    """A value as the query takes it."""
    if value is None:
        return None
    if unit == Unit.MONEY:
        return format_micros(value)
    return str(Decimal(value) / BASIS_POINTS) if unit in FRACTIONS else str(value)


def _options_json(advice: Advice, currency: str) -> list[dict[str, Any]]:
    return [
        {
            "choice": option.choice,
            "months": option.months,
            "value": money_json(option.value_micros, currency),
            "p10": money_json(option.p10_micros, currency),
            "p90": money_json(option.p90_micros, currency),
        }
        for option in advice.options
    ]


def _buy_back_json(back: BuyBack | None, currency: str) -> Mapping[str, Any] | None:
    if back is None:
        return None
    amounts = {name: money_json(getattr(back, f"{name}_micros"), currency) for name in ("cost", "p10", "p90", "loss")}
    return {"months": back.months, "possible": back.is_possible} | amounts


def _use_json(use: Use) -> dict[str, Any]:
    return {
        "days": LOOKED_BACK.days,
        "seen_seconds": use.seen_seconds,
        "idle_seconds": use.idle_seconds,
        "leased_seconds": use.leased_seconds,
        "owner_used_seconds": use.owner_seconds,
        "utilisation_percent": None if use.utilisation_percent is None else round(use.utilisation_percent, 1),
    }


def _pace_json(pace: Pace | None, currency: str) -> dict[str, Any] | None:
    if pace is None:
        return None
    return {
        "per_week": pace.per_week,
        "weeks": pace.weeks,
        "first_price": money_json(pace.price_micros, currency),
        "own_impact_share": pace.fall_basis_points / BASIS_POINTS,
        "proceeds": money_json(pace.proceeds_micros, currency),
    }


def _bids_json(bids: Bids, currency: str) -> dict[str, Any]:
    return {
        "cards": bids.asked,
        "filled": bids.filled,
        "average": money_json(bids.average_micros, currency),
        "worst": money_json(bids.worst_micros, currency),
    }
