"""Pages in tests name static files without a manifest, so that no build is needed."""

from pathlib import Path

import pytest

from marketplace.compliance.tablefile import table_in_force
from tests.market import Market
from tests.storefront import Scene, build_scene

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"


@pytest.fixture(autouse=True)
def _plain_static_files(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a slow hash is Django's, not ours
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": PLAIN}}


@pytest.fixture
def card_rules(settings, tmp_path):
    """Photos in a folder of the test's own, and rules that let its firms trade."""
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[2] / "card_rules.yaml")
    table_in_force.cache_clear()
    yield
    table_in_force.cache_clear()


@pytest.fixture
def scene(db, frozen) -> Scene:
    """A market that was open for a moment."""
    return build_scene(Market(frozen))
