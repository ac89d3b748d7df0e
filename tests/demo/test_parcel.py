"""Cards of the demo that move from host to host, as parcels do."""

from __future__ import annotations

import json

from marketplace.demo.fleet import cards_at, home_of, host_dir, host_named, move, write_fleet


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
