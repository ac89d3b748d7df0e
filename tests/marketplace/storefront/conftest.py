"""Pages in tests name static files without a manifest, so that no build is needed."""

import pytest

from tests.market import Market
from tests.storefront import Scene, build_scene

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"


@pytest.fixture(autouse=True)
def _plain_static_files(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a slow hash is Django's, not ours
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": PLAIN}}


@pytest.fixture
def scene(db, frozen) -> Scene:
    """A market that was open for a moment."""
    return build_scene(Market(frozen))
