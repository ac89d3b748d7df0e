"""Shapes of payouts and bank details in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from rest_framework import serializers

from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json, page_shape
from marketplace.payments.models import BankDetails, Payout
from marketplace.payments.payouts.selectors import Terms
from marketplace.payments.payouts.states import PayoutState


class PayoutRequestShape(StrictSerializer):
    """The body of POST /payouts/."""

    amount = MicrosField()
    currency = serializers.ChoiceField(choices=settings.CURRENCIES)


class PayoutQuery(PageQuery):
    """Filters of the list."""

    state = serializers.ChoiceField(choices=PayoutState.choices, required=False)


class PayoutShape(serializers.Serializer[Any]):
    """A payout in an answer; `account` is what may be seen of the bank account, `reference` is on its statement."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=PayoutState.choices)
    reason = serializers.CharField(help_text="why it failed; empty otherwise")
    amount = MoneyShape()
    account = serializers.CharField()
    reference = serializers.CharField()
    is_automatic = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class PayoutTermsLineShape(serializers.Serializer[Any]):
    """What can be asked for in one currency: what was earned, less what is not cleared, held and unseasoned."""

    currency = serializers.CharField()
    earnings = MoneyShape()
    uncleared = MoneyShape()
    held = MoneyShape()
    unseasoned = MoneyShape(help_text="paid with cards not yet seasoned")
    unseasoned_until = serializers.DateTimeField(allow_null=True, help_text="when all of that is free")
    free = MoneyShape()
    minimum = MoneyShape()


class PayoutTermsShape(serializers.Serializer[Any]):
    """One line per currency in which the firm has earned something."""

    data = PayoutTermsLineShape(many=True)  # type: ignore[assignment]


class BankDetailsRequestShape(StrictSerializer):
    """The body of POST /bank-details/. The password is the caller's own."""

    holder = serializers.CharField(max_length=70)
    account = serializers.CharField(max_length=60)
    bic = serializers.CharField(max_length=16, required=False, allow_blank=True, default="")
    password = serializers.CharField(max_length=200, write_only=True, trim_whitespace=False)


class BankDetailsShape(serializers.Serializer[Any]):
    """A bank account of the firm, masked."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=["held", "named", "withdrawn"])
    holder = serializers.CharField()
    account = serializers.CharField()
    bic = serializers.CharField()
    created_at = serializers.DateTimeField()
    usable_at = serializers.DateTimeField()


PayoutPage = page_shape("PayoutPage", PayoutShape)
BankDetailsPage = page_shape("BankDetailsPage", BankDetailsShape)


def payout_json(payout: Payout) -> dict[str, Any]:
    """A payout as the API shows it."""
    return {
        "id": payout.public_id,
        "state": payout.state,
        "reason": payout.reason,
        "amount": money_json(payout.amount_micros, payout.currency),
        "account": payout.bank_details.hint,
        "reference": payout.reference,
        "is_automatic": bool(payout.week),
        "created_at": payout.created_at,
        "sent_at": payout.sent_at,
        "closed_at": payout.closed_at,
    }


def terms_json(terms: Terms) -> dict[str, Any]:
    """One currency's terms."""
    amounts = {
        "earnings": terms.free.earnings_micros,
        "uncleared": terms.free.uncleared_micros,
        "held": terms.free.held_micros,
        "unseasoned": terms.free.unseasoned_micros,
        "free": terms.free.free_micros,
        "minimum": terms.minimum_micros,
    }
    shown = {name: money_json(micros, terms.currency) for name, micros in amounts.items()}
    return {"currency": terms.currency, "unseasoned_until": terms.unseasoned_until} | shown


def bank_details_json(details: BankDetails, now: datetime) -> dict[str, Any]:
    """A bank account as the API shows it; of those that are named, the newest is in force."""
    state = "withdrawn" if details.withdrawn_at else "held" if details.usable_at > now else "named"
    return {
        "id": details.public_id,
        "state": state,
        "holder": details.holder,
        "account": details.hint,
        "bic": details.bic,
        "created_at": details.created_at,
        "usable_at": details.usable_at,
    }
