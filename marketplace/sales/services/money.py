"""The money of bids and sales: every move is a journal, and repeating one changes nothing."""

from __future__ import annotations

from datetime import datetime

from marketplace.accounts.models import Firm
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for, lock_accounts
from marketplace.ledger.services import Leg, post
from marketplace.sales.models import CardBid, Sale
from marketplace.sales.pricing import payout


def set_bid_escrow(*, bid: CardBid, needed_micros: int, ref: str, now: datetime) -> None:
    """Move what is missing from the wallet into the bid's escrow, or what is too much back."""
    wallet, escrow = _wallet(bid.firm, bid.currency), _escrow(bid.firm, bid.currency, bid.public_id)
    lock_accounts([wallet.pk, escrow.pk])
    escrow.refresh_from_db()
    more = needed_micros - escrow.balance_micros
    code = Code.CARD_ESCROW if more > 0 else Code.CARD_REFUND
    post(ref=ref, code=code, legs=[Leg(wallet, -more), Leg(escrow, more)], subject=bid.public_id, now=now)


def move_into_sale(*, bid: CardBid, sale: Sale, now: datetime) -> None:
    """The price of one card goes from the bid's escrow into the sale's; what it is better than the limit returns."""
    price = sale.price.total_micros
    legs = [
        Leg(_escrow(bid.firm, bid.currency, bid.public_id), -bid.limit_micros),
        Leg(_escrow(bid.firm, bid.currency, sale.public_id), price),
        Leg(_wallet(bid.firm, bid.currency), bid.limit_micros - price),
    ]
    post(ref=f"agree:{sale.public_id}", code=Code.CARD_ESCROW, legs=legs, subject=sale.public_id, now=now)


def close_sale_escrow(*, sale: Sale, refund_micros: int, now: datetime) -> int:
    """Everything that the sale holds: `refund_micros` to the buyer, the rest to seller and platform in whole coins.

    Returns what the buyer got: less than a coin more than that, when there was no other way.
    """
    paid = payout(price=sale.price, fee_basis_points=sale.fee_basis_points, buyer_micros=refund_micros)
    is_refund = paid.buyer_micros == sale.price.total_micros
    post(
        ref=f"sale:{sale.public_id}",
        code=Code.CARD_REFUND if is_refund else Code.CARD_SALE,
        legs=[
            Leg(_escrow(sale.buyer, sale.currency, sale.public_id), -sale.price.total_micros),
            Leg(_wallet(sale.buyer, sale.currency), paid.buyer_micros),
            Leg(account_for(firm=sale.seller, kind=AccountKind.EARNINGS, currency=sale.currency), paid.seller_micros),
            Leg(account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency=sale.currency), paid.fee_micros),
        ],
        subject=sale.public_id,
        now=now,
    )
    return paid.buyer_micros


def lock_all(sale: Sale) -> None:
    """Lock every account of both sides that the end of a sale can touch, in one order for everybody."""
    lock_accounts(
        account.pk
        for account in (
            _escrow(sale.buyer, sale.currency, sale.public_id),
            _wallet(sale.buyer, sale.currency),
            _wallet(sale.seller, sale.currency),
            account_for(firm=sale.seller, kind=AccountKind.EARNINGS, currency=sale.currency),
        )
    )


def pay_credit(*, sale: Sale, now: datetime) -> int:
    """Pay what the seller owes the buyer, from earnings first and then the wallet, as far as they go.

    Call it with the sale locked; returns what was paid now. The rest stays owed and is asked for again.
    """
    owed = sale.credit_micros - sale.credit_paid_micros
    earnings = account_for(firm=sale.seller, kind=AccountKind.EARNINGS, currency=sale.currency)
    wallet, buyers = _wallet(sale.seller, sale.currency), _wallet(sale.buyer, sale.currency)
    lock_accounts([earnings.pk, wallet.pk, buyers.pk])
    earnings.refresh_from_db()
    wallet.refresh_from_db()
    first = min(owed, earnings.balance_micros)
    second = min(owed - first, wallet.balance_micros)
    paid = first + second
    if paid <= 0:
        return 0
    post(
        ref=f"credit:{sale.public_id}:{sale.credit_paid_micros + paid}",
        code=Code.CANCELLATION_CREDIT,
        legs=[Leg(earnings, -first), Leg(wallet, -second), Leg(buyers, paid)],
        subject=sale.public_id,
        now=now,
    )
    sale.credit_paid_micros += paid
    sale.save(update_fields=["credit_paid_micros"])
    return paid


def _wallet(firm: Firm, currency: str) -> Account:
    return account_for(firm=firm, kind=AccountKind.WALLET, currency=currency)


def _escrow(firm: Firm, currency: str, ref: str) -> Account:
    return account_for(firm=firm, kind=AccountKind.ESCROW, currency=currency, ref=ref)
