"""The demo's card market: hosts measure cards, their firms list them through the API, and the bot leaves bids.

Run as `-m marketplace.demo.cards DATA_DIR URL PEOPLE_FILE`. Every card is played and its passport says so; only a demo
lists such cards. What is there already stays as it is.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from marketplace.common.money import format_micros, parse_micros
from marketplace.demo.fleet import cards_at, host_named
from marketplace.demo.host import measure
from marketplace.sales.pricing import CARD_TICK_MICROS

log = logging.getLogger(__name__)
LOOK_AGAIN_SECONDS = 10.0
BID_BELOW_PERCENT = 80
ADDRESS = "1 Demo Street, nowhere: a demo ships nothing"


@dataclass(frozen=True)
class ForSale:
    """Cards of one host by their places, and what their firm asks."""

    host: str
    places: tuple[int, ...]
    ask: str
    ships_from: str
    flags: tuple[str, ...] = ()


SHOP = (
    ForSale("kestrel-1", (0, 1), "1450.00", "DE", ("repasted",)),
    ForSale("kestrel-2", (1,), "3900.00", "DE", ("memory_mod", "blower_swap", "no_warranty")),
    ForSale("heron-3", (0,), "1390.00", "SG", ("ex_mining_declared",)),
)


class Api:
    """The exchange as a firm with a key sees it."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JSON request; a refusal is logged and comes back as its problem."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, path, data, "application/json")

    def upload(self, path: str, kind: str, photo: bytes) -> dict[str, Any]:
        """A photo as a form."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="kind"\r\n\r\n{kind}\r\n--{edge}\r\n'
        head += 'Content-Disposition: form-data; name="file"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        body = head.encode() + photo + f"\r\n--{edge}--\r\n".encode()
        return self._send("POST", path, body, f"multipart/form-data; boundary={edge}")

    def _send(self, method: str, path: str, data: bytes | None, content_type: str) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": content_type,
            "Idempotency-Key": str(uuid.uuid4()),
        }
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own URL
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as refusal:
            found = json.load(refusal)
            log.warning("%s %s: %s", method, path, found.get("detail"))
        return found


def drawing(title: str, code: str) -> bytes:
    """A picture that stands for a photo: a card and, where there is one, the paper with the code."""
    image = Image.new("RGB", (1200, 800), "#d9d2c3")
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((120, 180, 1080, 520), 24, fill="#2f3a34")
    for left in (330, 760):
        pen.ellipse((left - 130, 220, left + 130, 480), fill="#46544c")
    pen.text((140, 540), title, fill="#2f3a34", font_size=44)
    if code:
        pen.rectangle((760, 580, 1080, 720), fill="white")
        pen.text((800, 620), code, fill="black", font_size=60)
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def reported(api: Api, host: str) -> dict[str, str]:
    """Public ids by UUID of the cards that the host has reported."""
    nodes = api.call("GET", "/api/v1/nodes/?limit=100").get("data", [])
    cards: list[dict[str, Any]] = next((node["cards"] for node in nodes if node["name"] == host), [])
    return {card["uuid"]: card["id"] for card in cards}


def sell(api: Api, data_dir: Path, shop: ForSale) -> bool:
    """Measure, draft, photograph and open; True when it is for sale or has left its host, now or since before."""
    uuids, known = still_there(data_dir, shop), reported(api, shop.host)
    if not set(uuids) <= set(known):
        return False
    ids = [known[each] for each in uuids]
    mine = api.call("GET", "/api/v1/card-listings/?limit=100").get("data", [])
    if not ids or any(card["id"] in ids for each in mine if each["state"] == "open" for card in each["cards"]):
        return True
    for each in uuids:
        done = measure(data_dir, shop.host, each)
        log.info("%s: %s %s", shop.host, done.stdout.strip(), done.stderr.strip()[-300:])
        if done.returncode:
            return False
    return _open(api, shop, ids)


def still_there(data_dir: Path, shop: ForSale) -> list[str]:
    """The UUIDs of those that nobody has carried away."""
    host = host_named(shop.host)
    wanted = [host.uuid(place) for place in shop.places]
    return [card.uuid for card in cards_at(data_dir, host) if card.uuid in wanted]


def bid(api: Api) -> None:
    """One standing bid for what is for sale, a good deal below its price."""
    if api.call("GET", "/api/v1/card-bids/?state=open").get("data"):
        return
    for listing in api.call("GET", "/api/v1/card-listings/?market=true").get("data", []):
        limit = parse_micros(listing["ask"]["amount"]) * BID_BELOW_PERCENT // 100 // CARD_TICK_MICROS * CARD_TICK_MICROS
        body = {
            "gpu": listing["gpu"],
            "memory_mib": listing["memory_mib"],
            "limit": format_micros(limit),
            "currency": listing["currency"],
            "grade_min": "FX",
            "ships_to": "FR",
            "address": ADDRESS,
        }
        if "id" in api.call("POST", "/api/v1/card-bids/", body):
            return


def main(data_dir: Path, url: str, people: dict[str, dict[str, str]]) -> None:
    """Until it is stopped."""
    waiting = list(SHOP)
    while True:
        try:
            waiting = [
                shop
                for shop in waiting
                if not sell(Api(url, people[host_named(shop.host).seller]["api_key"]), data_dir, shop)
            ]
            if not waiting:
                bid(Api(url, people["bot"]["api_key"]))
        except (OSError, http.client.HTTPException, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            log.warning("the exchange did not answer: %r", error)
        time.sleep(LOOK_AGAIN_SECONDS)


def _open(api: Api, shop: ForSale, ids: list[str]) -> bool:
    body = {
        "cards": ids,
        "ask": shop.ask,
        "grade_appearance": "good",
        "flags": list(shop.flags),
        "ships_from": shop.ships_from,
        "shipping": "15.00",
        "shipping_abroad": "45.00",
        "rent_counts_days": 14,
    }
    draft = api.call("POST", "/api/v1/card-listings/", body)
    if "id" not in draft:
        return False
    for kind, code in (("front", ""), ("code", draft["code"])):
        api.upload(f"/api/v1/card-listings/{draft['id']}/photos/", kind, drawing(draft["gpu"], code))
    opened = api.call("POST", f"/api/v1/card-listings/{draft['id']}/open/")
    if opened.get("state") != "open":
        api.call("POST", f"/api/v1/card-listings/{draft['id']}/close/")
        return False
    return True


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
