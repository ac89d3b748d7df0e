"""Hands the card of a sale over, as a carrier and two people with screwdrivers do: `-m marketplace.demo.parcel SALE`.

The card leaves the seller's scripted host, turns up in the buyer's, and the buyer's agent measures it for the sale;
`--swapped` puts another card of the same kind into the box, `--back` is the way back, measured by the seller. Needs a
running demo and a sale of the demo's buyer that is on its way.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketplace.demo.cards import Api
from marketplace.demo.fleet import CardKind, home_of, move, moves
from marketplace.demo.host import measure, power_cycle
from marketplace.demo.processes import wait_until

BUYERS_HOST = "wren-1"
APPEAR_SECONDS = 60
FLEET_SECONDS = 4  # until the scripted fleet is written anew
RESTART_SECONDS = 20  # until the host's agent runs again and has sent what is in the machine now
ON_ITS_WAY = {False: ("shipped", "received", "inspecting"), True: ("returning",)}


class Lost(Exception):
    """The parcel can't be delivered; the text says why."""


@dataclass(frozen=True)
class Parcel:
    """The sold card, and the other one of its kind that a cheat would send; both by UUID."""

    sale: str
    sold: str
    other: str
    kind: CardKind
    seller_host: str


def pack(sale: str, api: Api, sellers: list[Api], *, back: bool) -> Parcel:
    """The parcel of a sale; raises Lost when there is no such sale, or it is not on its way."""
    found = api.call("GET", f"/api/v1/sales/{sale}/")
    if found.get("state") not in ON_ITS_WAY[back]:
        raise Lost(f"{sale}: {found.get('detail') or found.get('state')}; it must be {' or '.join(ON_ITS_WAY[back])}")
    sold = _uuid_of(found["card"], [*sellers, api])
    host = home_of(sold)
    kind = next(kind for index, kind in enumerate(host.cards) if host.uuid(index) == sold)
    other = f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{sale}.swapped.demo.test')}"
    return Parcel(sale, sold, other, kind, host.name)


def unplug(parcel: Parcel, data_dir: Path) -> None:
    """Whichever of the two cards is in a host leaves it."""
    for each in (parcel.sold, parcel.other):
        if each == parcel.sold or each in moves(data_dir):
            move(data_dir, each, parcel.kind, to="")


def deliver(parcel: Parcel, data_dir: Path, seller: Api, buyer: Api, *, is_swapped: bool) -> str:
    """To the buyer, who measures what is in the box; the agent's own words."""
    in_the_box = parcel.other if is_swapped else parcel.sold
    _take_out(parcel, data_dir, parcel.seller_host, seller)
    move(data_dir, in_the_box, parcel.kind, to=BUYERS_HOST)
    return _measured(parcel, data_dir, BUYERS_HOST, in_the_box, "buyer", buyer)


def return_it(parcel: Parcel, data_dir: Path, seller: Api, buyer: Api) -> str:
    """Back to the seller, who measures the card that was sold."""
    _take_out(parcel, data_dir, BUYERS_HOST, buyer)
    move(data_dir, parcel.sold, parcel.kind, to=parcel.seller_host)
    return _measured(parcel, data_dir, parcel.seller_host, parcel.sold, "seller", seller)


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.demo.parcel", description=__doc__)
    parser.add_argument("sale", help="its public id, sale_…")
    parser.add_argument("--data", type=Path, default=Path(".local"), help="the demo's folder")
    parser.add_argument("--swapped", action="store_true", help="another card of the same kind is in the box")
    parser.add_argument("--back", action="store_true", help="the way back to the seller")
    asked = parser.parse_args(arguments)
    try:
        print(_hand_over(asked))
    except (Lost, OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _hand_over(asked: argparse.Namespace) -> str:
    data_dir = asked.data.resolve()
    summary = json.loads((data_dir / "demo.json").read_text())
    apis = {key: Api(summary["url"], login["api_key"]) for key, login in summary.items() if key != "url"}
    sellers = [apis[key] for key in ("seller", "kestrel", "heron")]
    parcel = pack(asked.sale, apis["buyer"], sellers, back=asked.back)
    seller = apis[home_of(parcel.sold).seller]
    if asked.back:
        return return_it(parcel, data_dir, seller, apis["buyer"])
    return deliver(parcel, data_dir, seller, apis["buyer"], is_swapped=asked.swapped)


def _take_out(parcel: Parcel, data_dir: Path, host: str, holder: Api) -> None:
    """A card that its old host still names would be in two places, and its newcomer quarantined."""
    unplug(parcel, data_dir)
    time.sleep(FLEET_SECONDS)
    power_cycle(data_dir, host)
    time.sleep(RESTART_SECONDS)
    if not wait_until(lambda: not {parcel.sold, parcel.other} & _present(holder), seconds=APPEAR_SECONDS):
        raise Lost(f"{host} still reports the card after {APPEAR_SECONDS} s")


def _measured(parcel: Parcel, data_dir: Path, host: str, card: str, role: str, owner: Api) -> str:
    if not wait_until(lambda: card in _present(owner), seconds=APPEAR_SECONDS):
        raise Lost(f"{host} did not report {card} within {APPEAR_SECONDS} s")
    done = measure(data_dir, host, card, "--role", role, "--sale", parcel.sale)
    if done.returncode:
        raise Lost(f"{host} could not measure: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _uuid_of(card: str, firms: list[Api]) -> str:
    """Only its own firm sees the UUID of a card."""
    for api in firms:
        for each in _cards(api):
            if each["id"] == card:
                return str(each["uuid"])
    raise Lost(f"no firm of the demo has the card {card}")


def _present(api: Api) -> set[str]:
    return {card["uuid"] for card in _cards(api) if card["availability"] != "lost"}


def _cards(api: Api) -> list[dict[str, Any]]:
    nodes = api.call("GET", "/api/v1/nodes/?limit=100").get("data", [])
    return [card for node in nodes for card in node["cards"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
