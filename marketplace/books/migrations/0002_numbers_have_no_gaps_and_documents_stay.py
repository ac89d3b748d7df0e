"""PostgreSQL counts the numbers, adds up the lines, keeps credit notes within their invoice and refuses every change."""

from django.db import migrations

from marketplace.common.append_only import append_only

# The row of the series is locked until the transaction ends: the next number waits, and a rollback takes it back.
NUMBERED = """
CREATE FUNCTION fallow_honest_document() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE numbers books_series; invoice books_document; credited bigint; summed record;
BEGIN
    SELECT sum((each->>'amount_micros')::bigint) AS total, sum((each->>'tax_micros')::bigint) AS tax INTO summed
        FROM jsonb_array_elements(NEW.lines) each;
    IF summed.total IS DISTINCT FROM NEW.total_micros OR summed.tax IS DISTINCT FROM NEW.tax_micros THEN
        RAISE EXCEPTION 'the lines do not sum to the total' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.refers_to_id IS NOT NULL THEN
        SELECT * INTO invoice FROM books_document WHERE id = NEW.refers_to_id FOR NO KEY UPDATE;
        SELECT coalesce(sum(total_micros), 0) INTO credited FROM books_document WHERE refers_to_id = invoice.id;
        IF invoice.kind = 'credit_note' OR invoice.currency <> NEW.currency OR invoice.recipient_id <> NEW.recipient_id
            OR invoice.issuer_id IS DISTINCT FROM NEW.issuer_id
        THEN
            RAISE EXCEPTION 'a credit note has the parties and the currency of its invoice'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF credited + NEW.total_micros > invoice.total_micros THEN
            RAISE EXCEPTION 'credit notes do not exceed their invoice' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    UPDATE books_series SET last_number = last_number + 1 WHERE id = NEW.series_id RETURNING * INTO numbers;
    IF numbers.issuer_id IS DISTINCT FROM NEW.issuer_id OR numbers.is_credit <> (NEW.kind = 'credit_note') THEN
        RAISE EXCEPTION 'the series is another issuer''s' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.number := numbers.last_number;
    RETURN NEW;
END $$;
CREATE TRIGGER books_document_honest BEFORE INSERT ON books_document
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_document();
CREATE FUNCTION fallow_honest_series() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.last_number := 0;
    RETURN NEW;
END $$;
CREATE TRIGGER books_series_honest BEFORE INSERT ON books_series
    FOR EACH ROW EXECUTE FUNCTION fallow_honest_series();
CREATE TRIGGER books_series_no_delete BEFORE DELETE ON books_series
    FOR EACH STATEMENT EXECUTE FUNCTION fallow_append_only();
"""
DROP = """
DROP TRIGGER books_series_no_delete ON books_series;
DROP TRIGGER books_series_honest ON books_series;
DROP TRIGGER books_document_honest ON books_document;
DROP FUNCTION fallow_honest_series(), fallow_honest_document();
"""


class Migration(migrations.Migration):
    dependencies = [("books", "0001_documents_and_their_numbers"), ("events", "0002_append_only_events")]
    operations = [
        append_only("books_document"),
        append_only("books_issuedmonth"),
        migrations.RunSQL(NUMBERED, DROP),
    ]
