"""The people of the demo: makes their firms, logins and API keys once. Run as `-m marketplace.demo.people FILE`."""

import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import django

from marketplace.demo.private import write_private

if TYPE_CHECKING:
    from marketplace.accounts.models import User


@dataclass(frozen=True)
class Person:
    """Who signs in; the operator runs the exchange."""

    key: str
    email: str
    firm: str
    country: str
    intended_use: str
    is_operator: bool = False


PEOPLE = (
    Person("buyer", "buyer@demo.test", "Wren Research", "DE", "training of language models"),
    Person("seller", "seller@demo.test", "Larkfield Data", "NL", "renting out idle cards"),
    Person("kestrel", "kestrel@demo.test", "Kestrel Render", "DE", "renting out idle cards"),
    Person("heron", "heron@demo.test", "Heron Labs", "SG", "renting out idle cards"),
    Person("bot", "bot@demo.test", "Sparrow Studio (demo bot)", "FR", "rendering"),
    Person("operator", "operator@demo.test", "Fallow Operations", "NL", "running the exchange", is_operator=True),
)


def make_people(file: Path) -> dict[str, dict[str, str]]:
    """Logins by key, those of the file when it is there; otherwise new passwords and API keys, also for old people."""
    if file.exists():
        kept: dict[str, dict[str, str]] = json.loads(file.read_text())
        return kept
    made = {person.key: _login(person) for person in PEOPLE}
    write_private(file, made)
    return made


def _login(person: Person) -> dict[str, str]:
    # Models can be imported only after django.setup().
    from marketplace.accounts.models import User  # noqa: PLC0415
    from marketplace.accounts.roles import Scope  # noqa: PLC0415
    from marketplace.accounts.services import create_api_key  # noqa: PLC0415
    from marketplace.common import clock  # noqa: PLC0415

    password = secrets.token_urlsafe(12)
    user = User.objects.filter(email=person.email).first() or _sign_up(person, password)
    user.set_password(password)
    user.save()
    firm = user.memberships.select_related("firm").get().firm
    _, text = create_api_key(firm=firm, name="demo", scopes=list(Scope.values), user=user, now=clock.now())
    return {"email": person.email, "password": password, "api_key": text}


def _sign_up(person: Person, password: str) -> "User":
    from marketplace.accounts.services import FirmDetails, sign_up  # noqa: PLC0415
    from marketplace.common import clock  # noqa: PLC0415

    details = FirmDetails(name=person.firm, headquarters_country=person.country, intended_use=person.intended_use)
    user = sign_up(email=person.email, password=password, firm=details, now=clock.now()).user
    user.is_operator = person.is_operator
    return user


if __name__ == "__main__":
    django.setup()
    make_people(Path(sys.argv[1]))
