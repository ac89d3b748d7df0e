"""Measures the cards of this machine without a market: each passport, and what a market would find in it.

For a machine that has a card, its driver and nothing else. It goes through the code of `fallow-agent measure`, with a
challenge of its own and a key that nobody keeps. Needs Python 3.11, nvidia-ml-py and PyNaCl; products need cuBLAS too.
A machine without a network gets them in a folder that is made elsewhere, for its version of Python:

    pip install --target .local/gpu --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 \
        nvidia-ml-py PyNaCl nvidia-cublas-cu12
    PYTHONPATH=.local/gpu python3 -m tests.gpu.passport --quick --out passports

Leave cuBLAS out where the machine has one: it is 600 MB. The status is 0 when every card was measured in full and
nothing but notes was found, a guest's `virtualised` aside; 1 when not; 2 when there is nothing to measure.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pynvml
from nacl.signing import SigningKey

from marketplace.catalogue.recognition import FactoryModel, Kind, match_card
from nodes.agent.identity import card_identity
from nodes.agent.measure.command import check_free, open_bench
from nodes.agent.measure.document import Bench, cards_of_host, found_card, measure
from nodes.agent.passport import BODY_PREFIX, Challenge, SignedChallenge, parse_canonical
from nodes.agent.protocol import encode
from nodes.agent.state import StateError
from nodes.passports.findings import MEASURED, Code, Finding, Severity, findings, function_grade, tier
from nodes.passports.rows import CatalogueRow
from tests.nodes.passports.bodies import MODELS, OTHER_NAMES, row_from

NODE = "node_gpu"
ALONE = frozenset({Code.VIRTUALISED, Code.SIMULATED})  # what a machine like this may have against it


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.passport", description=__doc__.split("\n")[0])
    parser.add_argument("--card", metavar="UUID", help="one card; every card by default")
    parser.add_argument("--quick", action="store_true", help="three minutes a card in place of twenty")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where each passport's body goes, as JSON")
    parser.add_argument("--fleet", type=Path, metavar="FILE", help="a scripted fleet in place of this machine")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        bench = open_bench(options.fleet, Path(folder), NODE, SigningKey.generate(), is_quick=options.quick, say=_say)
        if bench.cuda is None:
            _say(f"CUDA: {bench.why_not}")
        try:
            pynvml.nvmlInit()
            cards = [options.card] if options.card else list(cards_of_host())
        except pynvml.NVMLError as error:
            _say(f"no driver: {error}")
            return 2
        good = [_is_good(bench, uuid, options.out) for uuid in cards]
    return 2 if not good else 0 if all(good) else 1


def _is_good(bench: Bench, uuid: str, out: Path | None) -> bool:
    try:
        check_free(uuid)
        row = _row(uuid)
        body = _measured(bench, uuid)
    except (StateError, pynvml.NVMLError) as error:
        _say(f"{uuid}: {error}")
        return False
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{uuid}.json").write_text(json.dumps(body, indent=1))
    found = findings(row, body)
    _show(row, body, found)
    grave = [each for each in found if each.severity is not Severity.NOTE and each.code not in ALONE]
    return tier(body) == MEASURED and not grave


def _measured(bench: Bench, uuid: str) -> dict[str, Any]:
    """The body as a market would take it: signed by this node, canonical, and an answer to the challenge."""
    nonce = secrets.token_hex(32)
    challenge = Challenge(NODE, uuid, "seller", "", nonce, 1, "", "", "")
    post = measure(bench, uuid, SignedChallenge(encode(challenge).decode(), ""))
    bench.key.verify_key.verify(BODY_PREFIX + post.body.encode(), base64.b64decode(post.signature))
    body = parse_canonical(post.body)
    assert body["nonce"] == nonce
    return body


def _row(uuid: str) -> CatalogueRow:
    """The catalogue's row as a market picks it for the card's inventory."""
    models = [
        FactoryModel(
            each.slug,
            (each.name, *OTHER_NAMES.get(each.slug, [])),
            frozenset(each.pci_device_ids),
            each.memory_sizes_mib,
            each.nvml_totals_mib,
        )
        for each in MODELS.values()
    ]
    index, handle = found_card(uuid)
    found = match_card(card_identity(index, handle, uuid, None), models)
    return (
        CatalogueRow(found.slug, (), is_listed=False) if found.kind is Kind.UNLISTED else row_from(MODELS[found.slug])
    )


def _show(row: CatalogueRow, body: dict[str, Any], found: Sequence[Finding]) -> None:
    _say(json.dumps(body, indent=1))
    for each in found:
        _say(f"{each.severity.value}: {each.code.value} {json.dumps(dict(each.evidence))}")
    for name, test in body["tests"].items():
        if "skipped" in test:
            _say(f"{name} did not run: {test['skipped']}")
    _say(f"{row.slug}: {tier(body)}, grade {function_grade(found, body)}, {len(found)} findings")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
