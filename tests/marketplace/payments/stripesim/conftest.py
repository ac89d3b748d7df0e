"""The simulator's fixtures, which any other conftest can import as well."""

from __future__ import annotations

from tests.stripesim import client, pay, receiver, seller, stripesim

__all__ = ["client", "pay", "receiver", "seller", "stripesim"]
