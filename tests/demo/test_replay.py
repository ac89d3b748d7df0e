from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from marketplace.demo.replay.owners import read_owners

NODES = """sn,cpu_milli,memory_mib,gpu,model
host-a,64000,262144,2,P100
host-b,64000,262144,1,T4
"""
REQUESTS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,x
one,1,1,1,1000,,LS,Running,0,3600,0
half,1,1,1,500,P100,LS,Running,10,7210,10
none,1,1,0,0,,LS,Running,0,3600,0
both,1,1,2,1000,P100,LS,Running,20,3620,20
late,1,1,2,1000,P100,LS,Running,20000,23600,20000
never,1,1,3,1000,,LS,Running,30,3630,30
"""


@pytest.fixture
def trace(tmp_path):
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "requests.csv").write_text(REQUESTS)
    return {"nodes": tmp_path / "nodes.csv", "requests": tmp_path / "requests.csv"}


@pytest.fixture
def owners(tmp_path):
    """Two recordings of two hours: one card whose owner holds its memory throughout, one that lies idle from 0:30."""
    minutes = range(0, 7200, 60)
    duty = [f"{second},held,0" for second in minutes]
    duty += [f"{second},rests,{0 if second >= 1800 else 40}" for second in minutes]
    held = [f"{second},held,{20_000 * 2**20}" for second in minutes]
    held += [f"{second},rests,{0 if second >= 1800 else 8_000 * 2**20}" for second in minutes]
    (tmp_path / "duty.csv").write_text("timestamp,container,value\n" + "\n".join(duty))
    (tmp_path / "memory.csv").write_text("timestamp,container,value\n" + "\n".join(held))
    return {"duty": tmp_path / "duty.csv", "memory": tmp_path / "memory.csv"}


def test_a_card_is_idle_where_its_recording_is_by_the_markets_own_rule(owners, settings):
    settings.IDLE_AFTER_SECONDS = 300
    held, rests = read_owners(**owners)
    assert (held.flips, held.idle_share, held.duty) == (((0, False),), 0, 0)
    assert rests.flips == ((0, False), (2100, True))  # five minutes after its owner left
    assert [rests.is_idle(second) for second in (0, 2099, 2100, 7199, 7200, 9300)] == [0, 0, 1, 1, 0, 1]
    assert (rests.idle_share, rests.duty) == ((7200 - 2100) / 7200, 0.1)


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_only_cards_whose_owners_let_them_be_are_rented(trace, owners):
    late = "late,1,1,1,1000,,LS,Running,2400,6000,2400"
    trace["requests"].write_text("\n".join(late if line.startswith("late") else line for line in REQUESTS.splitlines()))
    out = io.StringIO()
    call_command("replay", **trace, **owners, json=True, stdout=out)
    figures = json.loads(out.getvalue())
    assert (figures["matched"], figures["why not"]) == (1, {"no_match": 4})
    assert figures["card-hours offered"] == round(3 * 7210 / 3600 * (5100 / 7200 / 2), 1)
    assert figures["utilisation before"] == "5.0 %"
    assert figures["utilisation after, reserved"] == "21.6 %"  # and one of six card-hours


@pytest.mark.parametrize("missing", ["duty", "memory"])
def test_half_a_recording_is_refused(trace, owners, missing):
    with pytest.raises(CommandError, match="name both or neither"):
        call_command("replay", **trace, **owners | {missing: None})


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_a_small_trace_is_matched_metered_and_paid(trace):
    out = io.StringIO()
    call_command("replay", nodes=trace["nodes"], requests=trace["requests"], json=True, stdout=out)
    figures = json.loads(out.getvalue())
    assert (figures["requests"], figures["asked for no GPU"]) == (5, 1)
    assert figures["matched"] == 3
    assert figures["why not"] == {"no_match": 2}
    assert figures["card-hours reserved"] == 1 + 2 + 2
    assert figures["card-hours used (× gpu_milli)"] == 1 + 1 + 2
    assert figures["highest concurrency per card"] == 1
    assert figures["ledger sum"] == 0


def test_a_trace_that_cannot_be_read_is_said_so(tmp_path):
    with pytest.raises(CommandError, match="can't be read"):
        call_command("replay", nodes=tmp_path / "no.csv", requests=tmp_path / "no.csv")
