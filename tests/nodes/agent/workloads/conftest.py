from __future__ import annotations

from tests.nodes.relay.conftest import echo, limits, relay

__all__ = ["echo", "limits", "relay"]
