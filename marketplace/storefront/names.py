"""Names of GPU models for people; the catalogue's rows hardly ever change, so they are read once per process."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from marketplace.catalogue.models import GpuModel


def gpu_names(slugs: Iterable[str]) -> str:
    """`H100 SXM5 80GB, A100 80GB` from slugs."""
    return ", ".join(_name(slug) for slug in slugs)


@functools.lru_cache(maxsize=1024)
def _name(slug: str) -> str:
    found = GpuModel.objects.filter(slug=slug).values_list("marketing_name", flat=True).first()
    return found or slug
