"""What a payment gateway does for deposits. A gateway talks to the outside, so nothing here runs in a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DepositRequest:
    """What a gateway is told; `deposit_id` makes a repeated start harmless."""

    deposit_id: str
    reference: str
    currency: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Instructions:
    """How the firm pays: labelled values in the order to show them."""

    summary: str
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a gateway can do; amounts are multiples of `tick_micros`."""

    currencies: frozenset[str]
    tick_micros: int
    confirmed_by_operator: bool


class PaymentGateway(Protocol):
    """One way for money to come in. `name` is stored with the deposit and names the clearing account."""

    name: str

    def capabilities(self) -> Capabilities: ...

    def start_deposit(self, request: DepositRequest) -> Instructions:
        """Tell the outside to expect the money; the same request gives the same instructions."""
        ...
