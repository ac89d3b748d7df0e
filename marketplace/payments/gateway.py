"""What a payment gateway does. A gateway talks to the outside, so nothing here runs in a transaction.

Whatever moves money or makes something outside is an `Order`, and goes through the outbox (`outbox.py`): a row with the
order's key, written with the ledger's reservation, and called afterwards. The same key twice is one effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Operation(StrEnum):
    """What can be asked of a gateway. `params` of each are those that `stripe_gateway/calls.py` reads."""

    OPEN_CHECKOUT = "open_checkout"  # a page on which a firm pays in
    CLOSE_CHECKOUT = "close_checkout"
    OPEN_CARD_PAGE = "open_card_page"  # a page on which a firm saves a card
    OPEN_ACCOUNT = "open_account"  # a seller's account, which transfers go to
    CHARGE_SAVED = "charge_saved"  # a saved card, without its holder at the screen
    REFUND = "refund"  # of a deposit, to the instrument that it came from
    TRANSFER = "transfer"  # earnings to a seller's account
    REVERSE_TRANSFER = "reverse_transfer"
    SUBMIT_EVIDENCE = "submit_evidence"
    PAY_OUT = "pay_out"  # to a bank account


class Trouble(StrEnum):
    """What to do about a call that failed."""

    RETRY = "retry"  # nobody knows whether it was done: again, with the same key
    LATER = "later"  # refused for now, nothing was done: again later, with a new key
    LOOK = "look"  # the key has an error stuck to it: look for the effect, then a new key
    FINAL = "final"  # refused for good
    ASK = "ask"  # our own mistake or a setting: a person has to look


class GatewayError(Exception):
    """A call that did not do what it was asked for; `trouble` says what comes next."""

    def __init__(self, trouble: Trouble, detail: str, *, code: str = "") -> None:
        super().__init__(detail)
        self.trouble, self.detail, self.code = trouble, detail, code


@dataclass(frozen=True, slots=True)
class DepositRequest:
    """What a gateway is told; `pay_url` is the page that its `open_checkout` gave, empty before that."""

    deposit_id: str
    reference: str
    currency: str
    amount_micros: int
    pay_url: str = ""


@dataclass(frozen=True, slots=True)
class Instructions:
    """How the firm pays: labelled values in the order to show them. `pay_url` is a page to be sent to."""

    summary: str
    details: tuple[tuple[str, str], ...]
    pay_url: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a gateway can do. `ticks_micros` has its currencies, and what amounts of each are multiples of."""

    ticks_micros: Mapping[str, int]
    confirmed_by_operator: bool
    operations: frozenset[Operation] = frozenset()

    @property
    def is_disputable(self) -> bool:
        """Whether a payer can ask its bank for a payment back."""
        return Operation.SUBMIT_EVIDENCE in self.operations

    @property
    def currencies(self) -> frozenset[str]:
        """What money it takes."""
        return frozenset(self.ticks_micros)


@dataclass(frozen=True, slots=True)
class Order:
    """One call: `call_id` is our name for it, which the outside keeps with what it makes; `key` its idempotency key."""

    call_id: str
    operation: Operation
    params: Mapping[str, Any]
    key: str
    since: datetime | None = None  # when it was first tried: nothing of it is older


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a call made outside: its id there, and what else its effect needs to know."""

    object_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that the outside says has changed; what it is now must be fetched."""

    event_id: str
    type: str
    object_type: str
    object_id: str
    account: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BookEntry:
    """An entry of the gateway's own books: what came (plus) or left, and the fee out of it. `at` is its clock."""

    id: str
    type: str
    currency: str
    amount_micros: int
    fee_micros: int
    net_micros: int
    source: str
    at: datetime
    available_on: datetime


@dataclass(frozen=True, slots=True)
class Holding:
    """What a gateway holds of the platform's in one currency: to be had, and not yet."""

    available_micros: int
    pending_micros: int

    @property
    def total_micros(self) -> int:
        return self.available_micros + self.pending_micros


class PaymentGateway(Protocol):
    """One way for money to come in and go out. `name` is stored with the rows and names the clearing account."""

    name: str

    def capabilities(self) -> Capabilities: ...

    def start_deposit(self, request: DepositRequest) -> Instructions:
        """How to pay. Talks to nobody: the same request gives the same instructions."""
        ...

    def perform(self, order: Order) -> Receipt:
        """Do it, at most once per key. Raises GatewayError."""
        ...

    def find(self, order: Order) -> Receipt | None:
        """What an earlier attempt made, by `call_id`; None when there is nothing. Raises GatewayError."""
        ...


class NotifyingGateway(PaymentGateway, Protocol):
    """A gateway that tells what has changed; the inbox (`inbox.py`) takes its notices."""

    def notice(self, body: bytes, signature: str, *, now: datetime) -> Notice:
        """The notice in a signed request, checked on the raw bytes. Raises GatewayError for one that is not theirs."""
        ...

    def notices_since(self, since: datetime) -> Iterable[Notice]:
        """What it told since then, whether it arrived or not."""
        ...

    def fetch(self, object_type: str, object_id: str, account: str) -> Mapping[str, Any] | None:
        """What the thing is now, in our words and micros; None for a kind that it knows nothing of.

        Raises GatewayError.
        """
        ...


class BookkeepingGateway(PaymentGateway, Protocol):
    """A gateway that shows its own books, so that the ledger can be compared with them (`reconciliation/`)."""

    def holdings(self) -> Mapping[str, Holding]:
        """What it holds, by currency. Raises GatewayError."""
        ...

    def entries(self, since: datetime | None, after: str) -> tuple[Sequence[BookEntry], str]:
        """A page of its entries since then, newest first, behind the entry `after`; and the `after` of the next one.

        Empty when there is no next page. Raises GatewayError.
        """
        ...

    def parts_of(self, payout_id: str) -> Sequence[str] | None:
        """The entries that a payout to the platform's bank is made of; None when it can't tell.

        Raises GatewayError.
        """
        ...
