"""The test cards of https://docs.stripe.com/testing: what each does when it is saved, charged, refunded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Authentication(StrEnum):
    """When the bank asks the holder to say yes."""

    NEVER = "never"
    ALWAYS = "always"
    UNLESS_SET_UP = "unless_set_up"
    WHEN_ASKED = "when_asked"  # it can, and does where the payment asks for it
    ON_SESSION = "on_session"  # set up outside of Stripe's sight: only payments off-session go through unasked


@dataclass(frozen=True, slots=True)
class Card:
    """`code` and `decline_code` are those of the refusal, None for a card that pays."""

    number: str
    brand: str = "visa"
    country: str = "US"
    funding: str = "credit"
    code: str | None = None
    decline_code: str | None = None
    attaches: bool = True
    authentication: Authentication = Authentication.NEVER
    bypasses_pending: bool = False
    dispute: str | None = None
    refund: str = "succeeds"
    warned: bool = False
    blocked: bool = False

    @property
    def last4(self) -> str:
        return self.number[-4:]


def _refused(number: str, code: str, decline_code: str | None = None) -> Card:
    return Card(number, code=code, decline_code=decline_code, attaches=False)


CARDS: dict[str, Card] = {
    "pm_card_visa": Card("4242424242424242"),
    "pm_card_visa_debit": Card("4000056655665556", funding="debit"),
    "pm_card_mastercard": Card("5555555555554444", brand="mastercard"),
    "pm_card_amex": Card("378282246310005", brand="amex"),
    "pm_card_discover": Card("6011111111111117", brand="discover"),
    "pm_card_gb": Card("4000008260000000", country="GB"),
    "pm_card_de": Card("4000002760000016", country="DE"),
    "pm_card_jp": Card("4000003920000003", country="JP"),
    "pm_card_visa_chargeDeclined": _refused("4000000000000002", "card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _refused("4000000000009995", "card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": _refused("4000000000009987", "card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": _refused("4000000000009979", "card_declined", "stolen_card"),
    "pm_card_chargeDeclinedExpiredCard": _refused("4000000000000069", "expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": _refused("4000000000000127", "incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": _refused("4000000000000119", "processing_error"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": _refused(
        "4000000000006975", "card_declined", "card_velocity_exceeded"
    ),
    "pm_card_chargeCustomerFail": Card("4000000000000341", code="card_declined", decline_code="generic_decline"),
    "pm_card_radarBlock": Card("4100000000000019", code="card_declined", decline_code="fraudulent", blocked=True),
    "pm_card_authenticationRequired": Card("4000002760003184", authentication=Authentication.ALWAYS),
    "pm_card_authenticationRequiredOnSetup": Card("4000002500003155", authentication=Authentication.UNLESS_SET_UP),
    "pm_card_authenticationRequiredSetupForOffSession": Card(
        "4000003800000446", authentication=Authentication.ON_SESSION
    ),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        "4000008260003178",
        authentication=Authentication.ALWAYS,
        code="card_declined",
        decline_code="insufficient_funds",
    ),
    "pm_card_threeDSecure2Required": Card("4000000000003220", authentication=Authentication.ALWAYS),
    "pm_card_threeDSecureOptional": Card("4000000000003055", authentication=Authentication.WHEN_ASKED),
    "pm_card_threeDSecureRequiredChargeDeclined": Card(
        "4000008400001629", authentication=Authentication.ALWAYS, code="card_declined", decline_code="generic_decline"
    ),
    "pm_card_bypassPending": Card("4000000000000077", bypasses_pending=True),
    "pm_card_bypassPendingInternational": Card("4000003720000278", country="IE", bypasses_pending=True),
    "pm_card_createDispute": Card("4000000000000259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card("4000000000002685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": Card("4000000000001976", dispute="inquiry"),
    "pm_card_createIssuerFraudRecord": Card("4000000000005423", warned=True),
    "pm_card_refundFail": Card("4000000000005126", refund="fails"),
    "pm_card_pendingRefund": Card("4000000000007726", refund="pends"),
}
CARDS["pm_card_chargeDeclined"] = CARDS["pm_card_visa_chargeDeclined"]
CARDS["pm_card_chargeDeclinedInsufficientFunds"] = CARDS["pm_card_visa_chargeDeclinedInsufficientFunds"]
BY_NUMBER = {card.number: token for token, card in reversed(list(CARDS.items()))}

MESSAGES = {
    "card_declined": "Your card was declined.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "insufficient_funds": "Your card has insufficient funds.",
}


def message(card: Card) -> str:
    """What the holder is told."""
    return MESSAGES.get(card.decline_code or "", MESSAGES[card.code or "card_declined"])
