"""A transaction with an older view can neither miss a close when it posts nor a posting when it closes."""

from django.db import migrations

# The lock that posters share and a close takes alone makes them wait; what they then read must be of after the wait.
PRESENT = """
CREATE FUNCTION fallow_looks_at_the_present() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'books are kept in transactions that read what is committed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_journal_present BEFORE INSERT ON ledger_journal
    FOR EACH STATEMENT EXECUTE FUNCTION fallow_looks_at_the_present();
CREATE TRIGGER ledger_periodlock_present BEFORE INSERT ON ledger_periodlock
    FOR EACH STATEMENT EXECUTE FUNCTION fallow_looks_at_the_present();
"""
DROP = """
DROP TRIGGER ledger_periodlock_present ON ledger_periodlock;
DROP TRIGGER ledger_journal_present ON ledger_journal;
DROP FUNCTION fallow_looks_at_the_present();
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_closed_periods_and_snapshots_are_kept")]
    operations = [migrations.RunSQL(PRESENT, DROP)]
