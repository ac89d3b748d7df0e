"""Tries at the same moment, tries inside somebody's transaction, and tries of long ago."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connections, transaction

from marketplace.accounts import passwords, tasks
from marketplace.accounts.models import WrongPassword
from marketplace.accounts.passwords import TooManyTries
from marketplace.common.errors import Invalid
from tests.factories import NOON, make_person
from tests.stripesim import until

RIGHT = "correct horse battery"
WAIT_SECONDS = 30


class HeldHasher(MD5PasswordHasher):
    """Compares nothing before it may."""

    may_compare = threading.Event()

    def verify(self, password, encoded):
        self.may_compare.wait()
        return super().verify(password, encoded)


@pytest.fixture
def person(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_person()


def given(person, password, address="192.0.2.1", now=NOON):
    passwords.check(person=person, password=password, pointer="/password", address=address, now=now)


def at_once(calls):
    """Every call in a thread and a connection of its own; they begin together."""
    start = threading.Barrier(len(calls))

    def run(call):
        try:
            start.wait(WAIT_SECONDS)
            call()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["PASSWORD_TRIES_PER_HOUR", "ADDRESS_TRIES_PER_HOUR"])
def test_tries_at_the_same_moment_are_not_more_than_the_limit(person, settings, limit):
    """All compare at once: whoever wrote nothing down before would not be seen by the others."""
    settings.PASSWORD_HASHERS = [f"{__name__}.HeldHasher"]
    setattr(settings, limit, 3)
    HeldHasher.may_compare.clear()
    by_address = limit == "ADDRESS_TRIES_PER_HOUR"
    people = [make_person() for _ in range(12)] if by_address else [person] * 12
    ended, refused = [], threading.Semaphore(0)

    def guess(who, address):
        try:
            given(who, "wrong", address)
        except TooManyTries:
            ended.append("refused")
            refused.release()
        except Invalid:
            ended.append("wrong")

    addresses = ["192.0.2.1" if by_address else f"192.0.2.{number}" for number in range(12)]
    threads = at_once([lambda w=who, a=address: guess(w, a) for who, address in zip(people, addresses, strict=True)])
    enough = all(refused.acquire(timeout=WAIT_SECONDS) for _ in range(9))
    HeldHasher.may_compare.set()
    for thread in threads:
        thread.join()
    assert enough
    assert sorted(ended) == ["refused"] * 9 + ["wrong"] * 3
    assert WrongPassword.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_right_ones_at_the_same_moment_are_all_taken(person, settings):
    """Each strikes out its own try and forgets the others', which strike out theirs."""
    settings.PASSWORD_HASHERS = [f"{__name__}.HeldHasher"]
    settings.PASSWORD_TRIES_PER_HOUR, ended = 10, []

    def enter():
        given(person, RIGHT)
        ended.append("right")

    for _ in range(5):
        ended.clear()
        HeldHasher.may_compare.clear()
        threads = at_once([enter] * 10)
        begun = until(lambda: WrongPassword.objects.count() == 10, WAIT_SECONDS)
        HeldHasher.may_compare.set()
        for thread in threads:
            thread.join()
        assert begun
        assert ended == ["right"] * 10
        assert not WrongPassword.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_nobody_asks_inside_a_transaction_that_could_be_rolled_back(person):
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        given(person, RIGHT)


@pytest.mark.django_db
def test_old_tries_are_dropped_and_what_counts_is_kept(person, settings, frozen):
    settings.PASSWORD_TRIES_PER_HOUR = 2
    for minutes in (60, 59):
        with pytest.raises(Invalid, match="not your password"):
            given(person, "wrong", now=frozen.now() - timedelta(minutes=minutes))
    tasks.forget_old_tries()
    assert WrongPassword.objects.get().at == frozen.now() - timedelta(minutes=59)
    with pytest.raises(Invalid, match="not your password"):
        given(person, "wrong", now=frozen.now())
    with pytest.raises(TooManyTries):
        given(person, RIGHT, now=frozen.now())


@pytest.mark.django_db
def test_a_lowered_limit_counts_from_the_newest_tries(person, settings):
    for minutes in (0, 10, 20):
        with pytest.raises(Invalid):
            given(person, "wrong", now=NOON + timedelta(minutes=minutes))
    settings.PASSWORD_TRIES_PER_HOUR = 2
    with pytest.raises(TooManyTries) as refused:
        given(person, RIGHT, now=NOON + timedelta(minutes=30))
    assert refused.value.wait == 40 * 60
    given(person, RIGHT, now=NOON + timedelta(minutes=70))


@pytest.mark.django_db
def test_no_table_says_whose_address_was_named(person):
    assert passwords.sign_in(email="Carol@fallow.example", password="guess", address="192.0.2.1", now=NOON) is None
    assert "fallow.example" not in str(WrongPassword.objects.values().get()).casefold()
