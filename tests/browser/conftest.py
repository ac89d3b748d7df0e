"""Headless Chromium against the real pages; skips by name where the browser or the front-end build is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.compliance.tablefile import table_in_force
from nodes.models import RelayPort
from tests.browser.card_scene import Shop, build_shop
from tests.market import Market
from tests.storefront import RunningClock, Scene, build_scene

STOREFRONT = Path(__file__).parents[2] / "marketplace" / "storefront"
BUILD = STOREFRONT / "static" / "build" / "app.css"
AXE = STOREFRONT / "assets" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The browser, started once."""
    for needed, how in (
        (CHROMIUM, "apt-get install chromium"),
        (BUILD, "npm run build"),
        (AXE, "npm install in assets/"),
    ):
        if not needed.exists():
            pytest.skip(f"{needed} is missing: {how}")
    api = pytest.importorskip("playwright.sync_api", reason="the playwright package is missing")
    # Playwright's loop runs in this thread, which is no reason for Django to refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def scene(transactional_db, settings) -> Scene:
    """A market in real time whose reports stay fresh while the browser looks."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STALE_SECONDS = 3600
    # The migration's ports are gone once a test that commits has been cleaned up after.
    RelayPort.objects.bulk_create([RelayPort(port=port) for port in range(20_000, 20_010)], ignore_conflicts=True)
    return build_scene(Market(RunningClock()))


@pytest.fixture
def card_rules(settings, tmp_path) -> Iterator[None]:
    """Photos in a folder of the test's own, and rules that let its firms trade."""
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[1] / "card_rules.yaml")
    table_in_force.cache_clear()
    yield
    table_in_force.cache_clear()


@pytest.fixture
def shop(scene, card_rules) -> Shop:
    """A market for cards, open for a month."""
    return build_shop(scene)


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The accessibility checker."""
    return AXE.read_text(encoding="utf-8")
