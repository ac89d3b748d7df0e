"""The header that proves an event: https://docs.stripe.com/webhooks#verify-manually."""

from __future__ import annotations

import hashlib
import hmac


def signature(body: bytes, secret: str, at: int) -> str:
    """`t=…,v1=…` with the HMAC-SHA256 of "time.body". `at` is the real time: receivers compare it with their clock."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
