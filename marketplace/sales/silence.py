"""What happens when somebody says nothing: the table that ends every silence. Pure.

A step is a state together with what is known in it. Each has one party whose turn it is, how long that party may be
silent, and what follows. Money is never held for more than 60 days from the ship clock's start: then whoever holds the
card pays for it, and nobody has proved that the buyer holds it until the buyer, the lab or an operator has said so.
A carrier's number alone proves nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HELD_AT_MOST = timedelta(days=60)
SATURDAY = 5


class Party(enum.StrEnum):
    """Whose turn it is."""

    SELLER = "seller"
    BUYER = "buyer"
    LAB = "lab"
    OPERATOR = "operator"
    NOBODY = "nobody"


class Step(enum.StrEnum):
    """A sale's state and what is known in it."""

    AGREED = "agreed"
    TO_SHIP = "to_ship"
    SHIPPING_HELD = "shipping_held"
    ADDRESS_ASKED = "address_asked"
    TO_LAB = "to_lab"
    AT_LAB = "at_lab"
    FROM_LAB = "from_lab"
    TO_BUYER = "to_buyer"
    RECEIVED = "received"
    INSPECTING = "inspecting"
    DISPUTED_UNDELIVERED = "disputed_undelivered"
    DISPUTED_DELIVERED = "disputed_delivered"
    DISPUTED_RETURN_UNPROVEN = "disputed_return_unproven"
    DISPUTED_RETURNED = "disputed_returned"
    TO_SEND_BACK = "to_send_back"
    ON_ITS_WAY_BACK = "on_its_way_back"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Silence:
    """`outcome` after the party was silent for so long; `at_the_end` when money was held for 60 days."""

    party: Party
    outcome: str
    reason: str
    at_the_end: str
    days: int = 0
    days_abroad: int | None = None
    business_days: int = 0
    credits_buyer: bool = False


S = Silence
SILENCES: Mapping[Step, Silence] = {
    Step.AGREED: S(Party.OPERATOR, "cancelled", "compliance_silent", "cancelled", business_days=5),
    Step.TO_SHIP: S(Party.SELLER, "cancelled", "not_shipped", "cancelled", business_days=2, credits_buyer=True),
    Step.SHIPPING_HELD: S(Party.OPERATOR, "cancelled", "compliance_silent", "cancelled", business_days=5),
    Step.ADDRESS_ASKED: S(Party.BUYER, "cancelled", "address_silent", "cancelled", business_days=2),
    Step.TO_LAB: S(Party.LAB, "disputed", "delivery_unproven", "refunded", days=14, days_abroad=21),
    Step.AT_LAB: S(Party.LAB, "disputed", "lab_silent", "refunded", business_days=5),
    Step.FROM_LAB: S(Party.BUYER, "disputed", "delivery_unproven", "refunded", days=14, days_abroad=21),
    Step.TO_BUYER: S(Party.BUYER, "disputed", "delivery_unproven", "refunded", days=14, days_abroad=21),
    Step.RECEIVED: S(Party.NOBODY, "inspecting", "", "inspecting"),
    Step.INSPECTING: S(Party.BUYER, "released", "window_over", "released", days=7, days_abroad=14),
    Step.DISPUTED_UNDELIVERED: S(Party.OPERATOR, "refunded", "operator_silent", "refunded", business_days=10),
    Step.DISPUTED_DELIVERED: S(Party.OPERATOR, "returning", "operator_silent", "released", business_days=10),
    Step.DISPUTED_RETURN_UNPROVEN: S(Party.OPERATOR, "released", "operator_silent", "released", business_days=10),
    Step.DISPUTED_RETURNED: S(Party.OPERATOR, "refunded", "operator_silent", "refunded", business_days=10),
    Step.TO_SEND_BACK: S(Party.BUYER, "released", "not_sent_back", "released", business_days=5),
    Step.ON_ITS_WAY_BACK: S(Party.SELLER, "disputed", "return_unproven", "released", days=14, days_abroad=21),
    Step.BACK: S(Party.SELLER, "refunded", "not_looked_at", "refunded", business_days=5),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a sale. `step_at` is when its present step began; the ship clock may start later than that."""

    state: str
    step_at: datetime
    ship_clock_at: datetime
    is_abroad: bool = False
    is_held: bool = False
    is_address_asked: bool = False
    by_lab: bool = False
    lab_received: bool = False
    lab_passed: bool = False
    delivered: bool = False
    sent_back: bool = False
    came_back: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a silence leads to."""

    to: str
    reason: str
    credits_buyer: bool = False


def step_of(facts: Facts) -> Step | None:
    """The step of a sale; None when it is over."""
    match facts.state:
        case "agreed":
            return Step.AGREED
        case "paid":
            if facts.is_held:
                return Step.SHIPPING_HELD
            return Step.ADDRESS_ASKED if facts.is_address_asked else Step.TO_SHIP
        case "shipped":
            return _step_of_shipped(facts)
        case "received":
            return Step.RECEIVED
        case "inspecting":
            return Step.INSPECTING
        case "disputed":
            return _step_of_disputed(facts)
        case "returning":
            return Step.BACK if facts.came_back else Step.ON_ITS_WAY_BACK if facts.sent_back else Step.TO_SEND_BACK
    return None


def deadline(facts: Facts) -> datetime | None:
    """When its present step ends by itself; never later than 60 days after the ship clock's start."""
    step = step_of(facts)
    if step is None:
        return None
    silence = SILENCES[step]
    begins = max(facts.step_at, facts.ship_clock_at) if step is Step.TO_SHIP else facts.step_at
    days = silence.days if silence.days_abroad is None or not facts.is_abroad else silence.days_abroad
    ends = add_business_days(begins, silence.business_days) + timedelta(days=days)
    return min(ends, held_until(facts))


def held_until(facts: Facts) -> datetime:
    """The last moment at which its money can be held."""
    return facts.ship_clock_at + HELD_AT_MOST


def outcome(facts: Facts, *, now: datetime) -> Outcome | None:
    """What follows from the silence so far; None while the party whose turn it is still has time."""
    step, ends = step_of(facts), deadline(facts)
    if step is None or ends is None or now < ends:
        return None
    silence = SILENCES[step]
    if now >= held_until(facts):
        return Outcome(silence.at_the_end, "held_too_long" if silence.party is not Party.NOBODY else "")
    return Outcome(silence.outcome, silence.reason, silence.credits_buyer)


def add_business_days(at: datetime, days: int) -> datetime:
    """The same time of day so many working days later; Saturdays and Sundays (UTC) do not count."""
    while days > 0:
        at += timedelta(days=1)
        days -= at.weekday() < SATURDAY
    return at


def _step_of_shipped(facts: Facts) -> Step:
    if not facts.by_lab:
        return Step.TO_BUYER
    if facts.lab_passed:
        return Step.FROM_LAB
    return Step.AT_LAB if facts.lab_received else Step.TO_LAB


def _step_of_disputed(facts: Facts) -> Step:
    if not facts.delivered:
        return Step.DISPUTED_UNDELIVERED
    if facts.came_back:
        return Step.DISPUTED_RETURNED
    return Step.DISPUTED_RETURN_UNPROVEN if facts.sent_back else Step.DISPUTED_DELIVERED
