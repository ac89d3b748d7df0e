"""Most journals are posted alone: one function for one of them, and each guard below it asks its questions at once."""

from django.db import migrations, models

from marketplace.common.ids import PublicIdField

# As fallow_post (0013), without arrays of arrays. False when `ref` was posted before, NULL when there is not enough money.
POST_ONE = """
CREATE FUNCTION fallow_post_one(
    public_id_ text, ref_ text, code_ text, at_ timestamptz, subject_ text, data_ jsonb, accounts bigint[], amounts bigint[]
) RETURNS boolean LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE made bigint;
BEGIN
    PERFORM fallow_lock_accounts(ARRAY(SELECT id FROM ledger_account WHERE id = ANY(accounts) AND is_running));
    IF EXISTS (SELECT 1 FROM ledger_journal WHERE ref = ref_) THEN
        RETURN false;
    END IF;
    IF EXISTS (
        SELECT 1 FROM unnest(accounts, amounts) AS l(account, amount) JOIN ledger_account a ON a.id = l.account
        WHERE a.is_running GROUP BY a.id HAVING a.balance_micros + sum(l.amount) < 0
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
        VALUES (public_id_, ref_, code_, at_, subject_, data_) ON CONFLICT (ref) DO NOTHING RETURNING id INTO made;
    IF made IS NULL THEN  -- somebody else was faster
        RETURN false;
    END IF;
    INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT made, l.account, a.currency, l.amount
        FROM unnest(accounts, amounts) WITH ORDINALITY AS l(account, amount, place)
        JOIN ledger_account a ON a.id = l.account ORDER BY l.place;
    RETURN true;
END $$;
"""
POSTED = """
CREATE OR REPLACE FUNCTION fallow_entries_posted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE uneven boolean; closed boolean; mixed boolean;
BEGIN
    SELECT bool_or(micros <> 0), bool_or(is_closed), bool_or(is_foreign) INTO uneven, closed, mixed FROM (
        SELECT sum(p.amount_micros) AS micros, bool_or(a.currency IS DISTINCT FROM p.currency) AS is_foreign,
            bool_or(j.xact IS DISTINCT FROM pg_current_xact_id()::text::bigint) AS is_closed
        FROM posted p LEFT JOIN ledger_journal j ON j.id = p.journal_id LEFT JOIN ledger_account a ON a.id = p.account_id
        GROUP BY p.journal_id, p.currency
    ) sums;
    IF uneven THEN
        RAISE EXCEPTION 'these entries are not balanced' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF closed THEN
        RAISE EXCEPTION 'the journal is closed' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF mixed THEN
        RAISE EXCEPTION 'an entry has the currency of its account' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE ledger_account a SET balance_micros = a.balance_micros + s.amount_micros
    FROM (SELECT account_id, sum(amount_micros) AS amount_micros FROM posted GROUP BY account_id) s
    WHERE a.id = s.account_id AND a.is_running;
    RETURN NULL;
END $$;
"""
BALANCED = """
CREATE OR REPLACE FUNCTION fallow_journal_balanced() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF (
        SELECT coalesce(sum(legs) < 2 OR bool_or(micros <> 0), true) FROM (
            SELECT count(*) AS legs, sum(amount_micros) AS micros FROM ledger_entry
            WHERE journal_id = NEW.id GROUP BY currency
        ) sums
    ) THEN
        RAISE EXCEPTION 'journal % is not balanced', NEW.ref USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
"""
HONEST_JOURNAL = """
CREATE OR REPLACE FUNCTION fallow_honest_journal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE closed timestamptz;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'books are kept in transactions that read what is committed'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.xact := pg_current_xact_id()::text::bigint;
    PERFORM fallow_share_periods();
    SELECT closed_until INTO closed FROM ledger_periodlock ORDER BY id DESC LIMIT 1;
    IF NEW.at < closed THEN
        RAISE EXCEPTION 'the books are closed until %', closed USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER ledger_journal_present ON ledger_journal;
"""
# The guards of before are no weaker and call the same things: only what is gone has to come back.
BACK = """
CREATE TRIGGER ledger_journal_present BEFORE INSERT ON ledger_journal
    FOR EACH STATEMENT EXECUTE FUNCTION fallow_looks_at_the_present();
DROP FUNCTION fallow_post_one(text, text, text, timestamptz, text, jsonb, bigint[], bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0014_sent_money_that_came_back")]
    operations = [
        migrations.AlterField(
            model_name="journal",
            name="public_id",
            field=PublicIdField(editable=False, max_length=32, prefix="jrn", unique=False),
        ),
        migrations.AlterField(model_name="journal", name="ref", field=models.CharField(max_length=80)),
        migrations.AddConstraint(
            model_name="journal",
            constraint=models.UniqueConstraint(fields=("public_id",), name="one_journal_per_public_id"),
        ),
        migrations.AddConstraint(
            model_name="journal", constraint=models.UniqueConstraint(fields=("ref",), name="one_journal_per_ref")
        ),
        migrations.RunSQL(POST_ONE + POSTED + BALANCED + HONEST_JOURNAL, BACK),
    ]
