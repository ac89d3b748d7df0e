"""Every page, light and dark, on a desk and on a phone: no errors, no sideways scrolling, nothing from elsewhere."""

from __future__ import annotations

import pytest

from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

PUBLIC = {"home": "/", "offers": "/offers/", "nothing": "/offers/?gpu=a100-sxm4-80gb", "sign-up": "/sign-up/"}


@pytest.mark.timeout(120)
def test_the_checks_see_what_is_wrong(chromium, live_server, scene, axe_source):
    visitor = Visitor(chromium, live_server.url, theme="light", width=375)
    visitor.open("/")
    visitor.page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    visitor.page.evaluate("document.querySelector('.stats').style.width = '900px'")
    visitor.page.evaluate("document.querySelector('.brand').replaceChildren()")
    visitor.page.evaluate("console.error('broken')")
    visitor.page.evaluate("fetch('https://elsewhere.example/').catch(() => 0)")
    found = visitor.accessibility(axe_source)
    assert any(each.startswith("color-contrast") for each in found)
    assert any(each.startswith("link-name") for each in found)
    assert any("broken" in each for each in visitor.troubles)
    assert visitor.overflow() > 0
    visitor.close()


def pages_of(who, scene):
    """Name → path of what this person looks at."""
    offer = f"listing={scene.offer_listing}&node={scene.hosts[1].node.public_id}&gpu=rtx-4090&memory_mib=24576"
    lease = f"/leases/{scene.lease.public_id}/"
    return {
        "bob": {
            "orders": "/buy/orders/",
            "order": f"/buy/orders/{scene.lease.order.public_id}/",
            "order-new": f"/buy/orders/new/?{offer}",
            "leases": "/leases/",
            "lease": lease,
            "wallet": "/wallet/",
            "deposit": f"/wallet/deposits/{scene.deposit.public_id}/",
            "statement": "/wallet/statement/",
            "books": "/books/",
            "documents": "/books/documents/",
            "keys": "/account/keys/",
            "members": "/account/members/",
            "invitations": "/account/invitations/",
            "password": "/account/password/",
            "missing": "/leases/lse_0000000000000000/",
        },
        "alice": {
            "fleet": "/sell/fleet/",
            "enrol": "/sell/fleet/enrol/",
            "listings": "/sell/listings/",
            "advisor": "/sell/advisor/?card_value=2000&rent_price=0.35",
            "listing-new": "/sell/listings/new/",
            "lease-sold": lease,
        },
        "operator": {
            "operator": "/operator/",
            "export-rules": "/operator/export-rules/",
            "operator-books": "/operator/books/",
        },
    }[who]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_clean_and_accessible(chromium, live_server, scene, axe_source, theme, width):
    wrong = []
    for who in ("", "bob", "alice", "operator"):
        visitor = Visitor(chromium, live_server.url, theme=theme, width=width)
        if who:
            visitor.sign_in(f"{who}@fallow.example")
        for name, path in (pages_of(who, scene) if who else PUBLIC).items():
            visitor.open(path)
            if name == "lease":
                visitor.page.wait_for_selector(".plot canvas")
            visitor.picture(name)
            wrong += [f"{name}: {each}" for each in visitor.accessibility(axe_source)]
            if visitor.overflow() > 0:
                wrong.append(f"{name}: {visitor.overflow()} px too wide")
        wrong += [each for each in visitor.troubles if "404 (Not Found)" not in each]
        visitor.close()
    assert wrong == []
