"""Random ids: how long they are, what they are made of, and that no letter is likelier than another."""

from collections import Counter

import pytest

from marketplace.common import ids


@pytest.mark.parametrize("length", [0, 1, 16, 24, 500])
def test_a_text_has_its_length_in_base62(length):
    text = ids.random_text(length)
    assert len(text) == length
    assert set(text) <= set(ids.ALPHABET)


def test_every_byte_that_counts_is_a_letter_and_all_letters_have_the_same_number_of_bytes():
    kept = bytes(range(256)).translate(ids.LETTERS, ids.UNEVEN).decode()
    assert set(Counter(kept).values()) == {4}
    assert set(kept) == set(ids.ALPHABET)


def test_bytes_that_do_not_count_are_drawn_again(monkeypatch):
    drawn = iter([b"\xff" * 4, b"\x00\xff\xff\xff", b"\x01\x02\x03\x04"])
    monkeypatch.setattr(ids.secrets, "token_bytes", lambda count: next(drawn))
    assert ids.random_text(2) == "01"


def test_an_id_says_what_it_names():
    assert ids.new_id("jrn").startswith("jrn_")
    assert len({ids.new_id("jrn") for _ in range(1000)}) == 1000
