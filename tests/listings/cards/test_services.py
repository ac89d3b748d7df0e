"""What may be listed for sale, and what is refused with a reason that helps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listings.cards import services
from listings.cards.models import CardListing, CardListingCard
from listings.cards.services import (
    add_photo,
    change_card_listing,
    close_card_listing,
    open_card_listing,
    pause_card_listing,
    take_cards,
)
from marketplace.common.errors import Conflict, Invalid, NotFound
from nodes.models import Card, IdentityChange, IdentityConflict
from tests.cards import USD, draft, list_for_sale, measure, photo
from tests.factories import NOON, make_firm
from tests.hosts import Host

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _photos_here(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def host():
    return Host(make_firm("Alice"), NOON, count=3)


def opened(listing, now=NOON):
    return open_card_listing(firm=listing.firm, public_id=listing.public_id, actor="test", now=now)


def refused(listing, now=NOON):
    with pytest.raises(Conflict) as error:
        opened(listing, now)
    assert CardListing.objects.get(pk=listing.pk).state == "draft"
    return error.value


def test_a_measured_lot_with_photos_goes_into_the_book_at_the_grade_of_its_worst_card(host):
    measure(host.cards[0], now=NOON, grade="F0")
    measure(host.cards[1], now=NOON, grade="F2")
    listing = opened(draft(host.cards[:2], now=NOON))
    assert (listing.state, listing.function_grade, listing.zone, listing.priced_at) == ("open", "F2", "eu", NOON)
    assert [each.is_live for each in listing.lot.all()] == [True, True]


def test_a_lot_where_one_card_fails_is_refused_and_names_the_card(host):
    measure(host.cards[0], now=NOON)
    error = refused(draft(host.cards[:2], now=NOON))
    assert error.code == "passport_needed"
    assert host.cards[1].public_id in error.detail
    assert error.errors[0].pointer == "/cards/1"


def test_an_expired_passport_and_one_of_another_firm_prove_nothing(host):
    measure(host.cards[0], now=NOON - timedelta(days=15))
    assert refused(draft(host.cards[:1], now=NOON)).code == "passport_needed"
    measure(host.cards[0], now=NOON, firm=make_firm())
    assert refused(draft(host.cards[:1], now=NOON)).code == "passport_needed"


def test_modified_memory_must_be_disclosed(host):
    measure(host.cards[0], now=NOON, findings=[{"code": "memory_modified", "severity": "warning"}], grade="F2")
    assert refused(draft(host.cards[:1], now=NOON)).code == "memory_mod_undisclosed"
    assert opened(draft(host.cards[:1], now=NOON, flags=("memory_mod",))).flags == ["memory_mod"]


def test_the_flag_of_modified_memory_can_not_be_taken_back(host):
    Card.objects.update(is_modified=True)
    for card in host.cards:
        card.refresh_from_db()
    listing = list_for_sale(host.cards[:1], now=NOON, flags=("memory_mod",))
    with pytest.raises(Invalid):
        change_card_listing(
            firm=listing.firm, public_id=listing.public_id, changes={"flags": []}, actor="test", now=NOON
        )


@pytest.mark.parametrize("code", ["memory_overstated", "sku_relabelled", "virtualised", "views_disagree"])
def test_a_card_that_is_not_what_it_says_is_never_listed(host, code):
    measure(host.cards[0], now=NOON, findings=[{"code": code, "severity": "disqualifying"}], grade="FX")
    assert refused(draft(host.cards[:1], now=NOON, flags=("memory_mod",))).code == "card_not_genuine"


def test_a_blocked_card_is_refused(host):
    measure(host.cards[0], now=NOON)
    change = IdentityChange.objects.create(
        card=host.cards[0], node=host.cards[0].node, changes={"serial": ["1", "2"]}, is_blocking=True, seen_at=NOON
    )
    assert refused(draft(host.cards[:1], now=NOON)).code == "card_blocked"
    IdentityChange.objects.filter(pk=change.pk).update(accepted_at=NOON)
    newcomer = Host(make_firm(), NOON, count=0)
    IdentityConflict.objects.create(card=host.cards[0], newcomer=newcomer.node, seen_at=NOON)
    list_for_sale(host.cards[:1], now=NOON)  # a stranger who names its UUID blocks nobody's card


def test_a_card_is_for_sale_in_one_listing_only_whoever_lists_it(host):
    first = list_for_sale(host.cards[:2], now=NOON)
    again = refused(draft(host.cards[1:], now=NOON))
    assert (again.code, first.public_id in again.detail) == ("card_already_listed", True)
    other = Host(make_firm("Eve"), NOON, count=0)
    Card.objects.filter(pk=host.cards[0].pk).update(firm=other.node.firm, node=other.node)
    moved = Card.objects.get(pk=host.cards[0].pk)
    measure(moved, now=NOON)
    theirs = refused(draft([moved], now=NOON))
    assert (theirs.code, first.public_id in theirs.detail) == ("card_already_listed", False)
    close_card_listing(firm=first.firm, public_id=first.public_id, actor="test", now=NOON)
    assert opened(draft([moved], now=NOON)).state == "open"


def test_photos_are_needed_and_the_code_is_on_one(host):
    measure(host.cards[0], now=NOON)
    listing = draft(host.cards[:1], now=NOON)
    listing.photos.filter(kind="code").delete()
    error = refused(listing)
    assert (error.code, listing.code in error.detail) == ("photos_missing", True)


def test_the_same_photo_twice_is_one_and_a_file_that_is_none_is_not_kept(host, tmp_path):
    listing = draft(host.cards[:1], now=NOON)
    add_photo(firm=listing.firm, public_id=listing.public_id, kind="front", data=photo(0), now=NOON)
    assert listing.photos.count() == 2
    with pytest.raises(Invalid):
        add_photo(firm=listing.firm, public_id=listing.public_id, kind="front", data=b"<svg/>", now=NOON)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_only_like_cards_make_a_lot_and_only_ones_own(host):
    other = Host(host.node.firm, NOON, gpu="rtx-4090", count=1)
    with pytest.raises(Invalid) as error:
        draft([host.cards[0], other.cards[0]], now=NOON)
    assert error.value.code == "not_alike"
    foreign = Host(make_firm(), NOON, count=1)
    with pytest.raises(NotFound):
        draft([host.cards[0], foreign.cards[0]], now=NOON)


def test_a_new_price_makes_it_the_youngest_and_other_changes_do_not(host):
    listing = list_for_sale(host.cards[:1], now=NOON)
    later = NOON + timedelta(hours=1)

    def changed(**changes):
        return change_card_listing(
            firm=listing.firm, public_id=listing.public_id, changes=changes, actor="test", now=later
        ).priced_at

    assert changed(warranty_days=30) == NOON
    assert changed(ask_micros=900 * USD) == later


def test_a_lot_closes_when_its_last_card_is_taken(host):
    listing = list_for_sale(host.cards[:2], now=NOON)
    take_cards(listing=listing, taken={host.cards[0].pk: "sale_a"}, now=NOON)
    assert CardListing.objects.get(pk=listing.pk).state == "open"
    pause_card_listing(firm=listing.firm, public_id=listing.public_id, actor="test", now=NOON)
    listing.refresh_from_db()
    take_cards(listing=listing, taken={host.cards[1].pk: "sale_b"}, now=NOON)
    assert CardListing.objects.get(pk=listing.pk).state == "closed"
    assert not CardListingCard.objects.filter(is_live=True).exists()


def test_a_firm_sends_so_many_photos_a_day_whatever_drafts_it_makes(host, monkeypatch):
    monkeypatch.setattr(services, "PHOTOS_PER_DAY_MAX", 3)
    other = draft(host.cards[:1], now=NOON)

    def send(number, at):
        add_photo(firm=other.firm, public_id=other.public_id, kind="back", data=photo(number), now=at)

    send(100, NOON)
    with pytest.raises(Conflict) as many:
        send(200, NOON)
    assert many.value.code == "too_many_photos"
    send(200, NOON + timedelta(days=1))
