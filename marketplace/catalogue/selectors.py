"""Reads of the catalogue."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from marketplace.catalogue.factsheet import alias_key
from marketplace.catalogue.models import GpuAlias, GpuModel
from marketplace.catalogue.recognition import FactoryModel
from marketplace.common.errors import NotFound


def listed_models(filters: dict[str, Any] | None = None) -> QuerySet[GpuModel]:
    """The models of the facts files; `filters` are ORM conditions. A card that some host made up is not among them."""
    return GpuModel.objects.filter(is_listed=True, **(filters or {}))


def model_by_slug(slug: str) -> GpuModel:
    """One model, listed or not; NotFound when there is none."""
    model = GpuModel.objects.filter(slug=slug).first()
    if model is None:
        raise NotFound(f"there is no GPU model {slug!r}")
    return model


def slugs_for(text: str) -> list[str]:
    """The slugs that a text stands for, the leading one first: a slug, a name, "4090", "A100"; none when unknown."""
    if GpuModel.objects.filter(slug=text).exists():
        return [text]
    aliases = GpuAlias.objects.filter(key=alias_key(text)).order_by("rank", "pk")
    return list(dict.fromkeys(aliases.values_list("model__slug", flat=True)))


def factory_models() -> list[FactoryModel]:
    """The listed models as recognition compares them."""
    nvml_names: dict[int, list[str]] = {}
    for model_id, alias in GpuAlias.objects.filter(kind="nvml").values_list("model_id", "alias"):
        nvml_names.setdefault(model_id, []).append(alias)
    return [_factory_model(model, nvml_names.get(model.pk, [])) for model in listed_models().order_by("pk")]


def _factory_model(model: GpuModel, other_names: list[str]) -> FactoryModel:
    return FactoryModel(
        slug=model.slug,
        names=(model.name, *other_names),
        pci_device_ids=frozenset(model.pci_device_ids),
        memory_sizes_mib=tuple(model.memory_sizes_mib),
        nvml_totals_mib=tuple(model.nvml_totals_mib),
    )
