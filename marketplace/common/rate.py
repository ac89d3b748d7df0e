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
from marketplace.common.addresses import client_address

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
    name = "rate"

    @property
    def burst(self) -> int:
        """How many tokens a full bucket holds."""
        return settings.API_BURST

    @property
    def per_second(self) -> float:
        """How many drip in."""
        return settings.API_PER_SECOND

    def allow_request(self, request: Request, view: Any) -> bool:
        """Take a token; the answer's headers say what is left."""
        key = f"fallow:{self.name}:{_caller(request)}"
        try:
            reply: Any = hints.connection().eval(TAKE, 1, key, self.burst, self.per_second)
        except redis.RedisError as error:
            log.warning("no rate limit without Redis: %s", error)
            return True
        self.tokens = float(reply[1])
        request.META[META_KEY] = self.headers()
        return bool(reply[0])

    def wait(self) -> float:
        """Seconds until the next token."""
        return max((1 - self.tokens) / self.per_second, 1)

    def headers(self) -> dict[str, str]:
        """RateLimit headers; Reset is when the bucket is full again, in seconds."""
        return {
            "RateLimit-Limit": str(self.burst),
            "RateLimit-Remaining": str(int(self.tokens)),
            "RateLimit-Reset": str(math.ceil((self.burst - self.tokens) / self.per_second)),
        }


class EnrolBucket(TokenBucket):
    """Enrolment: it costs a signature and a lock, is open to everybody, and a host does it once."""

    name = "enrol"

    @property
    def burst(self) -> int:
        """Enough for a rack that is installed at once from behind one address."""
        return settings.ENROL_BURST

    @property
    def per_second(self) -> float:
        """How many drip in."""
        return settings.ENROL_PER_SECOND


def _caller(request: Request) -> str:
    firm = getattr(request.auth, "firm", None)
    return str(firm.public_id) if firm else client_address(request)
