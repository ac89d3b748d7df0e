"""A card sold by clicks, from the photo to the money; and one that was swapped, sent back and refunded."""

from __future__ import annotations

import pytest

from marketplace.common import clock
from marketplace.sales.models import Sale
from marketplace.sales.services.measuring import consider_passports
from nodes.models import Card
from tests.browser.visitor import Visitor
from tests.cards import USD, photo
from tests.factories import fund
from tests.nodes.passports.measuring import Measurer

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("card_rules")]
OTHER = "GPU-0000abcd-0000-4000-8000-00000000beef"


def picture(number: int = 0) -> dict[str, object]:
    """What a file chooser is given."""
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo(number)}


class Walk:
    """Alice and Bob, each with a browser; the agents' part happens on their hosts."""

    def __init__(self, chromium, base, scene) -> None:
        self.market = scene.market
        fund(self.market.bob, 5000 * USD)
        self.host = Measurer(clock.now(), self.market.alice)
        self.host.measure(clock.now())
        self.card = Card.objects.get(uuid=self.host.uuid)
        self.visitors = {
            "alice": Visitor(chromium, base, theme="light", width=1280),
            "bob": Visitor(chromium, base, theme="dark", width=375),
            "operator": Visitor(chromium, base, theme="light", width=1280),
        }
        for name, visitor in self.visitors.items():
            visitor.sign_in(f"{name}@fallow.example")
        self.alice, self.bob, self.operator = (visitor.page for visitor in self.visitors.values())

    def troubles(self) -> list[str]:
        """What went wrong on the way; a form that is refused is no trouble."""
        heard = [each for visitor in self.visitors.values() for each in visitor.troubles]
        return [each for each in heard if "422 (Unprocessable" not in each]

    def close(self) -> None:
        """End of the visits."""
        for visitor in self.visitors.values():
            visitor.close()

    def list_the_card(self) -> None:
        """A draft, two photos with the code between them, and into the book."""
        page = self.alice
        page.click("#navigation >> text=/^Sell$/")
        page.click("main >> text=Sell cards >> nth=0")
        page.check(f"input[value={self.card.public_id}]")
        page.fill("input[name=ask]", "1500.00")
        assert "You earn 1425.00 per card; the fee is 75.00" in page.inner_text("#earnings")
        page.fill("input[name=shipping]", "20")
        page.fill("input[name=shipping_abroad]", "50")
        page.click("text=Make a draft")
        page.click("text=Put it into the book")
        assert "hotos are missing" in page.inner_text(".messages")
        for number, kind in enumerate(("front", "code")):
            page.select_option("select[name=kind]", kind)
            page.set_input_files("input[name=file]", picture(number))
            page.click("text=Add the photo")
            page.wait_for_selector(f".photos li:nth-child({number + 1}) img")
        page.click("text=Put it into the book")
        page.wait_for_selector("text=The cards are for sale")

    def buy_it(self) -> Sale:
        """From the market to the model's book, back to the card, the landed price, and bought."""
        page = self.bob
        self.visitors["bob"].open("/")
        page.click("summary:has(svg[aria-label=Menu])")
        page.click("nav[aria-label=Menu] >> text=Cards")
        page.click("summary:has-text('Filters')")
        page.select_option("select[name=ships_to]", "FR")
        page.wait_for_url("**ships_to=FR**")
        page.click("#results >> text=GeForce RTX 4090")
        page.click("text=book and history")
        assert "1\N{NARROW NO-BREAK SPACE}500.00 USD" in page.inner_text(".stats")
        page.click("section:has(h2:text('Asks')) >> text=GeForce RTX 4090")
        page.click(".actions >> text=Buy")
        page.click("text=Show the total")
        page.wait_for_selector("#id_address_error, .field.invalid")
        page.select_option("select[name=ships_to]", "FR")
        page.fill("textarea[name=address]", "1 rue de la Carte, Paris")
        page.click("text=Show the total")
        page.wait_for_selector("dl.totals >> text=1\N{NARROW NO-BREAK SPACE}550.00 USD")
        page.click("text=Buy now")
        page.wait_for_selector("#status >> text=Paid, money held")
        return Sale.objects.get(card=self.card)

    def ship(self, page, number: int) -> None:
        """Carrier, number and a photo of the label."""
        page.fill("input[name=ship-carrier]", "DHL")
        page.fill("input[name=ship-tracking]", f"JD{number}")
        page.click("text=It is on its way")  # without the photo
        page.wait_for_selector("#id_ship-file_error")
        page.fill("input[name=ship-carrier]", "DHL")
        page.set_input_files("input[name=ship-file]", picture(number))
        page.click("text=It is on its way")
        page.wait_for_selector(f"dd >> text=JD{number}")

    def measured(self, host: Measurer, sale: Sale, role: str) -> None:
        """The agent of that host has measured its card for the sale."""
        host.measure(clock.now(), role=role, subject=sale.public_id)
        assert consider_passports(now=clock.now()) == 1


@pytest.fixture
def walk(chromium, live_server, scene):
    started = Walk(chromium, live_server.url, scene)
    yield started
    started.close()


@pytest.mark.timeout(180)
def test_a_card_is_listed_bought_shipped_measured_and_paid_for_by_clicks(walk):
    walk.list_the_card()
    sale = walk.buy_it()
    walk.alice.click("#navigation >> text=Sales")
    walk.alice.click(".tabs >> text=Sold")
    assert "Yours: ship the card" in walk.alice.inner_text("table")
    walk.alice.click("table >> text=GeForce RTX 4090")
    walk.ship(walk.alice, 7)
    walk.host.report(clock.now(), has_card=False)
    walk.bob.reload()
    walk.bob.click("text=It has arrived")
    walk.bob.wait_for_selector("#status >> text=Being inspected")
    assert f"--role buyer --sale {sale.public_id}" in walk.bob.inner_text("#measure")
    walk.measured(Measurer(clock.now(), walk.market.bob), sale, "buyer")
    # The open page finds out by itself, without taking away what somebody types there.
    walk.bob.fill("textarea[name=evidence-text]", "half a sen")
    walk.bob.wait_for_selector("#status >> text=Released to the seller", timeout=20_000)
    assert walk.bob.input_value("textarea[name=evidence-text]") == "half a sen"
    walk.bob.click("text=Something has happened")
    walk.bob.wait_for_selector("text=The buyer measured the same card")
    walk.alice.reload()
    assert "1\N{NARROW NO-BREAK SPACE}475.00" in walk.alice.inner_text("dl.totals")
    assert walk.troubles() == []


@pytest.mark.timeout(180)
def test_a_swapped_card_is_disputed_ruled_on_sent_back_and_refunded_by_clicks(walk):
    walk.list_the_card()
    sale = walk.buy_it()
    walk.alice.goto(walk.bob.url)
    walk.ship(walk.alice, 7)
    walk.measured(Measurer(clock.now(), walk.market.bob, uuid=OTHER), sale, "buyer")
    walk.bob.reload()
    walk.bob.wait_for_selector("text=What is different")
    walk.bob.click("button:text-is('Send')")  # nothing to send yet
    walk.bob.wait_for_selector("#id_evidence-text_error >> text=Write something or choose a photo")
    walk.bob.fill("textarea[name=evidence-text]", "Another one was in the parcel.")
    walk.bob.set_input_files("input[name=evidence-file]", picture(9))
    walk.bob.click("button:text-is('Send')")
    walk.bob.wait_for_selector(".said >> text=Another one was in the parcel.")
    walk.operator.click("#navigation >> text=Operator")
    walk.operator.click("table >> text=GeForce RTX 4090")
    assert walk.operator.locator(".photos img").count() == 2
    walk.operator.check("text=Each gets a part")
    walk.operator.fill("textarea[name=text]", "Send back what came.")
    walk.operator.click("button:text-is('Rule')")
    walk.operator.wait_for_selector("#id_refund_error")
    walk.operator.check("text=The buyer sends the card back first")
    walk.operator.click("button:text-is('Rule')")
    walk.operator.wait_for_selector("text=Both sides see it")
    walk.bob.reload()
    assert "Send back what came." in walk.bob.inner_text("main")
    walk.ship(walk.bob, 8)
    walk.alice.reload()
    walk.alice.click("text=It has arrived")
    walk.alice.wait_for_selector("#status >> text=Came back")
    walk.measured(walk.host, sale, "seller")
    walk.bob.reload()
    walk.bob.wait_for_selector("#status >> text=It came back as it was")
    assert "Returned to you" in walk.bob.inner_text("dl.totals")
    assert walk.troubles() == []
