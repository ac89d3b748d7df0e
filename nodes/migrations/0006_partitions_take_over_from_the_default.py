"""A day whose first reports came before its partition was made takes them over from the default partition."""

from django.db import migrations

PARTITIONS = """
CREATE OR REPLACE FUNCTION fallow_keep_report_partitions(today date, days_ahead int, days_kept int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    day date;
    begins timestamptz;
    ends timestamptz;
    name text;
    old record;
    changed int := 0;
BEGIN
    FOR day IN SELECT generate_series(today, today + days_ahead, interval '1 day')::date LOOP
        name := 'nodes_report_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        begins := day::timestamp AT TIME ZONE 'UTC';
        ends := (day + 1)::timestamp AT TIME ZONE 'UTC';
        LOCK TABLE nodes_report IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE %I (LIKE nodes_report INCLUDING DEFAULTS)', name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM nodes_report_default WHERE received_at >= %L AND received_at < %L RETURNING *)
             INSERT INTO %I SELECT * FROM moved', begins, ends, name);
        EXECUTE format('ALTER TABLE nodes_report ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
        changed := changed + 1;
    END LOOP;
    FOR old IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'nodes_report'::regclass AND c.relname ~ '^nodes_report_[0-9]{8}$'
        AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - days_kept LOOP
        EXECUTE format('DROP TABLE %I', old.relname);
        changed := changed + 1;
    END LOOP;
    DELETE FROM nodes_report_default WHERE received_at < (today - days_kept)::timestamp AT TIME ZONE 'UTC';
    RETURN changed;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("nodes", "0005_inventory_order")]
    operations = [migrations.RunSQL(PARTITIONS, migrations.RunSQL.noop)]
