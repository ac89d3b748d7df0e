"""The page that says rent or sell, as a browser without scripts sees it."""

from __future__ import annotations

import html
import re

import pytest
from django.urls import reverse

from nodes.models import Card
from tests.factories import make_firm, make_person
from tests.marketplace.fleet.test_advisor_api import make_fleet, trade, use_hours

pytestmark = pytest.mark.django_db
ADVISOR = "/sell/advisor/"
# What the formulas were explained with; percent, as people write it.
ILLUSTRATED = {
    "monthly_decline": "3",
    "money_cost": "1",
    "selling_cost": "8",
    "rent_price": "0.35",
    "platform_fee": "15",
    "energy_price": "0.08",
    "pue": "1.3",
    "load_watts": "425",
    "idle_watts": "25",
    "fixed_cost": "5.00",
}
LARGE, SMALL = "rtx-4090-d.48.modified", "rtx-4090-d.24"


@pytest.fixture
def fleet(frozen):
    return make_fleet()


@pytest.fixture
def seller(client, fleet):
    client.force_login(make_person(fleet.firm))
    return client


def text_of(answer):
    """What is written on the page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())).split())


def verdict_of(answer):
    """The badge beside the kind's name."""
    head = re.search(r'id="verdict-title".*?</div><div class="body">', answer.content.decode(), re.DOTALL)[0]
    return " ".join(re.sub(r"<[^>]+>", " ", head.partition("</h2>")[2]).split())


@pytest.mark.parametrize(
    ("share", "kind", "value", "verdict"),
    [
        (0.2, LARGE, "4500", "Sell now"),
        (0.2, SMALL, "2000", "Sell now"),
        (0.7, LARGE, "4500", "Sell now"),
        (0.7, SMALL, "2000", "Rent out"),
    ],
)
def test_the_story_on_the_page(seller, fleet, share, kind, value, verdict):
    use_hours([*fleet.large, *fleet.small], leased=share)
    answer = seller.get(ADVISOR, ILLUSTRATED | {"kind": kind, "card_value": value})
    assert verdict_of(answer) == verdict
    text = text_of(answer)
    assert f"rented {'92.3' if value == '4500' else '43.1'} % of its hours; now {share * 100:.0f} %" in text
    assert f"(0.03 + 0.01) × {value} × (1 − 0.08)" in text
    assert "measured: 200 h seen in 30 days" in text


def test_the_fleet_is_summed_up_by_kind(seller, fleet):
    use_hours(fleet.large, leased=0.5, owner=0.25)
    trade(fleet.large[0], 500_000)
    text = text_of(seller.get(ADVISOR))
    assert "2 × GeForce RTX 4090 D 48 GiB · modified a price is missing 50 % 50 h" in text
    assert "0.50 USD median of 1 trade" in text
    assert "Too few such cards were sold here for a price." in text
    assert "no trade in 30 days" in text


def test_an_assumption_that_makes_no_sense_is_named_and_the_rest_is_used(seller, fleet):
    answer = seller.get(ADVISOR, ILLUSTRATED | {"kind": SMALL, "card_value": "2000", "pue": "0.2"})
    assert answer.status_code == 200
    text = text_of(answer)
    assert "Power for cooling and losses (PUE) : Ensure this value is greater than or equal to 1." in text
    assert verdict_of(answer) == "Sell now"
    for value in ("-1", "NaN", "1e9", "99999999", "x"):
        assert "Please correct this: Price of the card (V0)" in text_of(seller.get(ADVISOR, {"card_value": value}))


def test_assumptions_that_contradict_each_other_are_named(seller, fleet):
    both = {"kind": SMALL, "card_value": "2000", "rented_share": "80", "own_share": "30"}
    assert "Rented and used by yourself are more hours than there are." in text_of(seller.get(ADVISOR, both))
    cold = {"kind": SMALL, "load_watts": "20", "idle_watts": "30"}
    assert "A card under load takes no less than an idle one." in text_of(seller.get(ADVISOR, cold))


def test_one_click_opens_the_listing_with_the_cards_and_the_price(seller, fleet):
    use_hours(fleet.small, leased=0.7)
    trade(fleet.small[0], 350_400)
    page = seller.get(ADVISOR, {"kind": SMALL, "card_value": "2000"}).content.decode()
    assert "List for rent what should be" in page
    target = html.unescape(re.search(rf'href="({reverse("storefront:listing-new")}\?card=[^"]+)"', page)[1])
    form = seller.get(target).content.decode()
    for card in fleet.small:
        assert re.search(rf'value="{card.public_id}"[^>]*checked', form)
    assert 'name="ask" value="0.350"' in form


def test_one_click_opens_the_sale_of_the_least_used_cards(seller, fleet):
    use_hours(fleet.small[:1], leased=0.3)
    use_hours(fleet.small[1:], leased=0.1)
    page = seller.get(ADVISOR, ILLUSTRATED | {"kind": SMALL, "card_value": "3000"}).content.decode()
    href, words = re.search(r'href="(/sell/cards/new/[^"]+)">(Sell \d cards?)<', page).groups()
    assert words == "Sell 2 cards"
    cards = re.findall(r"card=(\w+)", html.unescape(href))
    assert cards == [fleet.small[1].public_id, fleet.small[0].public_id]
    assert seller.get(html.unescape(href)).status_code == 200


def test_rising_prices_are_warned_of_and_no_share_is_below_nothing(seller, fleet):
    rising = ILLUSTRATED | {"monthly_decline": "-4", "card_value": "4500", "rented_share": "20", "kind": LARGE}
    text = text_of(seller.get(ADVISOR, rising))
    assert "Prices rise by 4.0 % a month by this assumption." in text
    assert "buying back may not be possible at any price" in text
    assert "keeping it pays even when nobody rents it" in text
    assert "buying one back in 6 months would cost 5 892.24 USD" in text


def test_nobody_sees_the_cards_of_others_and_an_unknown_kind_is_the_first(client, seller, fleet):
    assert "RTX 4090 D" in text_of(seller.get(ADVISOR, {"kind": "no-such"}))
    client.force_login(make_person(make_firm()))
    text = text_of(client.get(ADVISOR, {"kind": SMALL}))
    assert "RTX 4090 D" not in text
    assert "No cards yet" in text


def test_a_viewer_reads_the_advice_and_is_offered_nothing_to_list(client, fleet):
    client.force_login(make_person(fleet.firm, "viewer"))
    page = client.get(ADVISOR, {"kind": SMALL, "card_value": "2000", "rent_price": "0.9"}).content.decode()
    assert "List for rent" not in page


def test_many_cards_come_in_pages(seller, fleet):
    for number in range(30):
        Card.objects.create(
            uuid=f"GPU-many-{number:04d}", firm=fleet.firm, node=fleet.small[0].node, index=number + 2,
            gpu_model=fleet.small[0].gpu_model, memory_mib=24_564, first_seen_at=fleet.small[0].first_seen_at,
        )  # fmt: skip
    page = seller.get(ADVISOR, {"kind": SMALL}).content.decode()
    assert "Older" in page
    assert "32 × GeForce RTX 4090 D" in text_of(seller.get(ADVISOR, {"kind": SMALL}))
