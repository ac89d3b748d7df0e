"""PostgreSQL refuses an unbalanced, changed or reopened journal, whoever writes it."""

from django.db import migrations

from marketplace.common.append_only import append_only

# Checked at COMMIT, so that no order of statements can slip past it.
BALANCED = """
CREATE FUNCTION fallow_journal_balanced() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF (SELECT count(*) FROM ledger_entry WHERE journal_id = NEW.id) < 2 OR EXISTS (
        SELECT 1 FROM ledger_entry WHERE journal_id = NEW.id GROUP BY currency HAVING sum(amount_micros) <> 0
    ) THEN
        RAISE EXCEPTION 'journal % is not balanced', NEW.ref USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_journal_balanced AFTER INSERT ON ledger_journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fallow_journal_balanced();
"""

# An entry belongs to the transaction that made its journal; the balances follow in the same statement. The function
# runs as the owner: the runtime role itself may not write a balance.
POSTED = """
CREATE FUNCTION fallow_entries_posted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
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
CREATE TRIGGER ledger_entry_posted AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION fallow_entries_posted();
"""

# xact is what closes a journal, so nobody may choose it; a new account holds nothing.
HONEST = """
CREATE FUNCTION fallow_honest_journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.xact := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_journal_honest BEFORE INSERT ON ledger_journal
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_journal();
CREATE FUNCTION fallow_honest_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.balance_micros := 0;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_account_honest BEFORE INSERT ON ledger_account
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_account();
CREATE TRIGGER ledger_account_no_delete BEFORE DELETE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION fallow_append_only();
"""

# A row lock needs the right to UPDATE, which the runtime role has not: it locks through this function.
LOCK = """
CREATE FUNCTION fallow_lock_accounts(ids bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    PERFORM 1 FROM ledger_account WHERE id = ANY(ids) ORDER BY id FOR NO KEY UPDATE;
END $$;
"""

DROP = """
DROP FUNCTION fallow_lock_accounts(bigint[]);
DROP TRIGGER ledger_account_no_delete ON ledger_account;
DROP TRIGGER ledger_account_honest ON ledger_account;
DROP TRIGGER ledger_journal_honest ON ledger_journal;
DROP TRIGGER ledger_entry_posted ON ledger_entry;
DROP TRIGGER ledger_journal_balanced ON ledger_journal;
DROP FUNCTION fallow_honest_account(), fallow_honest_journal(), fallow_entries_posted(), fallow_journal_balanced();
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_accounts_journals_and_entries"), ("events", "0002_append_only_events")]
    operations = [
        append_only("ledger_journal"),
        append_only("ledger_entry"),
        migrations.RunSQL(BALANCED + POSTED + HONEST + LOCK, DROP),
    ]
