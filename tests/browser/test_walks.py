"""Walks through Fallow by clicks: with scripts, without, and by keyboard alone."""

from __future__ import annotations

import time

import pytest

from marketplace.leases.models import Lease
from tests.browser.visitor import Visitor
from tests.hosts import HOST_KEY

pytestmark = pytest.mark.browser
SECONDS_MAX = 30


def buy(visitor, scene):
    """From the search to a started lease; the market's clocks tick here, as its processes would."""
    page = visitor.page
    page.click("nav >> text=Offers")
    page.click("text=Rent GeForce RTX 4090 in eu-west >> nth=0")
    page.fill("input[name=duration]", "3")
    page.fill("input[name=image]", "fallow/demo")
    page.fill("textarea[name=ssh_public_key]", HOST_KEY)
    page.click("text=Show the total")
    assert "0.75 USD" in page.inner_text(".price-big")
    page.click("text=Confirm and pay", no_wait_after=True)
    before = Lease.objects.count()
    deadline = time.monotonic() + SECONDS_MAX
    while Lease.objects.count() == before and time.monotonic() < deadline:
        scene.market.tick()
        page.wait_for_timeout(50)
    lease = Lease.objects.latest("pk")
    assert lease.order.firm == scene.market.bob
    # Until the page has its answer the server still reads rows that the next test's setup takes away.
    page.wait_for_url(f"**/leases/{lease.public_id}/")
    return lease


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_buyer_rents_a_card_by_clicks(chromium, live_server, scene, scripts):
    visitor = Visitor(chromium, live_server.url, theme="light", width=1280, scripts=scripts)
    visitor.sign_in("bob@fallow.example")
    buy(visitor, scene)
    visitor.page.wait_for_selector("text=Usually under a minute")
    visitor.picture("walk-starting")
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.timeout(180)
def test_a_lease_page_follows_its_lease_without_a_reload(chromium, live_server, scene):
    visitor = Visitor(chromium, live_server.url, theme="dark", width=375)
    visitor.sign_in("bob@fallow.example")
    visitor.open(f"/leases/{scene.lease.public_id}/")
    visitor.page.wait_for_selector("text=Active")
    visitor.page.click("#ssh-command + button")
    visitor.page.wait_for_selector("text=Copied")
    assert visitor.page.evaluate("navigator.clipboard.readText()").startswith("ssh -p ")
    visitor.page.click("summary:has-text('End this lease')")
    visitor.page.click("text=Yes, end it now")
    visitor.page.wait_for_selector("text=The lease is ending")
    Lease.objects.filter(pk=scene.lease.pk).update(state="ended")
    visitor.page.wait_for_selector("#live >> text=Ended", timeout=SECONDS_MAX * 1000)
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.timeout(180)
def test_the_search_is_its_url_and_needs_no_button(chromium, live_server, scene):
    visitor = Visitor(chromium, live_server.url, theme="light", width=1280)
    visitor.open("/offers/")
    visitor.page.check("text=H100 SXM5 80GB")
    visitor.page.wait_for_selector("#results >> text=1 offer")
    assert "gpu=h100-sxm5-80gb" in visitor.page.url
    visitor.page.reload()
    assert visitor.page.is_checked("text=H100 SXM5 80GB")
    visitor.page.go_back()
    visitor.page.wait_for_selector("#results >> text=3 offers")
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.timeout(180)
def test_the_keyboard_reaches_the_content_and_the_theme_stays(chromium, live_server, scene):
    visitor = Visitor(chromium, live_server.url, theme="light", width=1280)
    visitor.open("/offers/")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.className") == "skip"
    visitor.page.keyboard.press("Enter")
    assert visitor.page.evaluate("location.hash") == "#content"
    visitor.page.focus("form[data-theme-toggle] button")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("html[data-theme=soil]")
    visitor.page.reload()
    assert visitor.page.get_attribute("html", "data-theme") == "soil"
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.timeout(180)
def test_the_seller_sees_what_is_earned_while_typing(chromium, live_server, scene):
    visitor = Visitor(chromium, live_server.url, theme="light", width=375)
    visitor.sign_in("alice@fallow.example")
    visitor.open("/sell/listings/new/")
    visitor.page.fill("input[name=ask]", "0.40")
    assert "You earn 0.38" in visitor.page.inner_text("#earnings")
    assert visitor.troubles == []
    visitor.close()
