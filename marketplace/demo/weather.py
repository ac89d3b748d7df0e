"""Makes the demo's telemetry move: leased cards work, now and then an owner uses a card. Run as `-m … DATA_DIR`."""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path

import django

from marketplace.demo.fleet import HOSTS, CardKind, PlacedCard, cards_at, write_fleet

STEP_SECONDS = 3.0
OWNER_CHANCE = 0.004  # per card and step that its owner comes back
OWNER_SECONDS = (30.0, 120.0)
OWNER_PID = 4242


class Weather:
    """What every card shows, step by step."""

    def __init__(self, data_dir: Path, dice: random.Random) -> None:
        self.data_dir = data_dir
        self.dice = dice
        self.owner_until: dict[str, float] = {}

    def step(self, at: float, leased: frozenset[str]) -> None:
        """Write every host's fleet for the time `at`, in seconds."""
        for host in HOSTS:
            cards = cards_at(self.data_dir, host)
            write_fleet(self.data_dir, host, [(card, self._reading(card, at, leased)) for card in cards])

    def _reading(self, card: PlacedCard, at: float, leased: frozenset[str]) -> dict[str, object]:
        name, kind = card.uuid, card.kind
        if name in leased:
            return self._working(kind, at, share=0.85, memory=0.6)
        if self.owner_until.get(name, 0.0) < at and self.dice.random() < OWNER_CHANCE:
            self.owner_until[name] = at + self.dice.uniform(*OWNER_SECONDS)
        if self.owner_until.get(name, 0.0) < at:
            return {"power_w": round(kind.rest_w * self.dice.uniform(0.95, 1.1), 1)}
        process = {"pid": OWNER_PID, "kind": "C", "mib": kind.memory_mib // 3}
        return self._working(kind, at, share=0.5, memory=0.34) | {"processes": [process]}

    def _working(self, kind: CardKind, at: float, *, share: float, memory: float) -> dict[str, object]:
        wave = 0.1 * math.sin(at / 20) + self.dice.uniform(-0.05, 0.05)
        load = min(1.0, max(0.0, share + wave))
        return {
            "utilisation": round(100 * load),
            "memory_bus": round(60 * load),
            "memory_used_mib": round(kind.memory_mib * memory),
            "power_w": round(kind.rest_w + (kind.load_w - kind.rest_w) * load, 1),
            "temperature": round(38 + 34 * load),
            "sm_clock": 1755,
        }


def leased_cards() -> frozenset[str]:
    """UUIDs of the cards on which a lease runs."""
    from nodes.models import Assignment  # noqa: PLC0415 - only after django.setup()

    running = Assignment.objects.filter(seen="running", wanted="run").values_list("epochs", flat=True)
    return frozenset(name for epochs in running for name in epochs)


def main(data_dir: Path) -> None:
    """Until it is stopped."""
    weather = Weather(data_dir, random.Random())
    while True:
        weather.step(time.monotonic(), leased_cards())
        time.sleep(STEP_SECONDS)


if __name__ == "__main__":
    django.setup()
    main(Path(sys.argv[1]))
