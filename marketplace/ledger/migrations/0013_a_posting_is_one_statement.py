"""Journals are posted by one function in one round trip; the triggers below it keep the rules as before."""

from django.db import migrations

# It runs with the rights of its caller and can do nothing that the caller could not. Accounts are locked before anything
# is looked at, so that what is there is still there when the entries are written. `journals` says for each leg which
# of the postings (from 1) it belongs to. Arrays are only read by their places: a plan that is made for one posting must
# do for thousands as well.
POST = """
CREATE FUNCTION fallow_post(
    public_ids text[], refs text[], codes text[], ats timestamptz[], subjects text[], datas jsonb[],
    journals int[], accounts bigint[], amounts bigint[]
) RETURNS text[] LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE ids bigint[]; is_new boolean[]; made bigint[];
BEGIN
    PERFORM fallow_lock_accounts(ARRAY(SELECT id FROM ledger_account WHERE id = ANY(accounts) AND is_running));
    SELECT array_agg(nextval('ledger_journal_id_seq') ORDER BY n),
        array_agg(NOT EXISTS (SELECT 1 FROM ledger_journal j WHERE j.ref = t.ref) ORDER BY n)
        INTO ids, is_new FROM unnest(refs) WITH ORDINALITY AS t(ref, n);
    IF array_position(is_new, true) IS NULL THEN
        RETURN '{}';
    END IF;
    IF EXISTS (
        SELECT 1 FROM (
            SELECT account, sum(amount) AS micros FROM unnest(journals, accounts, amounts) AS l(journal, account, amount)
            WHERE is_new[journal] GROUP BY account
        ) moved JOIN ledger_account a ON a.id = moved.account WHERE a.is_running AND a.balance_micros + moved.micros < 0
    ) THEN
        RETURN NULL;
    END IF;
    WITH told AS (
        INSERT INTO ledger_journal (id, public_id, ref, code, at, subject, data)
        SELECT ids[n], public_id, ref, code, at, subject, data
        FROM unnest(public_ids, refs, codes, ats, subjects, datas)
            WITH ORDINALITY AS t(public_id, ref, code, at, subject, data, n)
        WHERE is_new[n] ORDER BY n ON CONFLICT (ref) DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO made FROM told;
    IF cardinality(made) < cardinality(array_positions(is_new, true)) THEN  -- somebody else was faster with a ref
        is_new := ARRAY(SELECT id = ANY(made) FROM unnest(ids) WITH ORDINALITY AS t(id, n) ORDER BY n);
    END IF;
    INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
    SELECT ids[l.journal], l.account, a.currency, l.amount
    FROM unnest(journals, accounts, amounts) WITH ORDINALITY AS l(journal, account, amount, place)
    JOIN ledger_account a ON a.id = l.account WHERE is_new[l.journal] ORDER BY l.place;
    RETURN ARRAY(SELECT ref FROM unnest(refs) WITH ORDINALITY AS t(ref, n) WHERE is_new[n]);
END $$;
"""
DROP = """
DROP FUNCTION fallow_post(text[], text[], text[], timestamptz[], text[], jsonb[], int[], bigint[], bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0012_reserve_for_disputes")]
    operations = [migrations.RunSQL(POST, DROP)]
