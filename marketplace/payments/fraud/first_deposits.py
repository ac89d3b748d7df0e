"""Limits of a firm none of whose card money is seasoned, and when a payment's holder has to say yes to its bank."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict
from marketplace.common.money import format_micros
from marketplace.payments.fraud.limits import WEEK, Limits, Paid, Refusal, refusal, when_fewer_cards
from marketplace.payments.models import Deposit
from marketplace.payments.selectors import disputable_gateways
from marketplace.payments.states import DepositState, PaymentDisputeState

WORDS = {
    "card_amount_limit": "a deposit",
    "card_count_limit": "the deposits of a day",
    "card_day_limit": "the deposits of a day",
    "card_week_limit": "the deposits of seven days",
}
NOT_WON = [PaymentDisputeState.OPEN, PaymentDisputeState.ANSWERED, PaymentDisputeState.LOST]


def is_new(firm: Firm, now: datetime) -> bool:
    """Whether none of its card deposits is CARD_SEASON_DAYS old; one that its bank took back does not count."""
    seasoned = _by_card(firm).filter(state=DepositState.CONFIRMED, confirmed_at__lte=now - _season())
    return not seasoned.exclude(disputes__state__in=NOT_WON).exists()


def check_card_deposit(
    firm: Firm, gateway: str, currency: str, micros: int, now: datetime, *, fingerprint: str = ""
) -> None:
    """Raises Conflict, with what is allowed and from when, for a deposit that is too much of a new firm, or of one that
    used CARDS_PER_WEEK_MAX cards within a week, unless it is by one of those: `fingerprint`.

    Call it with the firm locked. Wires have no such limits: nobody can take them back.
    """
    if gateway not in disputable_gateways():
        return
    _check_cards(firm, fingerprint, now)
    if not is_new(firm, now):
        return
    told = refusal(micros, past=_past(firm, currency, now), limits=limits_of(currency), now=now)
    if told is not None:
        raise Conflict(_said(told, firm, currency, now), code=told.code)


def limits_of(currency: str) -> Limits:
    """A new firm's limits in a currency; all are zero for one that has no line in the settings."""
    return Limits(
        largest_micros=settings.CARD_FIRST_LIMITS.get(currency, 0),
        day_micros=settings.CARD_DAY_LIMITS.get(currency, 0),
        week_micros=settings.CARD_WEEK_LIMITS.get(currency, 0),
        per_day=settings.CARD_DEPOSITS_PER_DAY_MAX,
    )


def three_d_secure(firm: Firm, currency: str, micros: int, now: datetime) -> str:
    """What the gateway is asked for: THREE_D_SECURE for a new firm and from an amount on, otherwise its own choice.

    https://docs.stripe.com/payments/3d-secure/authentication-flow#manual-three-ds
    """
    above = micros >= settings.THREE_D_SECURE_FROM.get(currency, 0)
    return settings.THREE_D_SECURE if above or is_new(firm, now) else "automatic"


def _check_cards(firm: Firm, fingerprint: str, now: datetime) -> None:
    used = _by_card(firm).filter(confirmed_at__gt=now - WEEK).exclude(card_fingerprint="")
    last = dict(used.values_list("card_fingerprint").annotate(at=Max("confirmed_at")))
    most = settings.CARDS_PER_WEEK_MAX
    free_at = when_fewer_cards(list(last.values()), most, now)
    if free_at > now and fingerprint not in last:
        detail = f"{len(last)} cards were used within seven days and {most} may be: again {_time(free_at)}, or by wire"
        raise Conflict(detail, code="too_many_cards")


def _past(firm: Firm, currency: str, now: datetime) -> list[Paid]:
    """What was paid, and what can be paid on pages that are open."""
    waiting = Q(state=DepositState.CREATED, created_at__gt=now - WEEK)
    paid = Q(state=DepositState.CONFIRMED, confirmed_at__gt=now - WEEK)
    rows = _by_card(firm).filter(waiting | paid, currency=currency)
    return [Paid(paid_at or at, micros) for at, paid_at, micros in
            rows.values_list("created_at", "confirmed_at", "amount_micros")]  # fmt: skip


def _said(told: Refusal, firm: Firm, currency: str, now: datetime) -> str:
    rule = WORDS[told.code]
    if told.code == "card_count_limit":
        limit = f"{rule} by card are at most {settings.CARD_DEPOSITS_PER_DAY_MAX}"
    else:
        most = limits_of(currency)
        of = {"card_amount_limit": most.largest_micros, "card_day_limit": most.day_micros}
        limit = f"{rule} by card {'is' if rule == 'a deposit' else 'are'} at most "
        limit += _coins(of.get(told.code, most.week_micros), currency)
    allowed = f"{_coins(told.allowed_micros, currency)} are allowed now"
    when = f"this amount {_time(told.free_at)}" if told.free_at else f"more {_seasoned(firm, now)}"
    return f"{limit} while none of a firm's is {settings.CARD_SEASON_DAYS} days old: {allowed}, {when}, or by wire"


def _seasoned(firm: Firm, now: datetime) -> str:
    good = _by_card(firm).filter(state=DepositState.CONFIRMED).exclude(disputes__state__in=NOT_WON)
    first = good.order_by("confirmed_at").values_list("confirmed_at", flat=True).first()
    return _time(first + _season()) if first else f"{settings.CARD_SEASON_DAYS} days after the first"


def _by_card(firm: Firm) -> QuerySet[Deposit]:
    return Deposit.objects.filter(firm=firm, gateway__in=disputable_gateways())


def _coins(micros: int, currency: str) -> str:
    return f"{format_micros(micros, places=2)} {currency}"


def _time(at: datetime) -> str:
    return f"from {at:%Y-%m-%d %H:%M} UTC on"


def _season() -> timedelta:
    return timedelta(days=settings.CARD_SEASON_DAYS)
