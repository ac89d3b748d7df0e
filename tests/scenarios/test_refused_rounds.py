"""What becomes of a round that PostgreSQL refuses: the others trade, and the culprit gets its money back."""

from __future__ import annotations

import os

import psycopg
import pytest
from django.core.management import call_command

from marketplace.book.models import Round, Trade
from marketplace.events.models import Event
from marketplace.leases.models import Lease
from marketplace.ledger.selectors import wallet_balances
from marketplace.matching.rounds import run_round
from marketplace.orders.models import Order
from nodes.models import Claim
from tests.conftest import TEST_DATABASE
from tests.factories import fund, make_firm
from tests.market import USD, Market

pytestmark = pytest.mark.django_db(transaction=True)
POISON_SECONDS = 7_777

# A sequence is not rolled back with the round, so it counts the refusals.
REFUSE = """
CREATE SEQUENCE refusals;
GRANT USAGE ON SEQUENCE refusals TO PUBLIC;
CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.duration_seconds = {poison} AND nextval('refusals') <= {times} THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_poison BEFORE INSERT ON leases_lease FOR EACH ROW EXECUTE FUNCTION refuse_poison();
"""
FORGIVE = "DROP TRIGGER refuse_poison ON leases_lease; DROP FUNCTION refuse_poison; DROP SEQUENCE refusals"


@pytest.fixture
def refusing(request, transactional_db):
    """PostgreSQL refuses the lease of the poisoned order as often and for what the test asks."""
    times, code = request.param
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE, autocommit=True) as owner:
        owner.execute(REFUSE.format(poison=POISON_SECONDS, times=times, code=code))
        yield
        owner.execute(FORGIVE)


@pytest.fixture
def waiting(frozen):
    """Two orders that wait for the same round, Bob's poisoned and Carol's not."""
    market = Market(frozen)
    carol = make_firm("Carol")
    fund(carol, 100 * USD)
    host = market.host(count=2)
    for client, seconds in ((market.buyer, POISON_SECONDS), (market.client(carol), 36_000)):
        assert market.order(client, duration_seconds=seconds, time_in_force="gtc").status_code == 201
    market.list_cards_without_round(host)
    return market, carol


@pytest.mark.parametrize("refusing", [(1_000, "check_violation"), (1_000, "numeric_value_out_of_range")], indirect=True)
def test_the_culprit_is_rejected_and_the_other_trades(refusing, waiting):
    market, carol = waiting
    run_round(now=market.clock.now())
    poisoned, good = Order.objects.order_by("pk")
    assert (poisoned.state, poisoned.end_reason) == ("rejected", "not_matchable")
    assert good.state == "filled"
    assert Lease.objects.get().buyer == carol
    assert (Claim.objects.count(), Trade.objects.count()) == (1, 1)
    (bobs,) = wallet_balances(market.bob)
    assert (bobs.available_micros, bobs.reserved_micros) == (100 * USD, 0)
    assert Event.objects.filter(firm_id=market.bob.pk, type="order.rejected", subject=poisoned.public_id).exists()
    call_command("audit_ledger", verbosity=0)
    call_command("audit_escrow", verbosity=0)


@pytest.mark.parametrize("refusing", [(1, "check_violation")], indirect=True)
def test_what_passes_at_the_second_try_rejects_nobody(refusing, waiting):
    market, _ = waiting
    rounds = Round.objects.count()
    run_round(now=market.clock.now())
    assert [order.state for order in Order.objects.all()] == ["filled", "filled"]
    assert (Lease.objects.count(), Claim.objects.count()) == (2, 2)
    assert Round.objects.count() == rounds + 1  # nothing of the refused one is left
    call_command("audit_ledger", verbosity=0)
    call_command("audit_escrow", verbosity=0)
