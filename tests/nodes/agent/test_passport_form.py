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


@pytest.mark.parametrize("text", ["", "{", '{"a":1,"a":2}', '{"a":1.0}', '{"a":NaN}', "[" * 2000, '{"a":"\\u0061"}'])
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
