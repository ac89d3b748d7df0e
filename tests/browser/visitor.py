"""A person with a browser, and everything that went wrong while they looked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.storefront import PASSWORD

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SHOTS = os.environ.get("SCREENSHOTS", "")  # a folder to leave pictures in, for people


class Visitor:
    """One browser context: a size, a theme, maybe a session."""

    def __init__(self, browser: Any, base: str, *, theme: str, width: int, scripts: bool = True) -> None:
        self.base, self.theme, self.width = base, theme, width
        height = 900 if width > 600 else 812
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            java_script_enabled=scripts,
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.troubles: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"{message.type} on {self.page.url}: {message.text}")

    def _asked(self, request: Any) -> None:
        host = urlsplit(request.url).netloc
        if host and host != urlsplit(self.base).netloc:
            self.troubles.append(f"asked {request.url}")

    def open(self, path: str) -> None:
        """Go to a page of ours."""
        self.page.goto(self.base + path)

    def sign_in(self, email: str) -> None:
        """By the form, as people do."""
        self.open("/sign-in/")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(self.base + "/")

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def accessibility(self, axe_source: str) -> list[str]:
        """What axe finds, one line per rule."""
        self.page.evaluate(axe_source)
        found = self.page.evaluate("tags => axe.run(document, {runOnly: tags})", AXE_TAGS)
        return [
            f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['failureSummary']}"
            for each in found["violations"]
        ]

    def picture(self, name: str) -> None:
        """Leave a picture when somebody asked for pictures."""
        if SHOTS:
            path = Path(SHOTS) / f"{name}-{self.theme}-{self.width}.png"
            self.page.screenshot(path=str(path), full_page=True)

    def close(self) -> None:
        """End of the visit."""
        self.context.close()
