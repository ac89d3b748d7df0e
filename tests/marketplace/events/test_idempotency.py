"""A key is remembered as long as somebody may repeat it, and not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.events.models import IdempotencyKey
from marketplace.events.services import drop_old_idempotency_keys, once
from tests.factories import NOON, make_firm

pytestmark = pytest.mark.django_db


def test_a_key_is_forgotten_when_it_is_old_and_not_before(settings):
    settings.IDEMPOTENCY_DAYS_KEPT = 7
    firm = make_firm()
    for number in range(5):
        at = NOON + timedelta(days=number)
        once(firm_id=firm.pk, key=f"k{number}", body={}, now=at, make=lambda: "x")
    assert drop_old_idempotency_keys(now=NOON + timedelta(days=7)) == 0
    assert drop_old_idempotency_keys(now=NOON + timedelta(days=10), at_once=2) == 3
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"k3", "k4"}
    kept = once(firm_id=firm.pk, key="k4", body={}, now=NOON + timedelta(days=10), make=lambda: "y")
    assert kept == ("x", False)
