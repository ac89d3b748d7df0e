"""Checks a passport without the market: `python -m nodes.passports.verify FILE --key KEY`.

Needs the standard library and PyNaCl alone. A file has the market's `record` and signature; the full one also has the
`body` that the node signed. What this proves: these texts were signed by these keys and belong together. What it does
not: that the host told the truth. Software on a seller's machine can't prove a card; the same test on yours can.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from nodes.agent.passport import (
    BODY_PREFIX,
    RECORD_PREFIX,
    RECORD_SCHEMA,
    CanonicalError,
    canonical,
    is_right_product,
)
from nodes.passports.reading import number, numbers, part, test_of, text

FILE_SCHEMA = "fallow.passport-file/1"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `is_good` is None where the file does not hold what it takes."""

    name: str
    is_good: bool | None
    detail: str

    def json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"name": self.name, "ok": self.is_good, "detail": self.detail}


def check_file(file: Mapping[str, Any], market_key: bytes, *, now: datetime) -> list[Check]:
    """Every check of a passport file, whatever it holds; all good ones together make it genuine."""
    record, body = part(file, "record"), part(file, "body")
    checks = [_market(file, record, market_key)]
    if body:
        checks += [_same_body(record, body), _node(file, record, body), _same_place(record, body), _product(body)]
    else:
        checks.append(Check("body", None, "this is the public part: what the node wrote is with the card's owner"))
    checks.append(_expiry(record, now))
    return checks


def is_genuine(checks: Sequence[Check]) -> bool:
    """Whether nothing but its age speaks against the file."""
    return all(each.is_good is not False for each in checks if each.name != "expiry")


def file_sha256(record: Mapping[str, Any]) -> str:
    """The hash by which the next passport of the card names this one."""
    return hashlib.sha256(canonical(dict(record))).hexdigest()


def _market(file: Mapping[str, Any], record: Mapping[str, Any], key: bytes) -> Check:
    good = record.get("schema") == RECORD_SCHEMA and _is_signed(
        key, RECORD_PREFIX, record, text(file, "market_signature")
    )
    return Check("market_signature", good, "the market recorded exactly this" if good else "the market did not sign it")


def _same_body(record: Mapping[str, Any], body: Mapping[str, Any]) -> Check:
    try:
        good = hashlib.sha256(canonical(dict(body))).hexdigest() == text(record, "body_sha256")
    except CanonicalError:
        good = False
    return Check("body", good, "the body is the one that was recorded" if good else "the body was changed")


def _node(file: Mapping[str, Any], record: Mapping[str, Any], body: Mapping[str, Any]) -> Check:
    signature, key = text(file, "node_signature"), text(record, "node_public_key")
    good = (
        key is not None
        and key == text(body, "agent", "public_key")
        and signature == text(record, "node_signature")
        and _is_signed(_decoded(key), BODY_PREFIX, body, signature)
    )
    return Check("node_signature", good, "the node signed the body" if good else "the node did not sign this body")


def _same_place(record: Mapping[str, Any], body: Mapping[str, Any]) -> Check:
    names = ("seq", "prev_sha256", "role", "subject")
    good = all(record.get(name) == body.get(name) for name in names)
    return Check("chain", good, f"number {number(record, 'seq')} of its card" if good else "record and body differ")


def _product(body: Mapping[str, Any]) -> Check:
    test, nonce = test_of(body, "gemm"), text(body, "nonce")
    if not test:
        return Check("arithmetic", None, "no timed product in this passport")
    try:
        good = is_right_product(
            bytes.fromhex(nonce or ""), text(test, "product_sha256") or "", number(test, "side") or 0,
            numbers(test, "samples"),
        )  # fmt: skip
    except ValueError:
        good = False
    return Check("arithmetic", good, "the shown entries are right" if good else "the shown entries are wrong")


def _expiry(record: Mapping[str, Any], now: datetime) -> Check:
    said = text(record, "expires_at") or ""
    try:
        expires_at = datetime.fromisoformat(said)
        good = expires_at.tzinfo is not None and expires_at > now
    except ValueError:
        good = False
    return Check("expiry", good, f"good until {said}" if good else f"it was good until {said or 'nobody knows when'}")


def _is_signed(key: bytes, prefix: bytes, value: Mapping[str, Any], signature: str | None) -> bool:
    try:
        VerifyKey(key).verify(prefix + canonical(dict(value)), base64.b64decode(signature or "", validate=True))
    except (BadSignatureError, CanonicalError, ValueError, TypeError):
        return False
    return True


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _lines(checks: Sequence[Check]) -> Iterator[str]:
    words = {True: "ok  ", False: "FAIL", None: "--  "}
    for each in checks:
        yield f"{words[each.is_good]} {each.name}: {each.detail}"


def _said(record: Mapping[str, Any]) -> str:
    """What the market signed, so that nobody has to read the file with another program."""
    name, grade, tier = (text(record, key) or "?" for key in ("name", "function_grade", "tier"))
    memory = number(record, "memory_mib")
    return (
        f"{name}, {'?' if memory is None else memory} MiB, grade {grade}, {tier} as {text(record, 'role') or '?'} "
        f"on {text(record, 'measured_at') or '?'}, card {text(record, 'card_code') or '?'}, "
        f"passport {text(record, 'passport') or '?'}"
    )


def _plain(line: str) -> str:
    """A file may hold what a terminal obeys, or no terminal can show."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)


def _read(path: Path) -> Any:
    """The file's JSON; ValueError for what is none or says a name twice: two readers could read two things."""
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("nested too deep for a passport") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice in one object")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """0: genuine; 1: not; 2: a wrong command line or file."""
    parser = argparse.ArgumentParser(prog="python -m nodes.passports.verify", description="Check a card's passport.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", required=True, help="the market's public key, base64, from /api/v1/passports/key/")
    options = parser.parse_args(argv)
    try:
        file = _read(options.file)
        key = base64.b64decode(options.key, validate=True)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{_plain(str(error))}\n")
        return 2
    file = file if isinstance(file, dict) else {}
    checks = check_file(file, key, now=datetime.now(UTC))
    genuine = is_genuine(checks)
    verdict = "genuine: signed by node and market" if genuine else "NOT genuine"
    lines = [*_lines(checks), *([_said(part(file, "record"))] if genuine else []), verdict]
    sys.stdout.write("".join(f"{_plain(line)}\n" for line in lines))
    return 0 if genuine else 1


if __name__ == "__main__":
    sys.exit(main())
