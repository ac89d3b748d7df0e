"""Does a name stand on the screening list? Pure. Exact is for the rules to block, similar for a person to compare."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from anyascii import anyascii
from rapidfuzz import fuzz, process

# Words that say what kind of company it is and nothing of which.
KINDS_OF_COMPANY = frozenset(
    [
        "ab",
        "ag",
        "as",
        "bv",
        "co",
        "company",
        "corp",
        "corporation",
        "dmcc",
        "fzc",
        "fzco",
        "fze",
        "gmbh",
        "group",
        "holding",
        "holdings",
        "inc",
        "incorporated",
        "jsc",
        "kg",
        "limited",
        "llc",
        "llp",
        "ltd",
        "nv",
        "ooo",
        "oy",
        "pjsc",
        "plc",
        "pte",
        "pty",
        "sa",
        "sarl",
        "se",
        "spa",
        "srl",
    ]
)
FUZZY_LENGTH_MIN = 4  # shorter names are like too many others
PARTS_MIN = 2  # a name inside a longer one counts from two words on,
WORD_LENGTH_MIN = 6  # a listed one of one word when it is as long as this
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ListedParty:
    """An entry of a list; `key` names it across imports, the first name leads."""

    key: str
    source: str
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Changes with what a person would have compared."""
        return hashlib.sha256("\n".join((self.source, *self.names)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that a name is, or is similar to."""

    party: ListedParty
    listed_name: str
    score: int
    is_exact: bool


class ListIndex:
    """A list made ready to be searched."""

    def __init__(self, parties: Iterable[ListedParty]) -> None:
        self.exact: dict[str, list[tuple[ListedParty, str]]] = defaultdict(list)
        self.core: list[str] = []
        self.squeezed: list[str] = []
        self.owners: list[tuple[ListedParty, str]] = []
        self._found: dict[tuple[str, int], tuple[Found, ...]] = {}
        for party in parties:
            for name in party.names:
                self.exact[plain(name)].append((party, name))
                self.core.append(core(name))
                self.squeezed.append(self.core[-1].replace(" ", ""))
                self.owners.append((party, name))

    def find(self, name: str, *, score_min: int) -> tuple[Found, ...]:
        """Every entry that the name fits, exact ones first, each once with its best name. It is searched for once."""
        if (name, score_min) not in self._found:
            if len(self._found) >= REMEMBERED_MAX:
                self._found.clear()
            self._found[name, score_min] = self._search(name, score_min)
        return self._found[name, score_min]

    def _search(self, name: str, score_min: int) -> tuple[Found, ...]:
        best: dict[str, Found] = {}
        for party, listed in self.exact.get(plain(name), []) if plain(name) else []:
            best.setdefault(party.key, Found(party, listed, 100, True))
        for number, score in self._similar(core(name), score_min):
            party, listed = self.owners[number]
            if party.key not in best or (not best[party.key].is_exact and best[party.key].score < score):
                best[party.key] = Found(party, listed, score, False)
        return tuple(sorted(best.values(), key=lambda found: (not found.is_exact, -found.score, found.party.key)))

    def _similar(self, name: str, score_min: int) -> Iterable[tuple[int, int]]:
        squeezed = name.replace(" ", "")
        if len(squeezed) < FUZZY_LENGTH_MIN:
            return
        options: dict[str, Any] = {"score_cutoff": score_min, "limit": None}
        # `h u a w e i` is like `huawei` only without its spaces.
        for listed, score, number in process.extract(squeezed, self.squeezed, scorer=fuzz.ratio, **options):
            if len(listed) >= FUZZY_LENGTH_MIN:
                yield number, int(score)
        for listed, score, number in process.extract(name, self.core, scorer=fuzz.token_sort_ratio, **options):
            if len(listed) >= FUZZY_LENGTH_MIN:
                yield number, int(score)
        for listed, score, number in process.extract(name, self.core, scorer=fuzz.token_set_ratio, **options):
            if _tells_inside(listed, name):
                yield number, int(score)


def _tells_inside(listed: str, name: str) -> bool:
    """Whether one of the names inside the other says anything."""
    parts = min(len(listed.split()), len(name.split()))
    return parts >= PARTS_MIN or (" " not in listed and len(listed) >= WORD_LENGTH_MIN)


def plain(name: str) -> str:
    """Without case, accents and punctuation: `Früh & Co., Ltd.` is `fruh co ltd`."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(
        character
        for character in folded
        if not unicodedata.combining(character) and unicodedata.category(character) != "Cf"  # not seen, so not read
    )
    return " ".join(re.findall(r"\w+", letters))


def latin(name: str) -> str:
    """Plain, and in the Latin letters that lists are written in: `Газпром` is `gazprom`, and so is a mix of both."""
    words = plain(name)
    return plain(anyascii(words)) or words


def core(name: str) -> str:
    """The words that tell one company from another; all of them where nothing else would be left."""
    words = latin(name).split()
    return " ".join(word for word in words if word not in KINDS_OF_COMPANY) or " ".join(words)
