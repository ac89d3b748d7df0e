"""The clocks of nodes."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from nodes.services import availability, inventory
from nodes.services.logs import drop_old_logs


@shared_task(name="nodes.process_reports")
def process_reports() -> None:
    """Decide what the cards of nodes that reported are doing."""
    availability.process_reports(now=clock.now())


@shared_task(name="nodes.mark_lost_nodes")
def mark_lost_nodes() -> None:
    """Notice who fell silent."""
    availability.mark_lost_nodes(now=clock.now())


@shared_task(name="nodes.settle_arrivals")
def settle_arrivals() -> None:
    """Give cards that were sent to those who have them, once the sender's host lets go."""
    inventory.settle_arrivals(now=clock.now())


@shared_task(name="nodes.keep_report_partitions")
def keep_report_partitions() -> None:
    """Make the days ahead, drop the old ones."""
    availability.keep_report_partitions(now=clock.now())


@shared_task(name="nodes.drop_old_logs")
def drop_old_logs_task() -> None:
    """Forget what workloads wrote long ago."""
    drop_old_logs(now=clock.now())
