"""The operator's command for cards and nodes that nobody can believe yet."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from marketplace.accounts.services import create_user
from nodes.models import Card, IdentityChange, IdentityConflict
from nodes.selectors import is_blocked
from nodes.states import NodeState
from tests.factories import NOON
from tests.nodes.passports.measuring import Measurer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]
OPERATOR = "op@fallow.example"


def decide(*arguments, operator=OPERATOR):
    out = io.StringIO()
    call_command("decide_identity", *arguments, "--operator", operator, stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def operator():
    return create_user(email=OPERATOR, password="correct horse battery", is_operator=True)


def test_what_waits_is_listed_and_decided(operator):
    assert decide() == "nothing waits"
    host = Measurer(NOON)
    clone = Measurer(NOON, uuid=host.uuid)
    host.report(NOON, serial="1")
    host.report(NOON, serial="2")
    conflict, change = IdentityConflict.objects.get(), IdentityChange.objects.get()
    listed = decide()
    for words in (conflict.public_id, change.public_id, "serial 1 → 2", clone.node.public_id, host.uuid):
        assert words in listed, words
    with pytest.raises(CommandError, match="first"):
        decide(clone.node.public_id, "release")
    decide(conflict.public_id, "keep")
    decide(change.public_id, "accept")
    decide(clone.node.public_id, "release")
    clone.node.refresh_from_db()
    assert (clone.node.state, Card.objects.get().node) == (NodeState.PENDING, host.node)
    assert not is_blocked(Card.objects.get())
    assert decide() == "nothing waits"
    with pytest.raises(CommandError, match="resolved"):
        decide(conflict.public_id, "keep")


@pytest.mark.parametrize("arguments", [("idc_0", "keep"), ("node_0", "accept"), ("ich_0",)])
def test_what_there_is_not_is_not_decided(operator, arguments):
    with pytest.raises(CommandError, match="nothing to"):
        decide(*arguments)


def test_only_an_operator_decides(operator):
    create_user(email="someone@fallow.example", password="correct horse battery")
    for email in ("someone@fallow.example", "", "nobody@fallow.example"):
        with pytest.raises(CommandError, match="--operator"):
            decide("idc_0", "keep", operator=email)
