"""Shapes of wallets and statements in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.common.api import MoneyShape, PageQuery, money_json, page_shape
from marketplace.ledger.models import FIRM_KINDS, Code, Entry
from marketplace.ledger.selectors import WalletBalances


class WalletLineShape(serializers.Serializer[Any]):
    """A firm's money in one currency: free, committed to orders, earned, on its way to its bank, and disputed."""

    currency = serializers.CharField()
    available = MoneyShape()
    reserved = MoneyShape()
    earnings = MoneyShape()
    paying_out = MoneyShape()
    frozen = MoneyShape()


class WalletShape(serializers.Serializer[Any]):
    """One line per currency that the firm has used."""

    data = WalletLineShape(many=True)  # type: ignore[assignment]


class StatementQuery(PageQuery):
    """Filters of the statement; `format=csv` answers the same page as a table."""

    kind = serializers.ChoiceField(choices=sorted(FIRM_KINDS), required=False)
    currency = serializers.CharField(max_length=3, required=False)
    code = serializers.ChoiceField(choices=Code.choices, required=False)
    subject = serializers.CharField(max_length=32, required=False)
    format = serializers.ChoiceField(choices=["json", "csv"], required=False)


class StatementLineShape(serializers.Serializer[Any]):
    """One entry: what moved, why, and what the account held after it."""

    journal = serializers.CharField()
    code = serializers.ChoiceField(choices=Code.choices)
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField(choices=sorted(FIRM_KINDS))
    amount = MoneyShape()
    balance_after = MoneyShape()
    subject = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


StatementPage = page_shape("StatementPage", StatementLineShape)


def wallet_line_json(line: WalletBalances) -> dict[str, Any]:
    """One currency of a wallet."""
    return {
        "currency": line.currency,
        "available": money_json(line.available_micros, line.currency),
        "reserved": money_json(line.reserved_micros, line.currency),
        "earnings": money_json(line.earnings_micros, line.currency),
        "paying_out": money_json(line.paying_out_micros, line.currency),
        "frozen": money_json(line.frozen_micros, line.currency),
    }


def statement_line_json(entry: Entry, balance_after_micros: int) -> dict[str, Any]:
    """One line of a statement."""
    return {
        "journal": entry.journal.public_id,
        "code": entry.journal.code,
        "at": entry.journal.at,
        "kind": entry.account.kind,
        "amount": money_json(entry.amount_micros, entry.currency),
        "balance_after": money_json(balance_after_micros, entry.currency),
        "subject": entry.journal.subject,
        "data": entry.journal.data,
    }
