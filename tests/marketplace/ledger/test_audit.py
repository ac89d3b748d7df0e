"""The audit finds what PostgreSQL would never have let in: planted by the owner, with the guards off."""

from __future__ import annotations

import io
import os

import psycopg
import pytest
from django.core.management import CommandError, call_command

from marketplace.ledger.snapshots import take_snapshots
from tests.conftest import TEST_DATABASE
from tests.factories import NOON, fund, make_firm, make_person

PLANTS = {
    "balances that differ": "UPDATE ledger_account SET balance_micros = balance_micros + 1 WHERE is_running",
    "do not sum to zero": "UPDATE ledger_entry SET amount_micros = amount_micros + 1 WHERE amount_micros > 0",
    "fewer than two entries": "DELETE FROM ledger_entry WHERE amount_micros > 0",
    "in another currency": "UPDATE ledger_entry SET currency = 'EUR'",
    "snapshots that differ": "UPDATE ledger_snapshot SET balance_micros = balance_micros + 1",
    "closed time and came after": """
        INSERT INTO ledger_periodlock (public_id, closed_until, through_entry, reason, operator_id, at)
        SELECT 'lck_x', '2026-12-01', 0, '', id, '2026-12-02' FROM accounts_user
    """,
}
TABLES = ("ledger_entry", "ledger_account", "ledger_snapshot", "ledger_periodlock")


def audit():
    out = io.StringIO()
    try:
        call_command("audit_ledger", stdout=out)
    except CommandError:
        return False, out.getvalue()
    return True, out.getvalue()


def plant(statement):
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        assert owner.execute(statement).rowcount
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.mark.django_db(transaction=True)
def test_an_honest_ledger_is_clean():
    fund(make_firm(), 5_000_000)
    clean, text = audit()
    assert clean
    assert "USD: 2 entries, sum 0" in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("finding", PLANTS)
def test_it_finds_a_planted_difference(finding):
    make_person(is_operator=True)
    fund(make_firm(), 5_000_000)
    take_snapshots(now=NOON, least=1)
    plant(PLANTS[finding])
    clean, text = audit()
    assert not clean
    assert finding in text
