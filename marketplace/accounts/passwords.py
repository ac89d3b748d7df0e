"""The one place where a given password is checked. Whoever tries too many is refused for a while, right or wrong.

A try is written down and committed before the password is looked at, so that no number of tries at the same moment is
more than the limit, and struck out again when the password was right. PostgreSQL keeps them: Redis may be flushed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import authenticate
from django.db import connection, transaction
from django.db.models import QuerySet

from marketplace.accounts.models import User, WrongPassword
from marketplace.common.errors import FieldError, Invalid, TooMany
from marketplace.common.networks import network_of

HOUR = timedelta(hours=1)


class TooManyTries(TooMany):
    """Too many wrong passwords for one person or from one address; `wait` is in seconds."""

    code = "too_many_tries"

    def __init__(self, free_at: datetime, now: datetime) -> None:
        shown = free_at + timedelta(seconds=1) if free_at.microsecond else free_at
        super().__init__(f"too many wrong passwords: try again from {shown:%Y-%m-%d %H:%M:%S} UTC on")
        self.wait = (free_at - now).total_seconds()


def sign_in(*, email: str, password: str, address: str, now: datetime) -> User | None:
    """Who has this e-mail address and password, or None. Raises TooManyTries, the same for an unknown address."""
    known = User.objects.of_email(email).first()
    tried = _write_down(known.email if known else email, address, now)
    person = authenticate(username=email, password=password)
    if not isinstance(person, User):
        return None
    _forgive(tried)
    return person


def check(*, person: User, password: str, pointer: str, address: str, now: datetime) -> None:
    """Let a signed-in person pass who knows the password. Call it outside of transactions.

    Raises Invalid at `pointer` for a wrong password, and TooManyTries.
    """
    tried = _write_down(person.email, address, now)
    if not person.check_password(password):
        detail = "this is not your password"
        raise Invalid(detail, errors=(FieldError(pointer, "wrong", detail),))
    _forgive(tried)


def forget_old_tries(*, now: datetime) -> int:
    """Drop what counts no more; returns how many."""
    return WrongPassword.objects.filter(at__lte=now - HOUR).delete()[0]


@transaction.atomic(durable=True)  # a caller's rollback must not lose it
def _write_down(email: str, address: str, now: datetime) -> WrongPassword:
    person, network = _digest(email.casefold()), network_of(address)
    _lock(person)
    _lock(_digest(network))  # always after a person's
    counted = WrongPassword.objects.filter(at__gt=now - HOUR)
    free_at = [
        *_free_at(counted.filter(person_hash=person), settings.PASSWORD_TRIES_PER_HOUR),
        *_free_at(counted.filter(network=network), settings.ADDRESS_TRIES_PER_HOUR),
    ]
    if free_at:
        raise TooManyTries(max(free_at), now)
    return WrongPassword.objects.create(person_hash=person, network=network, at=now)


def _free_at(tries: QuerySet[WrongPassword], most: int) -> list[datetime]:
    newest_first = tries.order_by("-at").values_list("at", flat=True)
    return [at + HOUR for at in newest_first[most - 1 : most]]


@transaction.atomic(durable=True)
def _forgive(right: WrongPassword) -> None:
    """The person's own count begins again; that of the address goes on, or an account of one's own would clear it."""
    _lock(bytes(right.person_hash or b""))  # two at once would wait for each other's rows
    tries = WrongPassword.objects.filter(person_hash=right.person_hash, at__gt=right.at - HOUR)
    tries.exclude(pk=right.pk).update(person_hash=None)
    right.delete()


def _lock(digest: bytes) -> None:
    """Until the end of the transaction nobody else counts the same."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(digest[:8], signed=True)])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
