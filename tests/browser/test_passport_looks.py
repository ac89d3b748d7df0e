"""A passport's page, light and dark, on a desk and on a phone, for everybody and for the card's owner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common import clock
from tests.browser.visitor import Visitor
from tests.nodes.passports.measuring import Measurer

pytestmark = pytest.mark.browser


@pytest.mark.timeout(120)
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_passports_page_is_clean_and_accessible(chromium, live_server, scene, axe_source, theme, width):
    host = Measurer(clock.now() - timedelta(days=1), scene.market.alice)
    passport = host.measure(clock.now(), ("tests.soak.reasons", ["hw_thermal_slowdown"]), ("health.ecc_corrected", 3))
    wrong = []
    for who in ("", "alice"):
        visitor = Visitor(chromium, live_server.url, theme=theme, width=width)
        if who:
            visitor.sign_in(f"{who}@fallow.example")
        visitor.open(f"/passports/{passport.public_id}/")
        visitor.picture(f"passport{who}")
        wrong += visitor.accessibility(axe_source)
        if visitor.overflow() > 0:
            wrong.append(f"{visitor.overflow()} px too wide")
        wrong += visitor.troubles
        visitor.close()
    assert wrong == []
