"""Numbers, times and money as people read them."""

from __future__ import annotations

from datetime import datetime

from marketplace.common.money import format_micros

PLACES_MIN = 2


def amount(micros: int | None) -> str:
    """`12.50`, `0.4025`: at least two places, no needless zeros after them."""
    if micros is None:
        return "–"
    whole, _, fraction = format_micros(micros).partition(".")
    sign = "\N{MINUS SIGN}" if micros < 0 else ""
    return f"{sign}{grouped(abs(int(whole)))}.{fraction.rstrip('0').ljust(PLACES_MIN, '0')}"


def grouped(number: int) -> str:
    """`24 564`: thousands apart."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`: one unit, rounded down."""
    for below, unit, name in ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h")):
        if seconds < below:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds // 86_400)} d"


def duration(seconds: int | None) -> str:
    """`1 h 30 min`: two units at most."""
    if seconds is None:
        return "–"
    parts = []
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, seconds = divmod(int(seconds), unit)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"


def relative(at: datetime, now: datetime, kind: str) -> str:
    """`12 s ago`, `in 3 h`, or with kind "left" `4 min 10 s left`. assets/src/times.js keeps it true in the browser."""
    seconds = (at - now).total_seconds()
    if kind == "left":
        return "time is up" if seconds <= 0 else f"{duration(int(seconds))} left"
    if seconds > 0:
        return f"in {span(seconds)}"
    return "now" if seconds > -1 else f"{span(-seconds)} ago"


def memory(mib: int | None) -> str:
    """`80 GiB` from MiB, rounded to what is written on the box."""
    return "–" if mib is None else f"{round(mib / 1024)} GiB"


def kept(basis_points: int | None) -> str:
    """`98.5 % of leases kept`, rounded down; a host of which too little is known says so."""
    if basis_points is None:
        return "no record yet"
    whole, rest = divmod(basis_points, 100)
    return f"{whole}{f'.{rest // 10}' if rest >= 10 else ''} % of leases kept"


def percent(basis_points: int) -> str:
    """`92.3 %`, `20 %` from basis points."""
    return f"{basis_points / 100:.1f}".removesuffix(".0") + " %"


def hours(seconds: int) -> str:
    """`612 h`, rounded down: what is added up over many cards is easier to compare in one unit."""
    return f"{seconds // 3600} h"


def used_memory(mib: float) -> str:
    """`0.5 GiB` from MiB."""
    return f"{mib / 1024:.1f} GiB"


def words(code: str) -> str:
    """`owner_reclaimed` → `Owner reclaimed`."""
    return str(code).replace("_", " ").replace(":", ": ").strip().capitalize()
