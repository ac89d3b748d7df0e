"""`migrate` as the owner of the tables, then the runtime role gets what it may do and no more."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import connections

APPEND_ONLY_TABLES = """
SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
WHERE p.proname = 'fallow_append_only' GROUP BY c.relname
"""


class Command(MigrateCommand):
    """Django's own command, run as DATABASE_OWNER_URL."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["database"] == "owner" and not options["plan"] and not options["check_unapplied"]:
            grant_runtime_role()


def grant_runtime_role() -> None:
    """Let the runtime role read and write rows; append-only tables can be read and added to, nothing else."""
    runtime, owner = settings.DATABASES["default"]["USER"], settings.DATABASES["owner"]["USER"]
    if runtime == owner:
        return
    with connections["owner"].cursor() as cursor:
        role = connections["owner"].ops.quote_name(str(runtime))
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
        cursor.execute(APPEND_ONLY_TABLES)
        for (table,) in cursor.fetchall():
            cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")
