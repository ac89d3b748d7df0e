"""The front-end sources: exact pins, a lock file that any registry can serve, nothing of another host."""

import json
import re
from pathlib import Path

STOREFRONT = Path(__file__).parents[3] / "marketplace" / "storefront"
ASSETS = STOREFRONT / "assets"
LOADED = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//""")


def test_every_npm_pin_is_exact() -> None:
    package = json.loads((ASSETS / "package.json").read_text())
    pins = package["dependencies"] | package["devDependencies"]
    assert pins
    assert [name for name, pin in pins.items() if not re.fullmatch(r"\d+\.\d+\.\d+", pin)] == []


def test_the_lock_file_names_no_registry_and_has_every_checksum() -> None:
    packages = json.loads((ASSETS / "package-lock.json").read_text())["packages"]
    locked = {name: entry for name, entry in packages.items() if name}
    assert len(locked) > 10
    assert [name for name, entry in locked.items() if "resolved" in entry] == []
    assert [name for name, entry in locked.items() if not entry.get("integrity") and not entry.get("inBundle")] == []


def test_no_template_loads_anything_from_another_host() -> None:
    templates = [*STOREFRONT.glob("templates/**/*.html")]
    assert [path.name for path in templates if LOADED.search(path.read_text())] == []


def test_no_template_has_an_inline_script_or_style() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", re.IGNORECASE)
    templates = [*STOREFRONT.glob("templates/**/*.html")]
    assert [path.name for path in templates if inline.search(path.read_text())] == []
