"""A journal could be reopened within its own transaction: SET CONSTRAINTS IMMEDIATE, then one more entry. And a temporary
table could stand in for a guarded one, because PostgreSQL looks there first unless it is told where to look last."""

from django.db import migrations

# Each statement of entries sums to zero by itself, so no order of statements and checks can leave anything else.
POSTED = """
CREATE OR REPLACE FUNCTION fallow_entries_posted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM posted GROUP BY journal_id, currency HAVING sum(amount_micros) <> 0) THEN
        RAISE EXCEPTION 'these entries are not balanced' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (
        SELECT 1 FROM posted p JOIN ledger_journal j ON j.id = p.journal_id
        WHERE j.xact <> pg_current_xact_id()::text::bigint
    ) THEN
        RAISE EXCEPTION 'the journal is closed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (
        SELECT 1 FROM posted p JOIN ledger_account a ON a.id = p.account_id WHERE a.currency <> p.currency
    ) THEN
        RAISE EXCEPTION 'an entry has the currency of its account' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE ledger_account a SET balance_micros = a.balance_micros + s.amount_micros
    FROM (SELECT account_id, sum(amount_micros) AS amount_micros FROM posted GROUP BY account_id) s
    WHERE a.id = s.account_id AND a.is_running;
    RETURN NULL;
END $$;
"""
LOOK_THERE_LAST = """
ALTER FUNCTION fallow_journal_balanced() SET search_path = public, pg_temp;
ALTER FUNCTION fallow_lock_accounts(bigint[]) SET search_path = public, pg_temp;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_postgresql_keeps_the_rules")]
    operations = [migrations.RunSQL(POSTED + LOOK_THERE_LAST, migrations.RunSQL.noop)]
