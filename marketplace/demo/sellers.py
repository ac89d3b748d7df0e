"""The sellers' side of the demo, made once: firms, enrolment tokens, listings and the buyers' first money.

Run as `-m marketplace.demo.sellers DATA_DIR PEOPLE_FILE` when the people are there.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import django

from marketplace.demo.fleet import HOSTS, CardKind, cards_at, write_fleet
from marketplace.demo.private import write_private

if TYPE_CHECKING:
    from marketplace.accounts.models import Firm, User

YEAR = timedelta(days=365)
LONGEST_SECONDS = 7 * 24 * 3600
FIRST_MONEY_MICROS = 5_000_000_000  # enough for a card


def make_sellers(data_dir: Path, people: dict[str, dict[str, str]], now: datetime) -> None:
    """Tokens go to DATA_DIR/enrolment.json; what is there already stays as it is."""
    file = data_dir / "enrolment.json"
    tokens: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    # Models can be imported only after django.setup().
    from marketplace.accounts.models import User  # noqa: PLC0415

    users = {key: User.objects.get(email=login["email"]) for key, login in people.items()}
    firms = {key: user.memberships.select_related("firm").get().firm for key, user in users.items()}
    if not tokens:
        _open_market(firms, users["operator"], now)
    for host in HOSTS:
        if host.name not in tokens:
            write_fleet(data_dir, host, [(card, {}) for card in cards_at(data_dir, host)])
            tokens[host.name] = _token(firms[host.seller], host.name, host.region, host.country, now)
    write_private(file, tokens)


def _open_market(firms: dict[str, Firm], operator: User, now: datetime) -> None:
    for key in ("buyer", "bot"):
        _deposit(firms[key], operator, now)
    for key in dict.fromkeys(host.seller for host in HOSTS):
        for kind in dict.fromkeys(card.slug for host in HOSTS if host.seller == key for card in host.cards):
            _list_pool(firms[key], kind, now)


def _deposit(firm: Firm, operator: User, now: datetime) -> None:
    from marketplace.payments.services import confirm_deposit, start_deposit  # noqa: PLC0415

    deposit, _ = start_deposit(
        firm=firm,
        currency="USD",
        amount_micros=FIRST_MONEY_MICROS,
        idempotency_key="demo: first money",
        actor="demo",
        now=now,
    )
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=now)


def _list_pool(firm: Firm, slug: str, now: datetime) -> None:
    from listings.services import ListingTerms, create_listing, open_listing  # noqa: PLC0415
    from marketplace.common.money import parse_micros  # noqa: PLC0415

    kind = _kind(slug)
    terms = ListingTerms(
        ask_micros_per_gpu_hour=parse_micros(kind.ask),
        currency="USD",
        window_start_at=now,
        window_end_at=now + YEAR,
        duration_seconds_min=60,
        duration_seconds_max=LONGEST_SECONDS,
        pool_gpu=slug,
    )
    listing = create_listing(firm=firm, terms=terms, actor="demo", now=now)
    open_listing(firm=firm, public_id=listing.public_id, actor="demo", now=now)


def _kind(slug: str) -> CardKind:
    return next(card for host in HOSTS for card in host.cards if card.slug == slug)


def _token(firm: Firm, name: str, region: str, country: str, now: datetime) -> str:
    from nodes.services.enrolment import create_enrolment_token  # noqa: PLC0415

    _, text = create_enrolment_token(
        firm=firm, name=name, uses=1, expires_at=now + YEAR, region=region, country=country, actor="demo", now=now
    )
    return text


if __name__ == "__main__":
    django.setup()
    from marketplace.common import clock

    make_sellers(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), clock.now())
