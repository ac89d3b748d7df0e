"""Writes of the catalogue: the facts files into rows, and a model for every card, known or not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from marketplace.catalogue.factsheet import (
    FACTS,
    VENDOR_IDS,
    AliasFacts,
    ModelFacts,
    alias_key,
    read_aliases,
    read_models,
)
from marketplace.catalogue.models import GpuAlias, GpuModel
from marketplace.catalogue.recognition import Kind, MeasuredCard, Recognition, match_card
from marketplace.catalogue.selectors import factory_models

NAME_LENGTH_MAX = 120
MEMORY_MIB_MAX = 2**31 - 1  # what the column holds
OWN = "own"  # aliases made from a model's own names


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load changed; a second load of the same files changes nothing."""

    models: int
    created: int
    changed: int
    withdrawn: int
    aliases: int


@transaction.atomic
def load_facts() -> Loaded:
    """Make the rows what the facts files say. FactsError, and nothing changed, when a file is malformed."""
    facts = read_models((FACTS / "gpus.csv").read_text(encoding="utf-8"))
    aliases = read_aliases((FACTS / "aliases.csv").read_text(encoding="utf-8"), [each.slug for each in facts])
    outcomes = Counter(_upsert(each) for each in facts)
    rows = {model.slug: model for model in GpuModel.objects.filter(is_listed=True)}
    withdrawn = _withdraw(rows, {each.slug for each in facts})
    _replace_aliases(rows, [*_own_aliases(facts), *aliases])
    return Loaded(
        models=len(facts),
        created=outcomes["created"],
        changed=outcomes["changed"],
        withdrawn=withdrawn,
        aliases=len(aliases),
    )


@transaction.atomic
def recognise(identity: MeasuredCard) -> tuple[GpuModel, Recognition]:
    """The catalogue row of a card and how it was found; an unknown card gets an unlisted row."""
    found = match_card(identity, factory_models())
    if found.kind is not Kind.UNLISTED:
        return GpuModel.objects.get(slug=found.slug), found
    model, _ = GpuModel.objects.get_or_create(slug=found.slug, defaults=_unlisted_columns(identity))
    return model, found


def _upsert(facts: ModelFacts) -> str:
    columns = _columns(facts)
    row, created = GpuModel.objects.get_or_create(slug=facts.slug, defaults=columns)
    if created:
        return "created"
    if all(getattr(row, name) == value for name, value in columns.items()):
        return "same"
    GpuModel.objects.filter(pk=row.pk).update(**columns)
    return "changed"


def _columns(facts: ModelFacts) -> dict[str, Any]:
    columns = dataclasses.asdict(facts)
    for name in ("pci_device_ids", "memory_sizes_mib", "nvml_totals_mib"):
        columns[name] = list(columns[name])
    del columns["slug"]
    return columns | {"memory_mib": next(iter(facts.memory_sizes_mib), None), "is_listed": True}


def _withdraw(rows: dict[str, GpuModel], slugs: set[str]) -> int:
    """A model that left the files stays for the cards that have it, and is no longer offered by name."""
    gone = [row.pk for slug, row in rows.items() if slug not in slugs]
    return GpuModel.objects.filter(pk__in=gone).update(is_listed=False)


def _own_aliases(facts: Iterable[ModelFacts]) -> list[AliasFacts]:
    names = {(name, each.slug) for each in facts for name in (each.slug, each.name, each.marketing_name)}
    return [AliasFacts(alias=name, slug=slug, kind=OWN) for name, slug in sorted(names)]


def _replace_aliases(rows: dict[str, GpuModel], aliases: list[AliasFacts]) -> None:
    wanted = {(each.alias, rows[each.slug].pk, each.kind): rank for rank, each in enumerate(aliases)}
    present = {(each.alias, each.model_id, each.kind): each for each in GpuAlias.objects.all()}
    gone = [row.pk for key, row in present.items() if wanted.get(key) != row.rank]
    GpuAlias.objects.filter(pk__in=gone).delete()
    kept = {key for key, row in present.items() if wanted.get(key) == row.rank}
    GpuAlias.objects.bulk_create(
        GpuAlias(alias=alias, key=alias_key(alias), model_id=model_id, kind=kind, rank=rank)
        for (alias, model_id, kind), rank in wanted.items()
        if (alias, model_id, kind) not in kept
    )


def _unlisted_columns(identity: MeasuredCard) -> dict[str, Any]:
    name = _printable(identity.name) or "Unknown GPU"
    makers = {vendor_id: vendor for vendor, vendor_id in VENDOR_IDS.items()}
    return {
        "name": name,
        "marketing_name": name,
        "vendor": makers.get((identity.pci_device_id or "").lower()[:4], ""),
        "memory_mib": min(max(identity.memory_total_mib, 0), MEMORY_MIB_MAX) or None,
        "is_listed": False,
        "source": "reported by a host",
    }


def _printable(name: str) -> str:
    return "".join(character for character in name if character.isprintable()).strip()[:NAME_LENGTH_MAX]
