"""What the result of a call does here, in the transaction that settles the call. One line per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from marketplace.payments import card_deposits, disputes, refunds, saved_cards, sellers, top_ups, transfers
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.models import GatewayCall


def _nothing(call: GatewayCall, result: Receipt | GatewayError, now: datetime) -> None:
    """What it is for hears of it elsewhere."""


@dataclass(frozen=True, slots=True)
class Effect:
    """`done` books a success, `failed` takes back what was reserved for it."""

    done: Callable[[GatewayCall, Receipt, datetime], None] = _nothing
    failed: Callable[[GatewayCall, GatewayError, datetime], None] = _nothing


EFFECTS: Mapping[Operation, Effect] = {
    Operation.OPEN_CHECKOUT: Effect(card_deposits.page_opened, card_deposits.page_refused),
    Operation.CLOSE_CHECKOUT: Effect(),
    Operation.OPEN_CARD_PAGE: Effect(saved_cards.page_opened, saved_cards.page_refused),
    Operation.CHARGE_SAVED: Effect(top_ups.charged, top_ups.charge_refused),
    Operation.REFUND: Effect(refunds.refund_taken, refunds.refund_refused),
    Operation.TRANSFER: Effect(transfers.transferred, transfers.transfer_refused),
    Operation.REVERSE_TRANSFER: Effect(transfers.taken_back, transfers.not_taken_back),
    Operation.SUBMIT_EVIDENCE: Effect(disputes.evidence_taken),
    Operation.OPEN_ACCOUNT: Effect(sellers.account_opened, sellers.account_refused),
}
