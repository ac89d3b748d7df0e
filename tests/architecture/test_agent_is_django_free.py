"""The agent runs on hosts that have no Django."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADED = "import sys, nodes.agent.protocol; print([m for m in sys.modules if m.split('.')[0] in {'django', 'celery'}])"


def test_the_wire_contract_loads_nothing_of_the_server():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
