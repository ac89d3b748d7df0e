"""The manual wire: the firm pays to a bank account, an operator sees the money and confirms."""

from __future__ import annotations

from django.conf import settings

from marketplace.common.money import format_micros
from marketplace.payments.gateway import (
    Capabilities,
    DepositRequest,
    GatewayError,
    Instructions,
    Order,
    Receipt,
    Trouble,
)
from marketplace.payments.stripe_gateway.coins import places_of, tick_micros


class WireGateway:
    """Needs no service of anybody's, so it is always there."""

    name = "wire"

    def capabilities(self) -> Capabilities:
        """Every currency of the market, in its own coins."""
        ticks = {currency: tick_micros(currency) for currency in settings.CURRENCIES}
        return Capabilities(ticks_micros=ticks, confirmed_by_operator=True)

    def start_deposit(self, request: DepositRequest) -> Instructions:
        """The transfer form; the reference tells the operator whose money it is."""
        details = (
            ("account_holder", settings.WIRE_ACCOUNT_HOLDER),
            ("iban", settings.WIRE_ACCOUNTS.get(request.currency, settings.WIRE_IBAN)),
            ("bic", settings.WIRE_BIC),
            ("amount", f"{format_micros(request.amount_micros, places_of(request.currency))} {request.currency}"),
            ("reference", request.reference),
        )
        return Instructions(
            summary="Send one transfer with exactly this reference; an operator confirms it when it has arrived.",
            details=tuple((label, value) for label, value in details if value),
        )

    def perform(self, order: Order) -> Receipt:
        """Nothing is done by a machine; raises GatewayError."""
        raise GatewayError(Trouble.FINAL, f"a wire knows no {order.operation}", code="not_supported")

    def find(self, order: Order) -> Receipt | None:
        """Nothing was ever done."""
        return None
