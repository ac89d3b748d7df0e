"""Fallow's beat with the slow clocks of money quickened, so that a short trial has many of their ticks."""

from marketplace.celery import app

QUICK = (
    "settlement.settle_leases",
    "payments.top_up",
    "payments.send_earnings",
    "payments.collect_debts",
    "payments.fill_gaps",
)
for name in QUICK:
    app.conf.beat_schedule[name]["schedule"] = 2.0
