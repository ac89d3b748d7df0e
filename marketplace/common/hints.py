"""Doorbells through Redis: they save milliseconds and are never needed for correctness."""

from __future__ import annotations

import functools
import logging
import time

import redis
from django.conf import settings

log = logging.getLogger(__name__)


@functools.cache
def connection() -> redis.Redis:
    """This process's Redis client; short timeouts, because a hint is not worth waiting for."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=0.5)


def ring(name: str) -> None:
    """Wake whoever waits for `name`. Without Redis nobody wakes and their own clock does the work."""
    try:
        connection().publish(f"fallow:{name}", b"1")
    except redis.RedisError as error:
        log.warning("hint %s not sent: %s", name, error)


class Bell:
    """Waits for one or more names; falls back to waiting out the time when Redis is away."""

    def __init__(self, *names: str) -> None:
        self._names = [f"fallow:{name}" for name in names]
        self._subscription: redis.client.PubSub | None = None

    def __enter__(self) -> Bell:
        self._subscribe()
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def wait(self, seconds: float) -> None:
        """Return when rung, and at the latest after `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._subscription is None:
                time.sleep(left)
                self._subscribe()
                return
            try:
                message = self._subscription.get_message(ignore_subscribe_messages=True, timeout=left)
            except (redis.RedisError, ValueError):
                self._drop()
                continue
            if message is not None:
                return

    def _subscribe(self) -> None:
        try:
            subscription = connection().pubsub()  # type: ignore[no-untyped-call]
            subscription.subscribe(*self._names)
        except redis.RedisError:
            return
        self._subscription = subscription

    def _drop(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
