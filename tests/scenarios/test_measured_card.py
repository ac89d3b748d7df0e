"""`fallow-agent measure` as an owner calls it, on a scripted fleet, against the real server."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from marketplace.common import clock
from nodes.agent import simulator
from nodes.agent.__main__ import main
from nodes.models import Card, Node, Passport
from nodes.services.enrolment import create_enrolment_token
from nodes.services.inventory import record_inventory
from tests.factories import api_of, make_firm
from tests.nodes.builders import card_identity, make_inventory

pytestmark = pytest.mark.django_db(transaction=True)

CARD = {"name": "NVIDIA GeForce RTX 4090", "vbios": "95.02.3c.00.01"}


@pytest.fixture
def firm():
    return make_firm("Alice")


@pytest.fixture
def host(firm, live_server, tmp_path, monkeypatch, settings):
    """A host that is enrolled: write its fleet, then call the agent."""
    settings.PUBLIC_URL = settings.REPORTS_URL = live_server.url
    settings.SIMULATED_CARDS_COUNT = True
    for name, value in {
        "FALLOW_STATE_DIR": tmp_path / "state",
        "FALLOW_CONFIG_DIR": tmp_path / "config",
        "FALLOW_SIMULATOR": tmp_path / "fleet.json",
        "FALLOW_RUNTIME": "none",
    }.items():
        monkeypatch.setenv(name, str(value))
    now = clock.now()
    _, token = create_enrolment_token(firm=firm, name="t", uses=1, expires_at=now + timedelta(hours=1), now=now)

    def call(*arguments, others=(), **card):
        fleet = {"cards": [CARD | card, *(CARD | other for other in others)]}
        (tmp_path / "fleet.json").write_text(json.dumps(fleet))
        return main(arguments)

    assert call("enrol", "--server", live_server.url, "--token", token) == 0
    yield call
    simulator.remove()


def test_a_card_is_measured_and_measured_again(host, firm, capsys):
    assert host("measure", "--quick") == 0
    assert host("measure", "--quick", "--role", "buyer", "--sale", "sale_1") == 0
    said = capsys.readouterr().out
    first, second = Passport.objects.order_by("seq")
    assert f"{first.public_id}, measured, grade F1" in said and "findings: simulated (note)" in said
    assert (second.role, second.subject, second.prev_sha256) == ("buyer", "sale_1", first.sha256)
    assert Card.objects.get().tier == "measured"
    address = f"/api/v1/cards/{Card.objects.get().public_id}/passport/"
    assert api_of(firm).get(address).json()["passport"]["id"] == second.public_id


def test_a_spoof_is_told_to_its_owner(host, capsys):
    assert host("measure", "--quick", hardware={"pci_device": "10de:2685"}) == 0
    said = capsys.readouterr().out
    assert "grade FX" in said and "views_disagree (disqualifying)" in said
    assert Card.objects.get().tier == "declared"


def test_a_card_at_work_and_a_card_that_is_not_there_are_left_alone(host, capsys):
    assert host("measure", processes=[{"pid": 7, "mib": 400}]) == 1
    assert host("measure", processes=[{"pid": 7, "kind": "G", "mib": 4000}]) == 1
    assert host("measure", "--card", "GPU-0") == 1
    said = capsys.readouterr().err
    assert "is at work" in said and "has no card GPU-0" in said
    assert not Passport.objects.exists()


def test_one_card_that_can_not_be_measured_stops_no_other(host, firm, live_server, capsys):
    second = {"uuid": "GPU-00000000-0000-4000-8000-000000000002"}
    node = Node.objects.get()
    record_inventory(
        node_public_id=node.public_id,
        inventory=make_inventory(*(card_identity(uuid) for uuid in (Card.objects.get().uuid, second["uuid"]))),
        now=clock.now(),
    )
    assert host("measure", "--quick", processes=[{"pid": 7, "mib": 400}], others=[second]) == 1
    said = capsys.readouterr()
    assert "is at work" in said.err and f"{second['uuid']}: pas_" in said.out
    assert Passport.objects.get().card.uuid == second["uuid"]
    assert host("measure", "--quick", "--role", "lab", others=[second]) == 1
    assert capsys.readouterr().err.count("the server answered 403") == 2


OTHER = "GPU-00000000-0000-4000-8000-000000000002"


def test_who_measures_for_a_sale_names_the_card(host, capsys):
    """Another card of his host would be taken for what came in the box."""
    assert host("measure", "--quick", "--role", "buyer", "--sale", "sale_1", others=[{"uuid": OTHER}]) == 1
    assert f"say with --card which of these the sale is about: {Card.objects.get().uuid}, {OTHER}" in (
        capsys.readouterr().err
    )
    assert not Passport.objects.exists()
    assert (
        host("measure", "--quick", "--sale", "sale_1", "--card", Card.objects.get().uuid, others=[{"uuid": OTHER}]) == 0
    )


def test_a_broken_card_stops_no_other(host, capsys):
    assert host("measure", "--quick", others=[{"uuid": OTHER, "lost": 2}]) == 1
    assert Passport.objects.get().function_grade == "F1"
    assert "does not answer" in capsys.readouterr().err
    assert host("measure", "--quick", "--card", Card.objects.get().uuid, others=[{"uuid": OTHER, "lost": 2}]) == 0
    assert host("measure", "--quick", lost=2) == 1
    assert "no card that answers" in capsys.readouterr().err
