"""What a card costs its buyer and brings its seller. Pure: integer micros, whose parts always sum to the whole.

The buyer pays item + shipping + tax, less the rent that counts. The platform's fee comes out of the seller's item
price; shipping and tax pass through to the seller, who owes the tax. Everything ends at whole coins, and what rounding
leaves over is the buyer's: a tax and a fee are rounded down, rent that counts up, and a split to the buyer's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BASIS_POINTS = 10_000
CARD_TICK_MICROS = 10_000  # the smallest coin, 0.01: a card's price is a multiple of it
TaxRate = Callable[[str, str], int]  # (ships from, ships to) → basis points of item and shipping


@dataclass(frozen=True, slots=True)
class Landed:
    """What one card costs until it is there."""

    item_micros: int
    shipping_micros: int
    tax_micros: int
    rent_credit_micros: int = 0

    @property
    def total_micros(self) -> int:
        """What the buyer pays, all in."""
        return self.item_micros - self.rent_credit_micros + self.shipping_micros + self.tax_micros


@dataclass(frozen=True, slots=True)
class Payout:
    """Where the money of a released sale goes; the parts sum to what the buyer paid."""

    seller_micros: int
    fee_micros: int
    buyer_micros: int = 0


def landed(*, item_micros: int, shipping_micros: int, tax_basis_points: int, rent_credit_micros: int = 0) -> Landed:
    """The price of one card at its door. Rent counts at most as much as the item costs."""
    credit = min(-_coins(-rent_credit_micros), item_micros)
    taxed = item_micros - credit + shipping_micros
    return Landed(item_micros, shipping_micros, _coins(taxed * tax_basis_points // BASIS_POINTS), credit)


def highest_item_micros(*, limit_micros: int, shipping_micros: int, tax_basis_points: int) -> int:
    """The highest item price, in ticks, whose landed price is within the limit; below zero when none is."""
    untaxed = ((limit_micros + 1) * BASIS_POINTS - 1) // (BASIS_POINTS + tax_basis_points)  # the tax is rounded down
    item = _coins(untaxed - shipping_micros)
    more = item + CARD_TICK_MICROS  # the tax is rounded down to a coin, which may leave room for one more
    terms = {"shipping_micros": shipping_micros, "tax_basis_points": tax_basis_points}
    return more if landed(item_micros=more, **terms).total_micros <= limit_micros else item


def payout(*, price: Landed, fee_basis_points: int, buyer_micros: int = 0) -> Payout:
    """What buyer, seller and platform get when `buyer_micros` go back, or less than a coin more.

    The fee is on what is left of the item price. What seller and platform get are whole coins; asked again with what
    the buyer got, the answer is the same.
    """
    total = price.total_micros
    assert 0 <= buyer_micros <= total, "no more can be split than is held"
    paid_item = price.item_micros - price.rent_credit_micros
    kept = _coins(total - buyer_micros)
    fee = 0 if total == 0 else _coins(paid_item * kept // total * fee_basis_points // BASIS_POINTS)
    return Payout(seller_micros=kept - fee, fee_micros=fee, buyer_micros=total - kept)


def _coins(micros: int) -> int:
    """Rounded down to whole coins."""
    return micros // CARD_TICK_MICROS * CARD_TICK_MICROS


def cancellation_credit_micros(*, item_micros: int, basis_points: int, least_micros: int) -> int:
    """What a seller who does not ship owes the buyer: a share of the price, and not less than the least."""
    return min(item_micros, max(item_micros * basis_points // BASIS_POINTS, least_micros))
