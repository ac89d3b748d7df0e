"""Reads a screening list in the form of the US Consolidated Screening List, CSV or JSON. Pure: text in, entries out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from marketplace.compliance.screening import ListedParty, plain

CODES = frozenset(["CAP", "CMIC", "DPL", "DTC", "EL", "FSE", "ISN", "MBS", "MEU", "PLC", "SDN", "SSI", "UVL"])
OTHER = "OTHER"
CODE_IN_NAME = re.compile(r"\(([A-Z]{2,5})\)")
CELL_LENGTH_MAX = 10_000_000  # one entry may have hundreds of addresses


class ListFileError(ValueError):
    """The list is malformed; nothing of it may be used."""


def read_list(text: str) -> list[ListedParty]:
    """The entries of a list, whichever of the two forms it has; ListFileError names the first that is wrong."""
    text = text.lstrip("\ufeff").strip()
    rows = _json_rows(text) if text[:1] in {"{", "["} else _csv_rows(text)
    parties = [_party(number, row) for number, row in enumerate(rows, start=1)]
    if not parties:
        raise ListFileError("the list has no entry")
    merged: dict[str, ListedParty] = {}
    for party in parties:
        same = merged.get(party.key)
        names = dict.fromkeys((*same.names, *party.names) if same else party.names)
        merged[party.key] = ListedParty(party.key, party.source, tuple(names))
    return list(merged.values())


def _json_rows(text: str) -> Iterable[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ListFileError(f"not JSON: {error}") from error
    rows = document.get("results") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ListFileError("JSON has its entries in `results`")
    total = document.get("total", len(rows)) if isinstance(document, dict) else len(rows)
    if total != len(rows):
        raise ListFileError(f"{len(rows)} of {total} entries: one page of an answer is not the list")
    return rows


def _csv_rows(text: str) -> Iterator[Any]:
    csv.field_size_limit(CELL_LENGTH_MAX)
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = list(reader.fieldnames or ())
        if missing := sorted({"source", "name"} - set(columns)):
            raise ListFileError(f"the columns {', '.join(missing)} are missing")
        if len(set(columns)) != len(columns):
            raise ListFileError("two columns have one name")
        for number, row in enumerate(reader, start=1):
            yield _whole(number, row)
    except csv.Error as error:
        raise ListFileError(f"not CSV: {error}") from error


def _whole(number: int, row: dict[str | Any, Any]) -> dict[str | Any, Any]:
    """A row with a column more or less has its name in another place."""
    if None in row or None in row.values():
        raise ListFileError(f"entry {number} has {'more' if None in row else 'fewer'} columns than the first line")
    return row


def _party(number: int, row: Any) -> ListedParty:
    if not isinstance(row, Mapping):
        raise ListFileError(f"entry {number} is not a mapping")
    name, source = row.get("name"), row.get("source")
    if not isinstance(name, str) or not plain(name):
        raise ListFileError(f"entry {number} has no name")
    if not isinstance(source, str) or not source.strip():
        raise ListFileError(f"entry {number} ({name}) does not say which list it is from")
    code = _code(source)
    others = [each for each in _names(row.get("alt_names")) if plain(each)]
    return ListedParty(key=_key(row, code, name), source=code, names=tuple(dict.fromkeys([name.strip(), *others])))


def _code(source: str) -> str:
    found = CODE_IN_NAME.search(source)
    code = found[1] if found else source.strip().upper()
    return code if code in CODES else OTHER


def _names(value: Any) -> list[str]:
    parts = value.split(";") if isinstance(value, str) else value if isinstance(value, list) else []
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]


def _key(row: Mapping[str, Any], code: str, name: str) -> str:
    """The list's own number where it has one; a name otherwise."""
    for column in ("entity_number", "id", "_id"):
        if (value := row.get(column)) not in (None, ""):
            return f"{code}:{value}"[:80]
    return f"{code}:{hashlib.sha256(plain(name).encode()).hexdigest()[:24]}"
