"""Alice sells, Bob buys, and photos lie in a folder of the test."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from marketplace.compliance.tablefile import table_in_force
from tests.factories import NOON, fund, make_firm
from tests.hosts import Host

USD = 1_000_000


RULES = Path(__file__).parents[2] / "card_rules.yaml"


@pytest.fixture(autouse=True)
def _photos_and_rules(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(RULES)
    table_in_force.cache_clear()
    yield
    table_in_force.cache_clear()


@pytest.fixture
def deal(db):
    """A host of three cards of Alice's, and Bob with money."""
    alice, bob = make_firm("Alice"), make_firm("Bob")
    fund(bob, 10_000 * USD)
    return SimpleNamespace(alice=alice, bob=bob, host=Host(alice, NOON, count=3))
