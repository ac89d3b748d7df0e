"""Who issues the invoices must be known: a start without it says so, one with a wrong country stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from marketplace.common.countries import COUNTRIES

HINT = "set it to the country where this exchange sits (ISO 3166-1 alpha-2, such as FR)"


def check_issuer(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """A warning while PLATFORM_COUNTRY is not set, an error when it is no country."""
    if not settings.PLATFORM_COUNTRY:
        what = "PLATFORM_COUNTRY is not set: no invoice is issued and no month is closed"
        return [Warning(what, hint=HINT, id="books.W001")]
    if settings.PLATFORM_COUNTRY not in COUNTRIES:
        return [Error(f"PLATFORM_COUNTRY {settings.PLATFORM_COUNTRY!r} is no country", hint=HINT, id="books.E001")]
    return []
