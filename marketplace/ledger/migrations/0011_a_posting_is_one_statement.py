"""Journals are posted by one function in one round trip; the triggers below it keep the rules as before."""

from django.db import migrations

# It runs with the rights of its caller and can do nothing that the caller could not. Accounts are locked before anything
# is looked at, so that what is there is still there when the entries are written. A journal of one posting has its
# place (from 1) in the arrays of journals; `journals` says for each leg whose it is.
POST = """
CREATE FUNCTION fallow_post(
    public_ids text[], refs text[], codes text[], ats timestamptz[], subjects text[], datas jsonb[],
    journals int[], accounts bigint[], amounts bigint[]
) RETURNS text[] LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE waiting text[]; posted text[];
BEGIN
    PERFORM fallow_lock_accounts(ARRAY(SELECT id FROM ledger_account WHERE id = ANY(accounts) AND is_running));
    waiting := ARRAY(SELECT unnest(refs) EXCEPT SELECT ref FROM ledger_journal WHERE ref = ANY(refs));
    IF cardinality(waiting) = 0 THEN
        RETURN waiting;
    END IF;
    IF EXISTS (
        SELECT 1 FROM ledger_account a JOIN (
            SELECT account, sum(amount) AS micros FROM unnest(journals, accounts, amounts) AS l(journal, account, amount)
            WHERE refs[journal] = ANY(waiting) GROUP BY account
        ) moved ON moved.account = a.id WHERE a.is_running AND a.balance_micros + moved.micros < 0
    ) THEN
        RETURN NULL;
    END IF;
    WITH told AS (
        SELECT * FROM unnest(public_ids, refs, codes, ats, subjects, datas)
            WITH ORDINALITY AS t(public_id, ref, code, at, subject, data, journal)
    ), made AS (
        INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
        SELECT public_id, ref, code, at, subject, data FROM told WHERE ref = ANY(waiting) ORDER BY journal
        ON CONFLICT (ref) DO NOTHING RETURNING id, public_id, ref
    ), moved AS (
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT made.id, l.account, a.currency, l.amount FROM made JOIN told ON told.public_id = made.public_id
        JOIN unnest(journals, accounts, amounts) WITH ORDINALITY AS l(journal, account, amount, place)
            ON l.journal = told.journal
        JOIN ledger_account a ON a.id = l.account ORDER BY l.place
    )
    SELECT coalesce(array_agg(ref), '{}') INTO posted FROM made;
    RETURN posted;
END $$;
"""
DROP = """
DROP FUNCTION fallow_post(text[], text[], text[], timestamptz[], text[], jsonb[], int[], bigint[], bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0010_accounts_and_codes_of_banks")]
    operations = [migrations.RunSQL(POST, DROP)]
