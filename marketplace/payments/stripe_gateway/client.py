"""The client, and what its errors mean: https://docs.stripe.com/error-low-level and https://docs.stripe.com/error-codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import stripe
from django.conf import settings

from marketplace.payments.gateway import GatewayError, Trouble

TIMEOUT_S = 20
# Refused without any effect, and may be granted when time has passed.
REFUSED_FOR_NOW = frozenset(("balance_insufficient", "insufficient_capabilities_for_transfer"))


def client() -> stripe.StripeClient:
    """The client of the configured key. It does not repeat by itself: the outbox does, with the key of its row."""
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL)


@cache
def _client(key: str, url: str) -> stripe.StripeClient:
    http = stripe.RequestsClient(timeout=TIMEOUT_S)
    if not url:
        return stripe.StripeClient(key, max_network_retries=0, http_client=http)
    return stripe.StripeClient(key, max_network_retries=0, http_client=http, base_addresses={"api": url})


@contextmanager
def told_as_ours() -> Iterator[None]:
    """Stripe's errors as GatewayError."""
    try:
        yield
    except stripe.StripeError as error:
        raise GatewayError(_trouble(error), _text(error), code=str(error.code or type(error).__name__)) from error


def _trouble(error: stripe.StripeError) -> Trouble:
    status = error.http_status
    if isinstance(error, stripe.APIConnectionError) or status is None:
        return Trouble.RETRY
    if status >= 500:  # kept under the key like any answer: repeating it can only replay it
        return Trouble.LOOK if _is_replayed(error) else Trouble.RETRY
    if status in {409, 429} or isinstance(error, stripe.APIError):  # or an answer that nobody can read: done or not
        return Trouble.RETRY
    if status in {401, 403} or isinstance(error, stripe.IdempotencyError):
        return Trouble.ASK
    return Trouble.LATER if error.code in REFUSED_FOR_NOW else Trouble.FINAL


def _is_replayed(error: stripe.StripeError) -> bool:
    headers = {str(name).lower(): value for name, value in dict(error.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"


def _text(error: stripe.StripeError) -> str:
    return str(error.user_message or error)
