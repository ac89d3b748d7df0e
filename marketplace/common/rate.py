"""A token bucket per caller, in Redis. Without Redis nobody is refused: it guards comfort, not money."""

from __future__ import annotations

import logging
import math
from typing import Any

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from marketplace.common import hints

log = logging.getLogger(__name__)

# Tokens drip in with Redis's own clock; an unused bucket is forgotten once it would be full.
TAKE = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1000000
local burst, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(burst, (tonumber(held[1]) or burst) + (at - (tonumber(held[2]) or at)) * rate)
local taken = tokens >= 1 and 1 or 0
tokens = tokens - taken
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(at))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
return {taken, tostring(tokens)}
"""
META_KEY = "fallow.rate"


class TokenBucket(BaseThrottle):
    """One bucket per firm, and per address for callers without one."""

    tokens = 1.0

    def allow_request(self, request: Request, view: Any) -> bool:
        """Take a token; the answer's headers say what is left."""
        name = f"fallow:rate:{_caller(request)}"
        try:
            reply: Any = hints.connection().eval(TAKE, 1, name, settings.API_BURST, settings.API_PER_SECOND)
        except redis.RedisError as error:
            log.warning("no rate limit without Redis: %s", error)
            return True
        self.tokens = float(reply[1])
        request.META[META_KEY] = rate_headers(self.tokens)
        return bool(reply[0])

    def wait(self) -> float:
        """Seconds until the next token."""
        return max((1 - self.tokens) / settings.API_PER_SECOND, 1)


def rate_headers(tokens: float) -> dict[str, str]:
    """RateLimit headers for a bucket that holds `tokens`; Reset is when it is full again, in seconds."""
    return {
        "RateLimit-Limit": str(settings.API_BURST),
        "RateLimit-Remaining": str(int(tokens)),
        "RateLimit-Reset": str(math.ceil((settings.API_BURST - tokens) / settings.API_PER_SECOND)),
    }


def _caller(request: Request) -> str:
    firm = getattr(request.auth, "firm", None)
    return str(firm.public_id if firm else request.META.get("REMOTE_ADDR", ""))
