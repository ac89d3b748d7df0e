"""Celery is a clock and a pool of hands. Every clock of Fallow is a line of the beat table below."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

app = Celery("fallow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# name of the task → seconds between two starts; each is idempotent and takes the rows that are due
BEAT: dict[str, float] = {
    "nodes.process_reports": 1.0,
    "nodes.mark_lost_nodes": 5.0,
    "nodes.settle_arrivals": 10.0,
    "nodes.keep_report_partitions": 3600.0,
    "nodes.drop_old_logs": 3600.0,
    "leases.advance_leases": 1.0,
    "leases.activate_leases": 1.0,
    "leases.prove_nodes": 2.0,
    "leases.activate_proving_leases": 1.0,
    "leases.end_disputed_leases": 5.0,
    "leases.rate_nodes": 60.0,
    "sales.match_cards": 1.0,
    "sales.finish_purchases": 2.0,
    "sales.advance_sales": 2.0,
    "sales.ask_rules_again": 60.0,
    "sales.answer_for_undelivered": 600.0,
    "settlement.settle_leases": 5.0,
    "listings.close_ended_listings": 30.0,
    "payments.expire_deposits": 3600,
    "payments.work_outbox": 1.0,
    "payments.work_inbox": 1.0,
    "payments.top_up": 10.0,
    "payments.send_earnings": 600.0,
    "payments.collect_debts": 30.0,
    "payments.fill_gaps": 600.0,
    "payments.pay_weekly": 3600.0,
    "payments.reconcile": 60.0,
    "payments.put_aside": 3600.0,
    "payments.find_linked_trades": 3600.0,
    "books.issue_documents": 3600.0,
    "ledger.take_snapshots": 3600.0,
    "events.drop_old_idempotency_keys": 3600.0,
    "accounts.forget_old_tries": 3600.0,
    "fleet.roll_up_hours": 300.0,
    "fleet.forget_old_hours": 3600.0,
}
# A tick that waited longer than its own interval is dropped: the next one does its work.
app.conf.beat_schedule = {
    name: {"task": name, "schedule": seconds, "options": {"expires": max(seconds, 2.0)}}
    for name, seconds in BEAT.items()
}
