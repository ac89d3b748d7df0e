"""Stripe's events: checked on the raw bytes, or listed. Only which object they are about is taken from them.

Source: https://docs.stripe.com/webhooks#verify-manually and https://docs.stripe.com/api/events/list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings

from marketplace.payments.gateway import GatewayError, Notice, Trouble

PAGE = 100


def verified(body: bytes, header: str, *, now: datetime) -> Notice:
    """The event of a request that one of our secrets signed within the tolerance, early or late. GatewayError else."""
    if not any(_is_signed(body, header, secret) for secret in settings.STRIPE_WEBHOOK_SECRETS):
        raise GatewayError(Trouble.FINAL, "no secret of ours signed this", code="bad_signature")
    # The first of several times is the one that is signed.
    stamp = next(part.split("=")[1] for part in header.split(",") if part.startswith("t="))
    if abs(now.timestamp() - int(stamp)) > settings.STRIPE_WEBHOOK_TOLERANCE_SECONDS:
        raise GatewayError(Trouble.FINAL, "this was signed too long ago", code="old_signature")
    try:
        return _notice(json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GatewayError(Trouble.FINAL, "this is no event", code="no_event") from error


def _is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, header, secret))
    except (stripe.SignatureVerificationError, ValueError):
        return False


def _notice(event: dict[str, Any]) -> Notice:
    about = event["data"]["object"]
    return Notice(
        event_id=str(event["id"]),
        type=str(event["type"]),
        object_type=str(about["object"]),
        object_id=str(about.get("id") or ""),
        account=str(event.get("account") or ""),
        at=datetime.fromtimestamp(event["created"], UTC),
    )


def listed(client: stripe.StripeClient, since: datetime) -> Iterator[Notice]:
    """The platform's events since then, newest first."""
    found = client.v1.events.list({"created": {"gte": int(since.timestamp())}, "limit": PAGE})
    for event in found.auto_paging_iter():
        yield _notice(event.to_dict())
