"""Where a demo lives: its folder, its ports and what its processes are told."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marketplace.demo.processes import free_port

ROOT = Path(__file__).parents[2]
STRIPE_SECRET = "whsec_demo"  # noqa: S105 - the simulator's, which listens on this machine alone

# The demo's market is impatient: cards count as idle soon, and an hour may be a minute.
MARKET = {
    "FALLOW_DEMO": "1",
    "PLATFORM_COUNTRY": "DE",
    "TWO_PERSON_LIMITS": "USD=10000000,EUR=10000000,CNY=10000000",  # the demo has one operator
    "WIRE_ACCOUNT_HOLDER": "Fallow demo",
    "WIRE_IBAN": "DE89370400440532013000",  # the example of the registry of IBANs
    "IDLE_AFTER_SECONDS": "20",
    "PROVING_LEASE_SECONDS": "2",
    "PROVING_IMAGE": "fallow/demo",
    "LEASE_SECONDS_MIN": "60",
    "TURNAROUND_SECONDS": "10",
    "SETTLE_SECONDS": "15",
}


@dataclass(frozen=True)
class Place:
    """Folder and ports of one demo; all ports are of 127.0.0.1."""

    data_dir: Path
    web_port: int
    ingest_port: int
    relay_port: int
    stripe_port: int | None = None  # of the simulator; none where a key of Stripe's own is set

    @property
    def stripe_url(self) -> str:
        """Where Stripe is simulated."""
        return f"http://127.0.0.1:{self.stripe_port}"

    @property
    def url(self) -> str:
        """Where people and the API's users go."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def reports_url(self) -> str:
        """Where nodes send their reports."""
        return f"http://127.0.0.1:{self.ingest_port}"

    @property
    def people_file(self) -> Path:
        """Logins and API keys, written by marketplace.demo.people."""
        return self.data_dir / "people.json"

    def environment(self) -> dict[str, str]:
        """What every process of the demo is told beside the servers' addresses."""
        return (
            MARKET
            | self._stripe()
            | {
                "DJANGO_SETTINGS_MODULE": "marketplace.settings",
                "PUBLIC_URL": self.url,
                "REPORTS_URL": self.reports_url,
                "RELAY_PORT": str(self.relay_port),
                "SIMULATED_CARDS_COUNT": "1",
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _stripe(self) -> dict[str, str]:
        if self.stripe_port is None:
            return {}
        simulated = {"STRIPE_SECRET_KEY": "sk_test_demo", "STRIPE_API_URL": self.stripe_url}
        return simulated | {"STRIPE_WEBHOOK_SECRETS": STRIPE_SECRET}


def find(data_dir: Path, environ: Mapping[str, str]) -> Place:
    """The usual ports where they are free; PORT in environ asks for another one for the pages."""
    return Place(
        data_dir=data_dir.resolve(),
        web_port=free_port(int(environ.get("PORT", "8000"))),
        ingest_port=free_port(8001),
        relay_port=free_port(2222),
        stripe_port=None if environ.get("STRIPE_SECRET_KEY") else free_port(12111),
    )


def manage(*arguments: str) -> tuple[str, ...]:
    """The command line of a Django command."""
    return (sys.executable, str(ROOT / "manage.py"), *arguments)
