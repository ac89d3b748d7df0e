"""PostgreSQL refuses a journal that counts for a closed time, and a lock that two operators did not agree on."""

from django.db import migrations

from marketplace.common.append_only import append_only

# Those who post share one lock, whoever closes has it alone: a close sees everything that was posted before it, and
# nobody who posts after it has an older view.
WAITING = """
CREATE FUNCTION fallow_share_periods() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock_shared(1179208524, 1);
$$;
CREATE FUNCTION fallow_hold_periods() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(1179208524, 1);
$$;
"""
HONEST_JOURNAL = """
CREATE OR REPLACE FUNCTION fallow_honest_journal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE closed timestamptz;
BEGIN
    NEW.xact := pg_current_xact_id()::text::bigint;
    PERFORM fallow_share_periods();
    SELECT closed_until INTO closed FROM ledger_periodlock ORDER BY id DESC LIMIT 1;
    IF NEW.at < closed THEN
        RAISE EXCEPTION 'the books are closed until %', closed USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
HONEST_LOCK = """
CREATE FUNCTION fallow_honest_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.xact := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_reopenrequest_honest BEFORE INSERT ON ledger_reopenrequest
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_request();
CREATE FUNCTION fallow_honest_lock() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE closed timestamptz; asked ledger_reopenrequest;
BEGIN
    PERFORM fallow_hold_periods();
    NEW.id := nextval(pg_get_serial_sequence('ledger_periodlock', 'id'));
    NEW.through_entry := (SELECT coalesce(max(id), 0) FROM ledger_entry);
    SELECT closed_until INTO closed FROM ledger_periodlock ORDER BY id DESC LIMIT 1;
    IF NEW.closed_until > NEW.at THEN
        RAISE EXCEPTION 'the future can''t be closed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.request_id IS NULL THEN
        IF NEW.closed_until <= closed THEN
            RAISE EXCEPTION 'only two operators reopen a period' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    SELECT * INTO asked FROM ledger_reopenrequest WHERE id = NEW.request_id;
    IF asked.operator_id = NEW.operator_id OR asked.xact = pg_current_xact_id()::text::bigint
        OR asked.closed_until <> NEW.closed_until OR closed IS NULL OR NEW.closed_until >= closed
        OR EXISTS (SELECT 1 FROM accounts_user WHERE id IN (asked.operator_id, NEW.operator_id) AND NOT is_operator)
    THEN
        RAISE EXCEPTION 'another operator must agree first' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_periodlock_honest BEFORE INSERT ON ledger_periodlock
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_lock();
"""
# A snapshot is believed when a statement is read, so it is counted when it is written.
HONEST_SNAPSHOT = """
CREATE FUNCTION fallow_honest_snapshot() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE before ledger_snapshot; counted record;
BEGIN
    SELECT * INTO before FROM ledger_snapshot WHERE account_id = NEW.account_id AND through_entry < NEW.through_entry
        ORDER BY through_entry DESC LIMIT 1;
    SELECT sum(e.amount_micros) AS micros, max(j.at) AS newest_at, max(e.id) AS through INTO counted
        FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id WHERE e.account_id = NEW.account_id
        AND e.id > coalesce(before.through_entry, 0) AND e.id <= NEW.through_entry;
    IF counted.through IS DISTINCT FROM NEW.through_entry
        OR NEW.balance_micros <> coalesce(before.balance_micros, 0) + counted.micros
        OR NEW.newest_at <> greatest(before.newest_at, counted.newest_at)
    THEN
        RAISE EXCEPTION 'a snapshot is what the entries sum to' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_snapshot_honest BEFORE INSERT ON ledger_snapshot
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_snapshot();
"""
OPEN_AGAIN = """
DROP TRIGGER ledger_snapshot_honest ON ledger_snapshot;
DROP FUNCTION fallow_honest_snapshot();
DROP TRIGGER ledger_periodlock_honest ON ledger_periodlock;
DROP TRIGGER ledger_reopenrequest_honest ON ledger_reopenrequest;
DROP FUNCTION fallow_honest_lock(), fallow_honest_request();
CREATE OR REPLACE FUNCTION fallow_honest_journal() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS $$
BEGIN
    NEW.xact := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
DROP FUNCTION fallow_hold_periods(), fallow_share_periods();
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0005_period_locks_and_snapshots")]
    operations = [
        append_only("ledger_snapshot"),
        append_only("ledger_reopenrequest"),
        append_only("ledger_periodlock"),
        migrations.RunSQL(WAITING + HONEST_JOURNAL + HONEST_LOCK + HONEST_SNAPSHOT, OPEN_AGAIN),
    ]
