"""The clock of what is remembered."""

from celery import shared_task

from marketplace.common import clock
from marketplace.events import services


@shared_task(name="events.drop_old_idempotency_keys")
def drop_old_idempotency_keys() -> None:
    """Forget the keys that nobody repeats any more."""
    services.drop_old_idempotency_keys(now=clock.now())
