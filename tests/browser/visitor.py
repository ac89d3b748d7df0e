"""A person with a browser, and everything that went wrong while they looked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.storefront import PASSWORD

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SHOTS = os.environ.get("SCREENSHOTS", "")  # a folder to leave pictures in, for people


def _height(width: int) -> int:
    return 900 if width > 600 else 812


class Visitor:
    """One browser context: a size, a theme, maybe a session."""

    def __init__(
        self, browser: Any, base: str, *, theme: str, width: int, scripts: bool = True, also: tuple[str, ...] = ()
    ) -> None:
        self.base, self.theme, self.width = base, theme, width
        self.hosts = {"", *(urlsplit(each).netloc for each in (base, *also))}  # whom pages may ask
        self.context = browser.new_context(
            viewport={"width": width, "height": _height(width)},
            color_scheme=theme,
            reduced_motion="reduce",  # a picture in the middle of a fade shows colours that nobody chose
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
        if urlsplit(request.url).netloc not in self.hosts:
            self.troubles.append(f"asked {request.url}")

    def open(self, path: str) -> None:
        """Go to a page of ours."""
        self.page.goto(self.base + path)

    def look(self, theme: str, width: int) -> None:
        """The same page in other light and at another size, without asking for it again."""
        self.theme, self.width = theme, width
        self.page.emulate_media(color_scheme=theme)
        self.page.set_viewport_size({"width": width, "height": _height(width)})

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

    def cut_off(self) -> list[str]:
        """What is wider than its box, though the page is not: its end can't be read."""
        boxes = "[...document.querySelectorAll('.stats > div, .panel, .panel > .body, .note, .phases li')]"
        wide = f"{boxes}.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 60))"
        return list(self.page.evaluate(wide))

    def accessibility(self, axe_source: str, rules: list[str] | None = None) -> list[str]:
        """What axe finds, one line per rule; by all of its rules, or by these."""
        self.page.evaluate("source => window.axe || window.eval(source)", axe_source)
        wanted = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": AXE_TAGS}
        found = self.page.evaluate("only => axe.run(document, {runOnly: only, resultTypes: ['violations']})", wanted)
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
