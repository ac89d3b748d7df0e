"""Firms that sell to somebody who stands behind both: operators hear of it before any bank does."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from marketplace.accounts.models import Firm
from marketplace.events.services import record_event
from marketplace.ledger.models import Account, AccountKind
from marketplace.payments.fraud.links import linked_firms
from marketplace.payments.fraud.models import LinkedTrade
from marketplace.payments.fraud.seasoning import payers_of


def find_linked_trades(*, now: datetime) -> int:
    """Look at every seller that is linked with somebody and was paid within the season; returns how many pairs are new.

    A pair is told of once; its earnings wait for the whole season as long as it is linked (`seasoning.py`).
    """
    earning = Account.objects.filter(kind=AccountKind.EARNINGS).order_by("pk")
    firms = Firm.objects.in_bulk(set(earning.values_list("firm_id", flat=True)))
    return sum(_look(firm, now) for _, firm in sorted(firms.items()))


def linked_trades() -> QuerySet[LinkedTrade]:
    """What operators look at, newest first."""
    return LinkedTrade.objects.select_related("buyer", "seller").order_by("-pk")


def _look(seller: Firm, now: datetime) -> int:
    linked = linked_firms(seller)
    if not linked:
        return 0
    currencies = Account.objects.filter(firm=seller, kind=AccountKind.EARNINGS).values_list("currency", flat=True)
    buyers = {payer for currency in currencies for payer in payers_of(seller, currency, now)}
    return sum(_tell(buyer, seller, linked[buyer], now) for buyer in sorted(buyers & set(linked)))


@transaction.atomic
def _tell(buyer: int, seller: Firm, evidence: list[str], now: datetime) -> bool:
    said = [each[:300] for each in evidence]
    trade, is_new = LinkedTrade.objects.get_or_create(
        buyer_id=buyer, seller=seller, defaults={"evidence": said, "found_at": now}
    )
    if is_new:
        data = {"buyer": trade.buyer.public_id, "seller": seller.public_id, "evidence": said}
        record_event(firm_id=None, type="linked_trade.found", subject=trade.public_id, data=data, now=now)
    return is_new
