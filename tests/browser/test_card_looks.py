"""The pages of the cards half in their main states, light and dark, on a desk and on a phone."""

from __future__ import annotations

import pytest

from tests.browser.card_scene import STEPS, Shop
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
# Structure is the same in every light and contrast at every size: each rule runs where it can find something new.
LOOKS = (
    ("light", 1280, None),
    ("dark", 1280, ["color-contrast"]),
    ("dark", 375, None),
    ("light", 375, ["color-contrast"]),
)


def faults(visitor: Visitor, axe_source: str, pages: dict[str, str]) -> list[str]:
    """What is wrong with these pages; each is asked for once and looked at in every light and size."""
    wrong = []
    for name, path in pages.items():
        visitor.look(*LOOKS[0][:2])
        visitor.open(path)
        for theme, width, rules in LOOKS:
            visitor.look(theme, width)
            visitor.picture(name)
            seen = visitor.accessibility(axe_source, rules)
            if visitor.overflow() > 0:
                seen.append(f"{visitor.overflow()} px too wide")
            seen += [f"cut off: {each}" for each in visitor.cut_off()]
            wrong += [f"{name} {theme} {width}: {each}" for each in seen]
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
