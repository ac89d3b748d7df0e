"""The screening list: reading it, finding names in it, its age, and what a person found."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound
from marketplace.compliance.inquiry import ListState, Screening
from marketplace.compliance.listfile import ListFileError, read_list
from marketplace.compliance.models import MatchReview, ScreeningEntry, ScreeningList
from marketplace.compliance.screening import ListedParty, ListIndex, core, plain
from marketplace.compliance.services import Stage, decide_lease, decide_sale, may_lease, reproduce
from marketplace.compliance.services.screening import age_days, import_list, review_match, screen
from marketplace.events.models import Event
from tests.compliance import SAMPLE, fresh_list
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.compliance.test_sales import card

TODAY = date(2026, 11, 23)
LISTED = [
    ListedParty("EL:1", "EL", ("Blackthorn Semiconductor Works", "BSW")),
    ListedParty("SDN:2", "SDN", ("Früh & Söhne",)),
]
INDEX = ListIndex(LISTED)


def found(name: str, index: ListIndex = INDEX) -> list[tuple[str, bool]]:
    return [(each.party.key, each.is_exact) for each in index.find(name, score_min=88)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Blackthorn Semiconductor Works", [("EL:1", True)]),
        ("  blackthorn SEMICONDUCTOR-works. ", [("EL:1", True)]),
        ("fruh sohne", [("SDN:2", True)]),
        ("Blackthorn Semiconductor Works Co., Ltd.", [("EL:1", False)]),
        ("Blackthorn Semiconducter Works", [("EL:1", False)]),
        ("Works Semiconductor Blackthorn", [("EL:1", False)]),
        ("Blackthorn Semiconductor Works (Deutschland) GmbH", [("EL:1", False)]),
        ("BSW", [("EL:1", True)]),
        ("BSV", []),
        ("B l a c k t h o r n Semiconductor Works", [("EL:1", False)]),
        ("BlackthornSemiconductorWorks", [("EL:1", False)]),
        ("Black\u200bthorn\u00ad Semiconductor Works", [("EL:1", True)]),
        ("Вlackthоrn Sеmicоnduсtоr Wоrks", [("EL:1", False)]),  # Cyrillic letters that look Latin
        ("Блэкторн Semiconductor Works", [("EL:1", False)]),
        ("ＢＬＡＣＫＴＨＯＲＮ Semiconductor Works", [("EL:1", True)]),
        ("Früh und Söhne AG", [("SDN:2", False)]),
        ("Fruh & Soehne", [("SDN:2", False)]),
        ("Works", []),
        ("Wren Research", []),
        ("", []),
        ("...", []),
    ],
)
def test_which_names_are_found(name: str, expected: list[tuple[str, bool]]) -> None:
    assert found(name) == expected


OTHERS = ListIndex(
    [
        ListedParty("EL:1", "EL", ("Gazprombank Invented",)),
        ListedParty("EL:2", "EL", ("Łódź Ørsted Works",)),
        ListedParty("EL:3", "EL", ("Moorhen",)),
        ListedParty("SDN:4", "SDN", ("INVENTED, Petr Ivanovich",)),
        ListedParty("EL:5", "EL", ("Wrens",)),
    ]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Газпромбанк Invented", [("EL:1", False)]),
        ("ООО «ГАЗПРОМБАНК ИНВЕНТЕД»", [("EL:1", False)]),
        ("Lodz Orsted Works", [("EL:2", False)]),
        ("łódź ørsted works", [("EL:2", True)]),
        ("Moorhen Deutschland Rechenzentrum", [("EL:3", False)]),
        ("Petr Ivanovich Invented", [("SDN:4", False)]),
        ("Wrens Deutschland Rechenzentrum", []),  # five letters are in too many names
        ("Moorhens", [("EL:3", False)]),
        ("华为", []),
    ],
)
def test_other_alphabets_and_words_inside_a_name(name: str, expected: list[tuple[str, bool]]) -> None:
    """Only the list's own letters make an exact name; what is like it in Latin letters is for a person."""
    assert found(name, OTHERS) == expected


def test_a_name_of_kinds_of_company_alone_keeps_its_words() -> None:
    assert (plain("Früh & Co., Ltd."), core("Früh & Co., Ltd."), core("Holding AG")) == (
        "fruh co ltd",
        "fruh",
        "holding ag",
    )


NAMES = st.lists(st.text(st.characters(categories=["L"]), min_size=3, max_size=10), min_size=1, max_size=4).map(
    " ".join
)


@given(names=st.lists(NAMES, min_size=1, max_size=8, unique_by=plain), data=st.data())
def test_a_listed_name_is_always_found_whatever_its_case_and_order(names: list[str], data: st.DataObject) -> None:
    index = ListIndex(ListedParty(f"EL:{number}", "EL", (name,)) for number, name in enumerate(names))
    number = data.draw(st.integers(0, len(names) - 1))
    name = names[number]
    exact = {each.party.key for each in index.find(f" {name.upper()} ", score_min=88) if each.is_exact}
    oracle = {f"EL:{place}" for place, each in enumerate(names) if plain(each) == plain(f" {name.upper()} ")}
    assert exact == oracle
    turned = " ".join(reversed(name.split()))
    if plain(name) == plain(name.upper()) and len(core(name)) >= 4 and len(core(turned)) == len(core(name)):
        assert f"EL:{number}" in {each.party.key for each in index.find(turned, score_min=88)}


JSON_ENTRY = {"id": "9", "source": "Entity List (EL) - BIS", "name": "Blackthorn", "alt_names": ["Thorn", ""]}


def test_both_forms_of_the_list_are_read() -> None:
    rows = read_list(SAMPLE.read_text())
    assert [row.source for row in rows] == ["EL", "SDN", "DPL", "UVL", "MEU", "ISN"]
    assert rows[0].names == ("Blackthorn Semiconductor Works", "Blackthorn Semi", "BSW Microelectronics")
    assert (rows[0].key, rows[1].key) == ("EL:s1", "SDN:90001")
    read = read_list("\ufeff" + json.dumps({"total": 1, "results": [JSON_ENTRY]}))
    assert read == [ListedParty("EL:9", "EL", ("Blackthorn", "Thorn"))]
    assert read_list(json.dumps([JSON_ENTRY | {"source": "Some New List (NEW)"}]))[0].source == "OTHER"
    nameless = {"source": "SDN", "name": "Anon"}
    assert read_list(json.dumps([nameless]))[0].key == read_list(json.dumps([nameless | {"name": "ANON."}]))[0].key


def test_lines_of_one_entry_are_one_entry() -> None:
    (party,) = read_list(json.dumps([JSON_ENTRY, JSON_ENTRY | {"name": "Blackthorn II"}]))
    assert party.names == ("Blackthorn", "Thorn", "Blackthorn II")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns name, source are missing"),
        ("name,country\na,b", "columns source are missing"),
        ("name,source", "no entry"),
        ('name,source\n"a,b', "not CSV"),
        ("name,source\n,EL", "entry 1 has no name"),
        ("name,source\na,", r"entry 1 \(a\) does not say"),
        ("{", "not JSON"),
        ("{}", "in `results`"),
        ("[1]", "entry 1 is not a mapping"),
        ("[{}]", "entry 1 has no name"),
        ("source,name,title\nEL,Smith,a\nEL,Smith, John,b", "entry 2 has more columns"),
        ("source,name,title\nEL,Smith", "entry 1 has fewer columns"),
        ("source,name,name\nEL,a,b", "two columns have one name"),
        (json.dumps({"total": 25_000, "results": [{"source": "EL", "name": "a"}]}), "1 of 25000 entries: one page"),
        ("[" * 100_000, "not JSON"),
        ("<html>sign in</html>", "columns name, source are missing"),
    ],
)
def test_a_malformed_list_is_refused(text: str, message: str) -> None:
    with pytest.raises(ListFileError, match=message):
        read_list(text)


@pytest.mark.django_db
class TestScreening:
    """With the sample list in the database."""

    @pytest.fixture
    def alice(self) -> Firm:
        return make_firm("Alice", "NL")

    def test_an_import_replaces_the_list_and_is_in_the_log(self) -> None:
        first, second = fresh_list(NOON, days_old=3), fresh_list(NOON)
        assert set(ScreeningEntry.objects.values_list("screening_list", flat=True)) == {second.pk}
        assert (age_days(first, NOON), age_days(second, NOON), second.entries_count) == (3, 0, 6)
        assert Event.objects.filter(type="compliance.list_imported", firm_id=None).count() == 2

    def test_the_command_imports_and_refuses(self, tmp_path: Path, capsys: Any) -> None:
        call_command("import_screening_list", str(SAMPLE), "--published", "2026-11-01")
        assert "6 entries of 2026-11-01" in capsys.readouterr().out
        kept = ScreeningList.objects.get()
        half, broken, binary = tmp_path / "half.json", tmp_path / "broken.csv", tmp_path / "binary"
        half.write_text(json.dumps([JSON_ENTRY]))
        broken.write_text("name\nx")
        binary.write_bytes(b"\xff\xfe\x00")
        for file, why in ((half, "is the file whole"), (broken, "source are missing"), (binary, "can't be read")):
            with pytest.raises(CommandError, match=why):
                call_command("import_screening_list", str(file))
        with pytest.raises(CommandError, match="can't be read"):
            call_command("import_screening_list", str(tmp_path / "nothing"))
        month_ago = (datetime.now(UTC) - timedelta(days=30)).timestamp()
        old = tmp_path / "old.csv"
        old.write_text("\ufeff" + SAMPLE.read_text().replace("\n", "\r\n"))
        os.utime(old, (month_ago, month_ago))
        with pytest.raises(CommandError, match="yet to come"):
            call_command("import_screening_list", str(SAMPLE), "--published", "2999-01-01")
        assert ScreeningList.objects.get() == kept and kept.entries.count() == 6
        call_command("import_screening_list", str(half), "--may-shrink")
        assert ScreeningEntry.objects.count() == 1
        with pytest.raises(CommandError, match="the list in force of"):
            call_command("import_screening_list", str(old))
        call_command("import_screening_list", str(old), "--may-be-older")
        newest = ScreeningList.objects.latest("pk")
        assert (newest.entries_count, newest.published_on) == (6, date.fromtimestamp(month_ago))

    def sale(self, seller: Firm, buyer: Firm, **facts: Any) -> Any:
        plain = {"ships_from": "NL", "ships_to": "DE", "stage": Stage.ORDER, "subject": "sale_1", "now": NOON}
        return decide_sale(seller=seller, buyer=buyer, item=card(), **(plain | facts))

    @pytest.mark.parametrize(("days_old", "held"), [(0, False), (7, False), (8, True), (None, True)])
    def test_without_a_fresh_list_no_card_is_sold_and_leases_go_on(
        self, alice: Firm, days_old: int | None, held: bool
    ) -> None:
        if days_old is not None:
            fresh_list(NOON, days_old=days_old)
        decision = self.sale(alice, make_firm())
        assert (decision.decided_by == ["screening-list-stale"]) is held
        assert may_lease(alice, now=NOON)

    @pytest.mark.parametrize(
        ("name", "parent", "outcome", "row"),
        [
            ("Grimshaw Trading FZE", "", "block", "listed-party"),
            ("Grimshaw Tradings FZE", "", "hold", "similar-name"),
            ("Moorhen Optical Instruments Ltd", "", "hold", "unverified-party"),
            ("Corncrake", "Ravenscar Institute", "block", "listed-parent-affiliates"),
            ("Corncrake", "Ravenscar Institut", "hold", "similar-name"),
            ("Corncrake", "", "allow", "cards-elsewhere"),
        ],
    )
    @pytest.mark.parametrize("side", ["buyer", "seller"])
    def test_either_party_and_its_parent_are_looked_up(
        self, alice: Firm, name: str, parent: str, outcome: str, row: str, side: str
    ) -> None:
        fresh_list(NOON)
        firm = make_firm(name)
        firm.ultimate_parent = parent
        firm.save()
        parties = (alice, firm) if side == "buyer" else (firm, alice)
        decision = self.sale(*parties)
        assert (decision.outcome, decision.decided_by) == (outcome, [row])
        assert reproduce(decision).input_hash == decision.input_hash
        if side == "buyer":
            assert decide_lease(firm, now=NOON).outcome == outcome

    def test_a_false_match_is_remembered_until_the_name_or_the_entry_changes(self, alice: Firm) -> None:
        fresh_list(NOON)
        operator, firm = make_person(is_operator=True), make_firm("Grimshaw Tradings")
        review = {"entry": "SDN:90001", "reason": "a bakery in Kent", "operator": operator, "now": NOON}
        assert self.sale(alice, firm).outcome == "hold"
        with pytest.raises(NotAllowed):
            review_match(firm=firm, is_same=False, **(review | {"operator": make_person()}))
        with pytest.raises(Invalid):
            review_match(firm=firm, is_same=False, **(review | {"reason": " "}))
        with pytest.raises(NotFound):
            review_match(firm=alice, is_same=False, **review)
        review_match(firm=firm, is_same=False, **review)
        assert self.sale(alice, firm).outcome == "allow"
        fresh_list(NOON + timedelta(days=1))
        assert self.sale(alice, firm).outcome == "allow"
        changed = SAMPLE.read_text().replace("Grimshaw General Trading", "Grimshaw Bakeries")
        import_list(text=changed, file_name="x", published_on=TODAY + timedelta(days=1), actor="test", now=NOON)
        assert self.sale(alice, firm).outcome == "hold"
        fresh_list(NOON)
        assert self.sale(alice, firm).outcome == "allow"
        firm.name = "Grimshaw Trading House"
        firm.save()
        assert self.sale(alice, firm).outcome == "hold"
        assert Event.objects.get(type="compliance.match_reviewed").reason == "false_match"

    def test_a_false_match_clears_no_other_entry_no_other_name_and_no_other_firm(self, alice: Firm) -> None:
        fresh_list(NOON)
        operator, firm = make_person(is_operator=True), make_firm("Grimshaw Tradings")
        review_match(firm=firm, entry="SDN:90001", is_same=False, reason="a bakery", operator=operator, now=NOON)
        assert self.sale(alice, firm).outcome == "allow"
        namesake = make_firm("Grimshaw Tradings")
        assert self.sale(alice, namesake).decided_by == ["similar-name"]
        firm.ultimate_parent = "Grimshaw Trading Group of Kent"
        firm.save()
        assert self.sale(alice, firm).decided_by == ["similar-name"]
        firm.ultimate_parent = ""
        firm.save()
        second = SAMPLE.read_text() + 's7,Entity List (EL),,,,Grimshaw Trading Works,,,,,,"",\n'
        import_list(text=second, file_name="x", published_on=TODAY, actor="test", now=NOON)
        held = self.sale(alice, firm)
        assert [match["entry"] for match in held.inputs["screening"]["matches"]] == ["EL:s7"]

    def test_a_true_match_blocks_and_an_exact_one_is_not_talked_away(self, alice: Firm) -> None:
        fresh_list(NOON)
        operator, similar, exact = (
            make_person(is_operator=True),
            make_firm("Grimshaw Tradings"),
            make_firm("Invented Person"),
        )
        review = {"reason": "same address", "operator": operator, "now": NOON}
        review_match(firm=similar, entry="SDN:90001", is_same=True, **review)
        assert self.sale(alice, similar).decided_by == ["listed-party"]
        with pytest.raises(Conflict, match="exactly the listed one"):
            review_match(firm=exact, entry="DPL:s3", is_same=False, **review)
        review_match(firm=similar, entry="SDN:90001", is_same=False, **review)
        assert self.sale(alice, similar).outcome == "allow"
        assert MatchReview.objects.count() == 2

    def test_no_list_says_so(self, alice: Firm) -> None:
        assert screen([alice], now=NOON) == Screening(ListState.MISSING)

    def test_a_list_that_is_replaced_while_it_is_read_is_not_asked(self, alice: Firm) -> None:
        fresh_list(NOON)
        ScreeningEntry.objects.first().delete()  # type: ignore[union-attr]
        with pytest.raises(Conflict, match="ask again"):
            self.sale(alice, make_firm())

    def test_asking_twice_reads_the_list_once(self, alice: Firm, django_assert_max_num_queries: Any) -> None:
        fresh_list(NOON)
        may_lease(alice, now=NOON)
        with django_assert_max_num_queries(3):
            may_lease(alice, now=NOON)
        assert connection.vendor == "postgresql"
