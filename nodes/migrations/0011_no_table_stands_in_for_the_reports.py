"""The function that keeps the partitions runs as the owner: a temporary table may not stand in for what it reads."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("nodes", "0010_what_workloads_wrote_last")]
    operations = [
        migrations.RunSQL(
            "ALTER FUNCTION fallow_keep_report_partitions(date, int, int) SET search_path = public, pg_temp",
            migrations.RunSQL.noop,
        )
    ]
