"""Names of GPU models and countries for people; both hardly ever change, so they are read once per process."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from marketplace.catalogue.models import GpuModel

COUNTRIES_FILE = Path(__file__).parent / "countries.tsv"


@functools.cache
def countries() -> list[tuple[str, str]]:
    """ISO 3166-1 codes and English names, by name."""
    rows = (line.split("\t") for line in COUNTRIES_FILE.read_text(encoding="utf-8").splitlines())
    return sorted(((code, name) for code, name in rows), key=lambda row: row[1])


@functools.cache
def country_name(code: str) -> str:
    """`Germany` for `DE`; what is no country stays as it is, such as the zone `eu`."""
    return dict(countries()).get(code) or str(code).upper()


def gpu_names(slugs: Iterable[str]) -> str:
    """`H100 SXM5 80GB, A100 80GB` from slugs."""
    return ", ".join(_name(slug) for slug in slugs)


@functools.lru_cache(maxsize=1024)
def _name(slug: str) -> str:
    found = GpuModel.objects.filter(slug=slug).values_list("marketing_name", flat=True).first()
    return found or slug
