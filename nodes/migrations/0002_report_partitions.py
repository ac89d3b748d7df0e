"""The reports, partitioned by day: a day is dropped in milliseconds. No unique index: metering tells duplicates apart."""

from django.db import migrations

TABLE = """
CREATE TABLE nodes_report (
    id bigint GENERATED ALWAYS AS IDENTITY,
    node_id bigint NOT NULL,
    run bigint NOT NULL,
    seq bigint NOT NULL,
    received_at timestamptz NOT NULL,
    observed_at timestamptz NOT NULL,
    mono_ms bigint NOT NULL,
    is_live boolean NOT NULL,
    cards real[] NOT NULL,
    leases jsonb
) PARTITION BY RANGE (received_at);
CREATE INDEX nodes_report_window ON nodes_report (node_id, received_at);
CREATE TABLE nodes_report_default PARTITION OF nodes_report DEFAULT;
"""

# Partitions are made and dropped by the daily tick, which runs as the runtime role and owns nothing.
PARTITIONS = """
CREATE FUNCTION fallow_keep_report_partitions(today date, days_ahead int, days_kept int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    day date;
    old record;
    changed int := 0;
BEGIN
    FOR day IN SELECT generate_series(today, today + days_ahead, interval '1 day')::date LOOP
        IF to_regclass('nodes_report_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF nodes_report FOR VALUES FROM (%L) TO (%L)',
                'nodes_report_' || to_char(day, 'YYYYMMDD'), day::timestamp AT TIME ZONE 'UTC',
                (day + 1)::timestamp AT TIME ZONE 'UTC');
            changed := changed + 1;
        END IF;
    END LOOP;
    FOR old IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'nodes_report'::regclass AND c.relname ~ '^nodes_report_[0-9]{8}$'
        AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - days_kept LOOP
        EXECUTE format('DROP TABLE %I', old.relname);
        changed := changed + 1;
    END LOOP;
    RETURN changed;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("nodes", "0001_nodes_cards_and_claims")]
    operations = [
        migrations.RunSQL(TABLE, "DROP TABLE nodes_report"),
        migrations.RunSQL(PARTITIONS, "DROP FUNCTION fallow_keep_report_partitions(date, int, int)"),
    ]
