"""Names of GPU models and countries for people; the catalogue's rows hardly ever change: read once per process."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from marketplace.catalogue.models import GpuModel
from marketplace.common.countries import COUNTRIES


def country_name(code: str) -> str:
    """`Germany` for `DE`; what is no country stays as it is, such as the zone `EU`."""
    return COUNTRIES.get(code) or str(code).upper()


def gpu_names(slugs: Iterable[str]) -> str:
    """`H100 SXM5 80GB, A100 80GB` from slugs."""
    return ", ".join(_name(slug) for slug in slugs)


@functools.lru_cache(maxsize=1024)
def _name(slug: str) -> str:
    found = GpuModel.objects.filter(slug=slug).values_list("marketing_name", flat=True).first()
    return found or slug
