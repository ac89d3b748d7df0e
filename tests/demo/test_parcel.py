"""Cards of the demo that move from host to host, as parcels do."""

from __future__ import annotations

import json

from marketplace.demo.cards import ForSale, still_there
from marketplace.demo.fleet import cards_at, home_of, host_dir, host_named, move, write_fleet
from marketplace.demo.parcel import Parcel, unplug


def test_a_sold_card_is_in_one_host_at_a_time(tmp_path):
    seller, buyer = host_named("kestrel-2"), host_named("wren-1")
    kept, sold = cards_at(tmp_path, seller)
    assert cards_at(tmp_path, buyer) == [] and home_of(sold.uuid) == seller
    move(tmp_path, sold.uuid, sold.kind, to="")
    assert cards_at(tmp_path, seller) == [kept] and cards_at(tmp_path, buyer) == []
    move(tmp_path, sold.uuid, sold.kind, to="wren-1")
    assert cards_at(tmp_path, seller) == [kept] and cards_at(tmp_path, buyer) == [sold]
    assert sold.kind.memory_mib == 49_140
    move(tmp_path, sold.uuid, sold.kind, to="kestrel-2")
    assert cards_at(tmp_path, seller) == [kept, sold] and cards_at(tmp_path, buyer) == []


def test_a_swapped_card_is_another_of_the_same_kind(tmp_path):
    buyer, (sold, _) = host_named("wren-1"), cards_at(tmp_path, host_named("kestrel-1"))
    move(tmp_path, "GPU-other", sold.kind, to="wren-1")
    write_fleet(tmp_path, buyer, [(card, {}) for card in cards_at(tmp_path, buyer)])
    (shown,) = json.loads((host_dir(tmp_path, "wren-1") / "fleet.json").read_text())["cards"]
    assert (shown["uuid"], shown["name"]) == ("GPU-other", sold.kind.name)
    assert sold in cards_at(tmp_path, host_named("kestrel-1"))


def test_what_was_sent_back_is_in_no_host_until_it_arrives(tmp_path):
    seller, buyer = host_named("kestrel-1"), host_named("wren-1")
    sold, kept = cards_at(tmp_path, seller)
    parcel = Parcel("sale_1", sold.uuid, "GPU-other", sold.kind, "kestrel-1")
    unplug(parcel, tmp_path)
    assert cards_at(tmp_path, seller) == [kept] and cards_at(tmp_path, buyer) == []
    move(tmp_path, "GPU-other", sold.kind, to="wren-1")
    unplug(parcel, tmp_path)
    assert cards_at(tmp_path, buyer) == []


def test_the_shop_offers_only_what_nobody_has_carried_away(tmp_path):
    sold, kept = cards_at(tmp_path, host_named("kestrel-1"))
    shop = ForSale("kestrel-1", (0, 1), "1450.00", "DE")
    move(tmp_path, sold.uuid, sold.kind, to="wren-1")
    assert still_there(tmp_path, shop) == [kept.uuid]
    move(tmp_path, kept.uuid, kept.kind, to="")
    assert still_there(tmp_path, shop) == []
