"""Writing events and remembering idempotency keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from marketplace.common.errors import FieldError, Invalid, Unprocessable
from marketplace.events.models import Event, IdempotencyKey

KEY_LENGTH_MAX = 255
DROP_AT_ONCE = 10_000


def record_event(
    *,
    firm_id: int | None,
    type: str,
    subject: str,
    now: datetime,
    reason: str = "",
    actor: str = "system",
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Tell one firm one fact; call it inside the transaction that makes it true."""
    return Event.objects.create(
        at=now, firm_id=firm_id, actor=actor, type=type, subject=subject, reason=reason, data=dict(data or {})
    )


def keys_of_operator(operator_id: int) -> int:
    """The `firm_id` of an operator's own keys; those of firms begin at 1."""
    return -operator_id


def is_remembered(*, firm_id: int, key: str | None) -> bool:
    """Whether something was made with this key before."""
    return bool(key) and IdempotencyKey.objects.filter(firm_id=firm_id, key=key).exists()


def once(*, firm_id: int, key: str | None, body: Any, now: datetime, make: Callable[[], str]) -> tuple[str, bool]:
    """Run `make` at most once per key, in one transaction with the memory of it.

    `make` returns the public id of what it made. Returns (that id, whether it was made now). Raises Invalid without a
    key and Unprocessable when the key came with another body. A concurrent request with the same key waits for the
    first one and sees its result.
    """
    if not key or len(key) > KEY_LENGTH_MAX:
        raise Invalid(
            "send an Idempotency-Key header of at most 255 characters",
            code="idempotency_key_required",
            errors=(FieldError("Idempotency-Key", "required", "a fresh text for each new request"),),
        )
    body_hash = hashlib.sha256(json.dumps(body, sort_keys=True, cls=DjangoJSONEncoder).encode()).digest()
    with transaction.atomic():
        used, is_new = IdempotencyKey.objects.get_or_create(
            firm_id=firm_id, key=key, defaults={"body_hash": body_hash, "resource": "", "created_at": now}
        )
        if not is_new:
            if bytes(used.body_hash) != body_hash:
                raise Unprocessable("this Idempotency-Key came before with another body")
            return used.resource, False
        resource = make()
        IdempotencyKey.objects.filter(pk=used.pk).update(resource=resource)
        return resource, True


def drop_old_idempotency_keys(*, now: datetime, at_once: int = DROP_AT_ONCE) -> int:
    """Forget keys after IDEMPOTENCY_DAYS_KEPT; returns how many. What they made stays."""
    old = IdempotencyKey.objects.filter(created_at__lt=now - timedelta(days=settings.IDEMPOTENCY_DAYS_KEPT))
    dropped = 0
    while keys := list(old.order_by("pk").values_list("pk", flat=True)[:at_once]):
        dropped += IdempotencyKey.objects.filter(pk__in=keys).delete()[0]
    return dropped
