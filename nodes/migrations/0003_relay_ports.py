"""The relay's public ports are rows, so that two leases can't get the same one."""

from django.conf import settings
from django.db import migrations


def add_ports(apps, schema_editor):
    first, last = (int(part) for part in settings.RELAY_PORTS.split("-"))
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO nodes_relayport (port, holder) SELECT generate_series(%s::int, %s::int), '' ON CONFLICT DO NOTHING",
            [first, last],
        )


class Migration(migrations.Migration):
    dependencies = [("nodes", "0002_report_partitions")]
    operations = [migrations.RunPython(add_ports, migrations.RunPython.noop)]
