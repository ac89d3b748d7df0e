"""Headless Chromium against the real pages; skips by name where the browser or the front-end build is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.models import RelayPort
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


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The accessibility checker."""
    return AXE.read_text(encoding="utf-8")
