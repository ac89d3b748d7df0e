"""The pages of the cards half in their main states, light and dark, on a desk and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.card_scene import STEPS, Shop
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
# Every rule where a page is looked at first; in the dark and on a phone those that colours, sizes and what is hidden
# there can break; in the other two only the geometry can be new.
OTHERWISE = [
    "color-contrast",
    "target-size",
    "link-in-text-block",
    "region",
    "heading-order",
    "scrollable-region-focusable",
]
LOOKS = (("light", 1280, None), ("dark", 1280, []), ("dark", 375, OTHERWISE), ("light", 375, []))


def seen_faults(visitor: Visitor, axe_source: str, name: str) -> list[str]:
    """What is wrong with the page that is open, in every light and size."""
    wrong = []
    for theme, width, rules in LOOKS:
        visitor.look(theme, width)
        visitor.picture(name)
        seen = visitor.accessibility(axe_source, rules) if rules != [] else []
        if visitor.overflow() > 0:
            seen.append(f"{visitor.overflow()} px too wide")
        seen += [f"cut off: {each}" for each in visitor.cut_off()]
        wrong += [f"{name} {theme} {width}: {each}" for each in seen]
    visitor.look(*LOOKS[0][:2])
    return wrong


def faults(visitor: Visitor, axe_source: str, pages: dict[str, str]) -> list[str]:
    """What is wrong with these pages; each is asked for once."""
    wrong = []
    for name, path in pages.items():
        visitor.open(path)
        wrong += seen_faults(visitor, axe_source, name)
    return wrong + visitor.troubles


def visit(chromium, base: str, email: str = "") -> Visitor:
    visitor = Visitor(chromium, base, theme="light", width=1280)
    if email:
        visitor.sign_in(f"{email}@fallow.example")
    return visitor


def pages_of(who: str, shop: Shop) -> dict[str, str]:
    """Name → path of what this person looks at."""
    model, sales = shop.listing.gpu_model.slug, {name: f"/sales/{sale.public_id}/" for name, sale in shop.sales.items()}
    anybody = {
        "cards": "/cards/",
        "cards-none": "/cards/?memory_gib=400",
        "card-model": f"/cards/models/{model}/",
        "card-model-empty": "/cards/models/a100-sxm4-80gb/",
        "card-listing": f"/cards/listings/{shop.listing.public_id}/",
        "card-listing-modified": f"/cards/listings/{shop.modified.public_id}/",
        "card-listing-paused": f"/cards/listings/{shop.own['paused'].public_id}/",
    }
    return {
        "": anybody,
        "bob": {f"buyer-{name}": path for name, path in anybody.items() if name.startswith("card-")}
        | {f"bought-{name}": path for name, path in sales.items()}
        | {"bids": "/buy/card-bids/", "sales-bought": "/sales/", "sales-sold-none": "/sales/?side=seller"}
        | {"statement-buyer": "/wallet/statement/?account=escrow"},
        "alice": {f"sold-{name}": sales[name] for name in STEPS}
        | {f"own-{name}": f"/sell/cards/{listing.public_id}/" for name, listing in shop.own.items()}
        | {"sell-cards": "/sell/cards/", "sell-cards-new": "/sell/cards/new/", "sales-sold": "/sales/?side=seller"}
        | {
            "card-advisor": "/sell/advisor/?kind=rtx-4090.24",
            "statement-seller": "/wallet/statement/?account=earnings",
        },
        "lab": {f"lab-{name}": sales[name] for name in ("to-lab", "from-lab")} | {"sales-lab": "/sales/?side=lab"},
        "operator": {
            "operator-disputes": "/operator/",
            "ruling": f"/operator/sales/{shop.sales['disputed'].public_id}/",
            "ruling-over": f"/operator/sales/{shop.sales['split'].public_id}/",
            "export-cases": "/operator/export-rules/",
        },
    }[who]


@pytest.mark.timeout(400)
def test_every_page_of_the_cards_is_clean_and_accessible(chromium, live_server, shop, axe_source):
    wrong = []
    for who in ("", "bob", "alice", "lab", "operator"):
        visitor = visit(chromium, live_server.url, who)
        wrong += faults(visitor, axe_source, pages_of(who, shop))
        visitor.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(300)
def test_a_refused_form_says_why_beside_the_field(chromium, live_server, shop, axe_source):
    places = {
        "bob": {
            "buy-refused": (f"/cards/listings/{shop.listing.public_id}/", "Show the total", {"address": ""}),
            "bid-refused": (f"/cards/models/{shop.listing.gpu_model.slug}/", "Hold the money and bid", {}),
            "bid-too-high": (
                f"/cards/models/{shop.listing.gpu_model.slug}/", "Hold the money and bid", {"bid-limit": "9000000"}
            ),
            "dispute-empty": (f"/sales/{shop.sales['inspecting'].public_id}/", "Open a dispute", {}),
            "say-nothing": (f"/sales/{shop.sales['inspecting'].public_id}/", "Send", {}),
        },
        "alice": {
            "sell-refused": ("/sell/cards/new/", "Make a draft", {"ask": "a lot", "ships_to": "Europe"}),
            "photo-missing": (f"/sell/cards/{shop.own['draft'].public_id}/", "Add the photo", {}),
            "ship-refused": (f"/sales/{shop.sales['to-ship'].public_id}/", "It is on its way", {}),
        },
        "operator": {"rule-refused": (f"/operator/sales/{shop.sales['disputed'].public_id}/", "Rule", {"refund": "x"})},
    }  # fmt: skip
    wrong = []
    for who, forms in places.items():
        visitor = visit(chromium, live_server.url, who)
        for name, (path, button, values) in forms.items():
            visitor.open(path)
            for summary in visitor.page.query_selector_all("main details.confirm > summary"):
                summary.click()
            for field, value in values.items():
                visitor.page.fill(f"[name={field}]", value)
            visitor.page.click(f"main button:text-is('{button}')")
            visitor.page.wait_for_selector("[role=alert]")
            wrong += seen_faults(visitor, axe_source, name)
            unsaid = "[...document.querySelectorAll('[role=alert] a')].filter(a => !document.querySelector(a.hash))"
            assert visitor.page.evaluate(f"{unsaid}.map(a => a.hash)") == []
            by_field = (
                "[...document.querySelectorAll('.field.invalid')].filter(field => !field.querySelector('.wrong'))"
            )
            assert visitor.page.evaluate(f"{by_field}.length") == 0
            assert visitor.page.is_visible(".wrong, [role=alert] li"), name
        wrong += [each for each in visitor.troubles if "422 (Unprocessable" not in each]
        visitor.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(120)
def test_a_quote_is_readable_before_anything_is_bought(chromium, live_server, shop, axe_source):
    visitor = visit(chromium, live_server.url, "bob")
    for name, count in (("quote", "2"), ("quote-one", "1")):
        visitor.open(f"/cards/listings/{shop.listing.public_id}/")
        visitor.page.fill("input[name=count]", count)
        visitor.page.click("text=Show the total")
        visitor.page.wait_for_selector("dl.totals >> text=In all")
        assert seen_faults(visitor, axe_source, name) == []
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.timeout(120)
def test_a_dispute_is_opened_by_keyboard_alone(chromium, live_server, shop):
    visitor = visit(chromium, live_server.url, "bob")
    visitor.open(f"/sales/{shop.sales['inspecting'].public_id}/")
    page = visitor.page
    for _ in range(60):
        page.keyboard.press("Tab")
        if "It is not what was sold" in page.evaluate("document.activeElement.textContent"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("It is another card.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status >> text=Disputed")
    assert visitor.troubles == []
    visitor.close()
