"""Who may do what: roles of people and scopes of keys are both sets of permissions."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    """What a view asks for."""

    READ = "read", "Read"
    TRADE = "trade", "Orders, leases and listings"
    FLEET = "fleet", "Nodes, cards and listings"
    FINANCE = "finance", "Deposits, payouts and statements"
    ADMIN = "admin", "Members and API keys"


class Role(models.TextChoices):
    """A member's role in a firm."""

    OWNER = "owner", "Owner"
    TRADER = "trader", "Trader"
    FLEET = "fleet", "Fleet"
    FINANCE = "finance", "Finance"
    VIEWER = "viewer", "Viewer"


ROLE_SCOPES: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset(Scope.values),
    Role.TRADER: frozenset({Scope.READ, Scope.TRADE}),
    Role.FLEET: frozenset({Scope.READ, Scope.FLEET}),
    Role.FINANCE: frozenset({Scope.READ, Scope.FINANCE}),
    Role.VIEWER: frozenset({Scope.READ}),
}
