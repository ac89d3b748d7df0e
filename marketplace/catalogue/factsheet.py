"""Reads the facts files beside it: `facts/gpus.csv` and `facts/aliases.csv`. Pure: text in, values out."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from marketplace.catalogue.recognition import PCI_ID, SLUG_LENGTH_MAX, UNLISTED_PREFIX, FactoryModel

Value = TypeVar("Value")
Number = TypeVar("Number", int, Decimal)
FACTS = Path(__file__).parent / "facts"
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VENDOR_IDS = {"NVIDIA": "10de", "AMD": "1002"}
ALIAS_KINDS = ("nvml", "cluster", "buyer")
# TPP is the dense rate times the bit length, at its largest; a rate is rounded to 0.1, so 1 % of play.
RATE_BITS = {"fp16_dense_tflops": 16, "fp8_dense_tflops": 8, "int8_dense_tops": 8, "fp4_dense_tflops": 4}
TPP_PLAY = Decimal("0.01")


class FactsError(ValueError):
    """A facts file is malformed; the message names the file's line."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One line of `gpus.csv`. MiB, GB/s, W, dense tera-operations per second; None where nobody has said it."""

    slug: str
    name: str
    marketing_name: str
    vendor: str
    architecture: str
    compute_capability: str
    pci_device_ids: tuple[str, ...]
    form_factor: str
    memory_sizes_mib: tuple[int, ...]
    memory_type: str
    memory_bandwidth_gb_s: int | None
    tdp_w: int | None
    fp16_dense_tflops: Decimal | None
    fp8_dense_tflops: Decimal | None
    int8_dense_tops: Decimal | None
    fp4_dense_tflops: Decimal | None
    tpp: int | None
    performance_density: Decimal | None
    designed_for_datacentre: bool
    mig_capable: bool
    release_year: int | None
    nvml_totals_mib: tuple[int, ...]
    source: str

    def factory_model(self, other_names: Iterable[str] = ()) -> FactoryModel:
        """The part that recognition compares with."""
        return FactoryModel(
            slug=self.slug,
            names=(self.name, *other_names),
            pci_device_ids=frozenset(self.pci_device_ids),
            memory_sizes_mib=self.memory_sizes_mib,
            nvml_totals_mib=self.nvml_totals_mib,
        )


@dataclass(frozen=True, slots=True)
class AliasFacts:
    """One line of `aliases.csv`: another name of a model. One alias may stand for several models, the first leads."""

    alias: str
    slug: str
    kind: str


def read_models(text: str) -> list[ModelFacts]:
    """The models of a `gpus.csv`; FactsError names the first line that is wrong."""
    models = [_on_line(number, _model, row) for number, row in _rows(text)]
    _refuse_repeats("slug", [model.slug for model in models])
    return models


def read_aliases(text: str, slugs: Iterable[str]) -> list[AliasFacts]:
    """The aliases of an `aliases.csv`, all of them of known models."""
    known = frozenset(slugs)
    aliases = [_on_line(number, _alias, row) for number, row in _rows(text)]
    if strangers := sorted({each.slug for each in aliases} - known):
        raise FactsError(f"aliases of models that are not there: {', '.join(strangers)}")
    _refuse_repeats("alias", [f"{alias_key(each.alias)} of {each.slug} ({each.kind})" for each in aliases])
    return aliases


def alias_key(text: str) -> str:
    """What buyers type is compared by its letters and digits alone: "RTX 4090" is "rtx-4090"."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _rows(text: str) -> Iterable[tuple[int, Mapping[str, str]]]:
    return enumerate(csv.DictReader(io.StringIO(text), strict=True), start=2)


def _on_line(number: int, build: Callable[[Mapping[str, str]], Value], row: Mapping[str, str]) -> Value:
    try:
        return build(row)
    except (KeyError, ValueError, AttributeError, InvalidOperation) as error:
        raise FactsError(f"line {number}: {error!r}") from error


def _model(row: Mapping[str, str]) -> ModelFacts:
    model = ModelFacts(
        slug=_slug(row["slug"]),
        name=_text(row, "name"),
        marketing_name=_text(row, "marketing_name"),
        vendor=_one_of(row["vendor"], VENDOR_IDS),
        architecture=_text(row, "architecture"),
        compute_capability=row["compute_capability"],
        pci_device_ids=_pci_ids(row),
        form_factor=_text(row, "form_factor"),
        memory_sizes_mib=_integers(row["memory_mib"]),
        memory_type=row["memory_type"],
        memory_bandwidth_gb_s=_integer(row["memory_bandwidth_gb_s"]),
        tdp_w=_integer(row["tdp_w"]),
        fp16_dense_tflops=_decimal(row["fp16_dense_tflops"]),
        fp8_dense_tflops=_decimal(row["fp8_dense_tflops"]),
        int8_dense_tops=_decimal(row["int8_dense_tops"]),
        fp4_dense_tflops=_decimal(row["fp4_dense_tflops"]),
        tpp=_integer(row["tpp"]),
        performance_density=_decimal(row["performance_density"]),
        designed_for_datacentre=_flag(row["designed_for_datacentre"]),
        mig_capable=_flag(row["mig_capable"]),
        release_year=_integer(row["release_year"]),
        nvml_totals_mib=_integers(row["nvml_total_mib"]),
        source=_text(row, "source"),
    )
    _check_tpp(model)
    return model


def _alias(row: Mapping[str, str]) -> AliasFacts:
    if not alias_key(row["alias"]):
        raise ValueError("an alias needs a letter or a digit")
    return AliasFacts(alias=row["alias"], slug=row["slug"], kind=_one_of(row["kind"], ALIAS_KINDS))


def _slug(text: str) -> str:
    if not SLUG.fullmatch(text) or len(text) > SLUG_LENGTH_MAX or text.startswith(UNLISTED_PREFIX):
        raise ValueError(f"not a slug: {text!r}")
    return text


def _text(row: Mapping[str, str], column: str) -> str:
    if not row[column].strip():
        raise ValueError(f"{column} is empty")
    return row[column]


def _one_of(text: str, allowed: Iterable[str]) -> str:
    if text not in allowed:
        raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
    return text


def _pci_ids(row: Mapping[str, str]) -> tuple[str, ...]:
    ids = tuple(each for each in row["pci_device_ids"].split(";") if each)
    vendor_id = VENDOR_IDS[row["vendor"]]
    if wrong := [each for each in ids if not PCI_ID.fullmatch(each) or not each.startswith(vendor_id)]:
        raise ValueError(f"not PCI ids of {row['vendor']}: {wrong}")
    return ids


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_positive(int(each)) for each in text.split(";") if each)


def _integer(text: str) -> int | None:
    return _positive(int(text)) if text else None


def _decimal(text: str) -> Decimal | None:
    return _positive(Decimal(text)) if text else None


def _positive(number: Number) -> Number:
    if not number > 0:
        raise ValueError(f"{number} is not positive")
    return number


def _flag(text: str) -> bool:
    return _one_of(text, ("true", "false")) == "true"


def _check_tpp(model: ModelFacts) -> None:
    """TPP is 2 × MAC rate × bit length at its largest (15 CFR 774, note to 3A090): dense rate × bits."""
    rates = [(getattr(model, column), bits) for column, bits in RATE_BITS.items()]
    computed = max((rate * bits for rate, bits in rates if rate is not None), default=None)
    if computed is None or model.tpp is None:
        if model.tpp is not None:
            raise ValueError("a TPP needs a rate")
        return
    if abs(computed - model.tpp) > TPP_PLAY * computed:
        raise ValueError(f"TPP {model.tpp} does not follow from the rates, which give {computed:.0f}")


def _refuse_repeats(what: str, values: Iterable[str]) -> None:
    if repeated := sorted(value for value, count in Counter(values).items() if count > 1):
        raise FactsError(f"repeated {what}: {', '.join(repeated)}")
