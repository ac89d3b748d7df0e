"""The manual wire: firms pay to a bank account, and the bank's statements say what came."""

from marketplace.payments.wire.gateway import WireGateway

__all__ = ["WireGateway"]
