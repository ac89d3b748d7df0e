"""What the seller should know before acting on the advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from marketplace.fleet.advice import ONE, Advice, Choice, hour_gain, money, share
from marketplace.fleet.assumptions import Inputs
from marketplace.fleet.workings import percent, plain


@dataclass(frozen=True, slots=True)
class Caution:
    """A stable code and a sentence."""

    code: str
    text: str


def cautions(inputs: Inputs, advice: Advice, *, count: int, is_modelled: bool = False) -> tuple[Caution, ...]:
    """In the order of weight."""
    return tuple(
        Caution(code, text)
        for code, text in (
            *_missing(inputs),
            *_rising(inputs, advice),
            *_way_back(inputs, advice, count),
            *_renting(inputs, advice),
            *_doubts(inputs, advice, count, is_modelled),
        )
    )


def _missing(inputs: Inputs) -> Iterator[tuple[str, str]]:
    if inputs.card_value is None:
        yield "no_card_price", "Too few such cards were sold here for a price. Say what yours would fetch."
    if inputs.rent_price is None:
        yield "no_hour_price", "No hour of such a card was traded here in 30 days. Say what an hour would bring."


def _rising(inputs: Inputs, advice: Advice) -> Iterator[tuple[str, str]]:
    if inputs.monthly_decline >= 0 or advice.buy_back is None:
        return
    back = advice.buy_back
    yield (
        "prices_rise",
        f"Prices rise by {percent(-share(inputs.monthly_decline))} a month by this assumption. Who sells now and wants"
        f" the card back in {back.months} months pays {_amount(back.cost_micros)} ({_amount(back.p10_micros)} to"
        f" {_amount(back.p90_micros)} in eight cases of ten), {_amount(back.loss_micros)} more than selling brings.",
    )


def _way_back(inputs: Inputs, advice: Advice, count: int) -> Iterator[tuple[str, str]]:
    back = advice.buy_back
    if back is None:
        return
    if not back.is_possible:
        yield (
            "no_way_back",
            "No such card was sold here in 30 days and none is on offer: buying back may not be possible at any price.",
        )
    elif back.sold_30_days + back.on_offer < count:
        yield (
            "slow_way_back",
            f"{back.sold_30_days} such cards were sold here in 30 days and {back.on_offer} are on offer; buying {count}"
            " back would take longer than that or cost more.",
        )


def _renting(inputs: Inputs, advice: Advice) -> Iterator[tuple[str, str]]:
    if inputs.rent_price is not None and hour_gain(inputs) <= 0:
        yield "energy_exceeds_rent", "An hour of load costs more energy than the hour brings: renting never pays."
    elif advice.break_even is not None and advice.break_even > ONE - share(inputs.own_share):
        yield "out_of_reach", "There are not enough hours in a month to rent it for what keeping it costs."


def _doubts(inputs: Inputs, advice: Advice, count: int, is_modelled: bool) -> Iterator[tuple[str, str]]:
    if is_modelled:
        yield "modelled_price", "The card's price is a model's, not the market's."
    if advice.is_close:
        yield "close_call", "A close call: the next best choice is worth almost as much."
    if advice.verdict is not None and len({advice.verdict, advice.verdict_p10, advice.verdict_p90}) > 1:
        yield (
            "price_decides",
            f"The card's price decides: at the low end of its range the answer is {_words(advice.verdict_p10)}, at the"
            f" high end {_words(advice.verdict_p90)}.",
        )
    if advice.verdict in {Choice.SELL_NOW, Choice.SELL_IN_3, Choice.SELL_IN_6} and count > max(inputs.sold_30_days, 1):
        yield (
            "own_impact",
            f"{count} cards are more than the {inputs.sold_30_days} that were sold here in 30 days: selling them fast"
            " would lower the price.",
        )


def _amount(micros: int) -> str:
    return plain(money(micros), 2)


def _words(choice: Choice | None) -> str:
    return "unknown" if choice is None else choice.replace("_", " ")
