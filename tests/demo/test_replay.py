from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

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
