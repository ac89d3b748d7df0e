"""What a card would fetch where too few like it were sold: launch price, age and condition, corrected by like sales.

Pure. The prior is the launch price × a curve of age × a factor of condition × the value of added memory. What
completed sales show beside it (of the model, its memory, grade, region, …) is learned by ridge regression on the
logarithm, so that few sales move the prior a little and many replace it. The answer carries the prior's name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from marketplace.common.money import format_micros
from marketplace.fleet.guide import NORMAL_P75, CompletedSale, Guide, Method, Wanted, gibibytes, weight_of
from marketplace.fleet.quantiles import DEVIATIONS_MAX, weighted_quantile

# SpotWire valuator data 2026-06-04, CC-BY-4.0: value by years since launch, and by condition.
AGE_CURVE = (1.00, 0.78, 0.60, 0.46, 0.35)
AGE_FLOOR = 0.08
CONDITION = {"F0": 0.85, "F1": 0.72, "F2": 0.72, "F3": 0.55, "FX": 0.55}
CONDITION_UNKNOWN = 0.72
# Twice the memory was worth 9 to 22 % more in the listings that we know; the middle of it.
MEMORY_DOUBLED = 1.155
NOISE = 0.15  # how far two sales of the very same card lie apart, in logarithms
SPREAD_MIN = 0.30  # what like cards lie apart at least, beside the prior: within 3.5 of it a sale counts as it is
# How far each property is expected to move a price beside the prior.
EXPECTED = {"model": 0.30, "memory": 0.20, "age": 0.10, "grade": 0.10, "appearance": 0.05, "region": 0.10, "mod": 0.10}
PRIOR_TEXT = "the launch price of {price} {currency} ({year}), its age and its condition"


@dataclass(frozen=True, slots=True)
class Launch:
    """When a model came out, for how much in which currency, and with how much memory."""

    year: int
    price_micros: int
    currency: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Described:
    """A card at a time, as the model sees it."""

    model_slug: str
    memory_mib: int
    function_grade: str
    appearance_grade: str
    region: str
    is_modified: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the sales of all models in one currency have taught the model: the same for every card."""

    currency: str
    launches: Mapping[str, Launch]
    ridge: Ridge
    sales: Sequence[CompletedSale]
    pulled_count: int
    linked_count: int


def modelled_guide(
    sales: Sequence[CompletedSale], wanted: Wanted, launches: Mapping[str, Launch], *, now: datetime
) -> Guide | None:
    """The model's guide; None where the launch price in this currency is not known."""
    return guide_from(fit(sales, launches, wanted.currency, now=now), wanted, now=now)


def fit(sales: Sequence[CompletedSale], launches: Mapping[str, Launch], currency: str, *, now: datetime) -> Fitted:
    """Learn from completed sales; those between linked firms teach nothing, those far from the rest are pulled in."""
    told = [sale for sale in sales if _is_known(sale, currency, launches) and sale.at <= now]
    known = [sale for sale in told if not sale.is_linked]
    by_model: dict[str, list[CompletedSale]] = defaultdict(list)
    for sale in known:
        by_model[sale.model_slug].append(sale)
    rows, pulled = [], 0
    for sold in by_model.values():
        weighed = [_weighed(sale, launches, now) for sale in sold]
        for sale, near, (residual, weight) in zip(sold, pulled_in(weighed), weighed, strict=True):
            rows.append((_features(_of(sale)), near, weight))
            pulled += near != residual
    return Fitted(currency, launches, Ridge(rows), known, pulled, len(told) - len(known))


def pulled_in(weighed: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """The residuals of one model, none farther from their weighted median than 3.5 weighted median deviations.

    The prior's own 0 is among them and weighs as much as a sale of today: one absurd sale moves the model by a bounded
    part, and where most sales lie far from the prior it is the prior that is odd.
    """
    beside = [*weighed, (0.0, 1.0)]
    middle = weighted_quantile(beside, 0.5)
    spread = weighted_quantile([(abs(residual - middle), weight) for residual, weight in beside], 0.5)
    limit = DEVIATIONS_MAX * max(spread, SPREAD_MIN)
    return tuple(min(max(residual, middle - limit), middle + limit) for residual, _ in weighed)


def guide_from(fitted: Fitted, wanted: Wanted, *, now: datetime) -> Guide | None:
    """The guide for one card; None where the launch price in this currency is not known."""
    launch = fitted.launches.get(wanted.model_slug)
    if launch is None or launch.currency != wanted.currency:
        return None
    asked = _described(wanted, launch, now)
    middle, deviation = fitted.ridge.predict(_features(asked))
    middle += prior_log(asked, launch)
    low, high = (math.exp(middle + sign * NORMAL_P75 * deviation) for sign in (-1, 1))
    price = format_micros(launch.price_micros, 0)
    return Guide(
        method=Method.HEDONIC,
        currency=wanted.currency,
        p25_micros=_cents(low),
        p50_micros=_cents(math.exp(middle)),
        p75_micros=_cents(high),
        sale_count=len(fitted.sales),
        dropped_count=0,
        pulled_count=fitted.pulled_count,
        linked_count=fitted.linked_count,
        effective_count=float(len(fitted.sales)),
        updated_at=max((sale.at for sale in fitted.sales), default=None),
        prior=PRIOR_TEXT.format(price=price, currency=launch.currency, year=launch.year),
    )


def prior_log(card: Described, launch: Launch) -> float:
    """The logarithm of what the card would fetch by launch price, age, condition and memory alone, in micros."""
    doublings = math.log2(max(gibibytes(card.memory_mib), 1) / gibibytes(launch.memory_mib))
    return (
        math.log(launch.price_micros)
        + math.log(age_factor(_years(card.at, launch.year)))
        + math.log(CONDITION.get(card.function_grade, CONDITION_UNKNOWN))
        + doublings * math.log(MEMORY_DOUBLED)
    )


def age_factor(years: float) -> float:
    """Between the curve's years evenly on a logarithmic scale, after its end at the pace of its last year."""
    years = max(years, 0.0)
    whole = min(int(years), len(AGE_CURVE) - 2)
    earlier, later = AGE_CURVE[whole], AGE_CURVE[whole + 1]
    return max(earlier * math.pow(later / earlier, years - whole), AGE_FLOOR)


class Ridge:
    """Least squares on the residuals, each coefficient held near 0 by what `EXPECTED` says of it.

    `rows` are (features, residual, weight); features have one name per property, such as `region:eu-west`.
    """

    def __init__(self, rows: Sequence[tuple[Mapping[str, float], float, float]]) -> None:
        self.names = sorted({name for features, _, _ in rows for name in features})
        place = {name: number for number, name in enumerate(self.names)}
        size = len(self.names)
        self._left = [[0.0] * size for _ in range(size)]
        right = [0.0] * size
        for number, name in enumerate(self.names):
            self._left[number][number] = (NOISE / _expected(name)) ** 2
        for features, residual, weight in rows:
            filled = [(place[name], value) for name, value in features.items()]
            for one, value in filled:
                right[one] += weight * value * residual
                for other, factor in filled:
                    self._left[one][other] += weight * value * factor
        self._lower = cholesky(self._left)
        self.coefficients = dict(zip(self.names, solve(self._lower, right), strict=True))

    def predict(self, features: Mapping[str, float]) -> tuple[float, float]:
        """The expected residual and the standard deviation of one sale around it."""
        middle = math.fsum(self.coefficients.get(name, 0.0) * value for name, value in features.items())
        asked = [features.get(name, 0.0) for name in self.names]
        learned = math.fsum(a * b for a, b in zip(asked, solve(self._lower, asked), strict=True)) * NOISE**2
        unseen = math.fsum(
            (_expected(name) * value) ** 2 for name, value in features.items() if name not in self.coefficients
        )
        return middle, math.sqrt(NOISE**2 + learned + unseen)


def cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The lower triangle whose product with its own transpose is the (positive definite) matrix."""
    lower = [[0.0] * len(matrix) for _ in matrix]
    for row in range(len(matrix)):
        for column in range(row + 1):
            rest = matrix[row][column] - sum(lower[row][k] * lower[column][k] for k in range(column))
            lower[row][column] = math.sqrt(rest) if row == column else rest / lower[column][column]
    return lower


def solve(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """x of L Lᵀ x = right."""
    size = len(right)
    forward = [0.0] * size
    for row in range(size):
        forward[row] = (right[row] - sum(lower[row][k] * forward[k] for k in range(row))) / lower[row][row]
    found = [0.0] * size
    for row in reversed(range(size)):
        rest = forward[row] - sum(lower[k][row] * found[k] for k in range(row + 1, size))
        found[row] = rest / lower[row][row]
    return found


def _features(card: Described) -> dict[str, float]:
    named = {
        f"model:{card.model_slug}": 1.0,
        f"memory:{card.model_slug}:{gibibytes(card.memory_mib)}": 1.0,
        f"age:{card.at.year}": 1.0,
        f"grade:{card.function_grade}": 1.0,
        f"appearance:{card.appearance_grade}": 1.0,
        f"region:{card.region}": 1.0,
    }
    return named | ({"mod:modified": 1.0} if card.is_modified else {})


def _expected(name: str) -> float:
    return EXPECTED[name.partition(":")[0]]


def _described(wanted: Wanted, launch: Launch, now: datetime) -> Described:
    memory = launch.memory_mib if wanted.memory_mib is None else wanted.memory_mib
    is_modified = (
        gibibytes(memory) != gibibytes(launch.memory_mib) if wanted.is_modified is None else wanted.is_modified
    )
    return Described(
        wanted.model_slug, memory, wanted.function_grade, wanted.appearance_grade, wanted.region, is_modified, now
    )


def _of(sale: CompletedSale) -> Described:
    return Described(
        sale.model_slug,
        sale.memory_mib,
        sale.function_grade,
        sale.appearance_grade,
        sale.region,
        sale.is_modified,
        sale.at,
    )


def _weighed(sale: CompletedSale, launches: Mapping[str, Launch], now: datetime) -> tuple[float, float]:
    residual = math.log(sale.price_micros) - prior_log(_of(sale), launches[sale.model_slug])
    return residual, weight_of(now - sale.at)


def _is_known(sale: CompletedSale, currency: str, launches: Mapping[str, Launch]) -> bool:
    launch = launches.get(sale.model_slug)
    return launch is not None and sale.currency == launch.currency == currency and sale.price_micros > 0


def _years(at: datetime, year: int) -> float:
    return (at - datetime(year, 7, 1, tzinfo=UTC)).days / 365.25


def _cents(micros: float) -> int:
    return round(micros / 10_000) * 10_000
