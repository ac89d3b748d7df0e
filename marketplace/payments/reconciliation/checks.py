"""Whether payments are in order: what is set aside is what open rows say, nothing waits unseen, books agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db import connection
from django.db.models import Q

from marketplace.common.money import format_micros
from marketplace.payments.inbox import stuck_notices
from marketplace.payments.outbox import stuck_calls
from marketplace.payments.reconciliation.selectors import open_differences, standings

# What must be on each firm's accounts for money that is on its way out or disputed: payouts by wire share an account,
# a transfer, a refund and a dispute have one each. A refund out of a seller's money fills up as transfers come back
# (`into` of the calls that are not done), and is empty once its money has left.
SET_ASIDE = """
WITH due AS (
    SELECT p.firm_id, 'payout' AS kind, p.currency, '' AS ref, sum(p.amount_micros) AS micros FROM payments_payout p
    WHERE p.state IN ('created', 'sent') GROUP BY p.firm_id, p.currency
    UNION ALL SELECT s.firm_id, 'payout', t.currency, t.public_id, t.amount_micros FROM payments_sellertransfer t
    JOIN payments_selleraccount s ON s.id = t.account_id WHERE t.state IN ('created', 'sent')
    UNION ALL SELECT d.firm_id, 'payout', d.currency, r.public_id, r.amount_micros - coalesce((
        SELECT sum((c.params->>'amount_micros')::bigint) FROM payments_gatewaycall c
        WHERE c.operation = 'reverse_transfer' AND c.state <> 'done' AND c.params->'into'->>1 = r.public_id
    ), 0) FROM payments_depositrefund r JOIN payments_deposit d ON d.id = r.deposit_id
    WHERE r.state IN ('created', 'sent') AND NOT EXISTS (
        SELECT 1 FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id
        WHERE a.firm_id = d.firm_id AND a.kind = 'payout' AND a.ref = r.public_id AND e.amount_micros < 0
    )
    UNION ALL SELECT d.firm_id, 'frozen', d.currency, q.public_id, q.held_micros FROM payments_paymentdispute q
    JOIN payments_deposit d ON d.id = q.deposit_id WHERE q.state IN ('open', 'answered')
)
SELECT coalesce(a.kind, due.kind), coalesce(nullif(a.ref, ''), nullif(due.ref, ''), 'payouts by wire'),
    coalesce(a.currency, due.currency), coalesce(a.balance_micros, 0), coalesce(due.micros, 0)::bigint
FROM (SELECT * FROM ledger_account WHERE kind IN ('payout', 'frozen') AND firm_id IS NOT NULL) a
FULL JOIN due ON due.firm_id = a.firm_id AND due.kind = a.kind AND due.currency = a.currency AND due.ref = a.ref
WHERE coalesce(a.balance_micros, 0) <> coalesce(due.micros, 0) ORDER BY 2
"""


def troubles(now: datetime) -> list[str]:
    """What is not in order, a line each; empty when all is well."""
    return [*_set_aside(), *_waiting(now), *_differing(now)]


def _set_aside() -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(SET_ASIDE)
        for kind, ref, currency, held, needed in cursor.fetchall():
            yield f"{kind} of {ref} holds {format_micros(held)} {currency} and needs {format_micros(needed)}"


def _waiting(now: datetime) -> Iterator[str]:
    """Rows that ask an operator are on the page and are his to settle; these are the ones that nobody was told of."""
    for call in stuck_calls(now).filter(~Q(state="asking")):
        yield f"call {call.public_id} ({call.operation}) waits since {call.created_at:%Y-%m-%d %H:%M}"
    for notice in stuck_notices(now).filter(~Q(state="asking")):
        yield f"notice {notice.public_id} ({notice.type}) waits since {notice.received_at:%Y-%m-%d %H:%M}"


def _differing(now: datetime) -> Iterator[str]:
    for each in standings(now):
        if each.failed:
            yield f"the comparison with {each.gateway} failed: {each.failed.error}"
        if each.is_old:
            at = f"{each.last.read_at:%Y-%m-%d %H:%M}" if each.last and each.last.read_at else "never"
            yield f"{each.gateway} was last compared {at}"
        for currency, total in (each.last.totals if each.last else {}).items():
            there = total["available_micros"] + total["pending_micros"] + total["in_transit_micros"]
            if there != total["ledger_micros"]:
                yield (
                    f"{each.gateway} has {format_micros(there)} {currency}, "
                    f"the ledger says {format_micros(total['ledger_micros'])}"
                )
    for difference in open_differences():
        yield (
            f"{difference.public_id}: {difference.get_kind_display()}: {difference.subject}, "
            f"{format_micros(difference.expected_micros)} and {format_micros(difference.found_micros)} "
            f"{difference.currency}"
        )
