"""The ingest process: `uvicorn nodes.ingest.asgi:application --http httptools --no-access-log`."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

from django.conf import settings
from psycopg.conninfo import make_conninfo

from nodes.ingest.app import IngestApp, Limits


def conninfo() -> str:
    """libpq's words for the database that Django uses."""
    database = settings.DATABASES["default"]
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    return make_conninfo(
        application_name="fallow-ingest", **{name: str(database[theirs]) for name, theirs in names.items()}
    )


application = IngestApp(
    conninfo(),
    Limits(heartbeat_ms=settings.HEARTBEAT_SECONDS * 1000, waiting_reports=settings.INGEST_WAITING_REPORTS_MAX),
)
