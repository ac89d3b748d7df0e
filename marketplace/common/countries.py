"""The countries of ISO 3166-1: their codes, and their names in English. Pure."""

from __future__ import annotations

from pathlib import Path

COUNTRIES: dict[str, str] = dict(
    line.split("\t", 1) for line in Path(__file__).with_name("countries.tsv").read_text(encoding="utf-8").splitlines()
)
