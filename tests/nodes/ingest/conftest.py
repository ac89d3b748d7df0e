from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import TEST_DATABASE
from tests.nodes.ingest.process import Ingest, running_ingest, with_database


@pytest.fixture(scope="session")
def ingest(django_db_setup: None) -> Iterator[Ingest]:
    """One ingest process on the test database, for every test that does not hurt it."""
    with running_ingest(with_database(os.environ["DATABASE_URL"], TEST_DATABASE)) as process:
        yield process
