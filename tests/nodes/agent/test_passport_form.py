"""Canonical JSON against an independent implementation of RFC 8785, and arithmetic that both sides do alike."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from nodes.agent.passport import (
    INTEGER_MAX,
    CanonicalError,
    canonical,
    entry_of,
    is_right_product,
    line_of,
    parse_canonical,
    sampled_places,
)

NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
LEAVES = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=30
)


@given(VALUES)
def test_our_form_is_that_of_rfc_8785(value):
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(CanonicalError):
            canonical(value)
    else:
        assert canonical(value) == expected


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_was_written_is_read_again_and_nothing_else_is(value):
    text = canonical(value).decode()
    assert parse_canonical(text) == value
    for other in (text + " ", json.dumps(value, separators=(" ,", " :")) + " ", f"[{text}]"):
        with pytest.raises(CanonicalError):
            parse_canonical(other)


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), 2**53, "\ud800", {"ü": 1}, {1: 2}, {"": 1}, b"x", {"a": (1,)}, [[[[[[[[[[[[[[1]]]]]]]]]]]]]]],
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(CanonicalError):
        canonical(value)


def test_the_sample_of_rfc_8785_that_has_no_fractions():
    said = json.loads(
        r"""{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    # Section 3.2.4, the two members that a passport may hold, byte by byte.
    expected = (
        "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c "
        "22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )
    assert canonical(said) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (INTEGER_MAX, "9007199254740991"), (-INTEGER_MAX, "-9007199254740991"), (10**15, "1000000000000000")],
)
def test_whole_numbers_are_written_as_ecmascript_writes_them(number, text):
    assert canonical({"a": number}) == f'{{"a":{text}}}'.encode()


NOT_CANONICAL = [
    "",
    "{",
    '{"a":1,"a":2}',
    '{"a":{"b":1,"b":1}}',
    '{"a":1.0}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":-0}',
    '{"a":-0.0}',
    '{"a":1e400}',
    '{"a":1e2}',
    '{"a":9007199254740992}',
    '{"a":' + "9" * 5000 + "}",
    '{"a":01}',
    '{"a":"\\ud800"}',
    '{"a":"\ud800"}',
    '{"a":"\\/"}',
    '{"a":"\\u000A"}',
    '{"a":"\n"}',
    '{"a":"\\u00e9"}',
    '{"b":1,"a":1}',
    '\ufeff{"a":1}',
    '{"a":1}\n',
    "[" * 2000,
    '{"a":"\\u0061"}',
]


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_what_is_not_canonical_is_refused(text):
    with pytest.raises(CanonicalError):
        parse_canonical(text)


def test_the_product_is_what_schoolbook_says_it_is():
    nonce, side = b"n" * 32, 24
    signed = {0: 0, 1: 1, 255: -1}
    rows = [[signed[each] for each in line_of(nonce, "A", number, side)] for number in range(side)]
    columns = [[signed[each] for each in line_of(nonce, "B", number, side)] for number in range(side)]
    assert len({*map(tuple, rows), *map(tuple, columns)}) == 2 * side
    for row in range(side):
        for column in range(side):
            expected = sum(a * b for a, b in zip(rows[row], columns[column], strict=True))
            assert entry_of(nonce, row, column, side) == expected


def test_samples_of_another_nonce_hash_or_card_are_wrong():
    nonce, side, digest = b"n" * 32, 512, "ab" * 32
    shown = [entry_of(nonce, row, column, side) for row, column in sampled_places(nonce, digest, side)]
    assert is_right_product(nonce, digest, side, shown)
    assert not is_right_product(b"m" * 32, digest, side, shown)
    assert not is_right_product(nonce, "cd" * 32, side, shown)
    assert not is_right_product(nonce, digest, side, [shown[0] + 1, *shown[1:]])
    assert not is_right_product(nonce, digest, side, [])
    assert not is_right_product(nonce, digest, 2**30, shown)
