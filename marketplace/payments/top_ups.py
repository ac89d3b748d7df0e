"""Automatic top-up: a wallet below its threshold is filled from the saved card. A charge that fails is not repeated."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict, NotFound
from marketplace.events.services import once
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.card_deposits import open_page, page_refused
from marketplace.payments.fraud.first_deposits import check_card_deposit, three_d_secure
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit, GatewayCall, SavedCard, TopUpRule
from marketplace.payments.outbox import enqueue
from marketplace.payments.saved_cards import card_of
from marketplace.payments.selectors import deposit_for_update, disputes_in_force
from marketplace.payments.services import check_taken, new_deposit
from marketplace.payments.states import DepositState, TopUpState

DAY = timedelta(days=1)
ASKS_ITS_HOLDER = "authentication_required"


def set_rule(
    *, firm: Firm, currency: str, below_micros: int, amount_micros: int, key: str | None, now: datetime, actor: str
) -> TopUpRule:
    """Fill the wallet of a currency by this much whenever it falls below that much; one rule per wallet.

    Raises Conflict without a saved card, and Invalid for what the gateway does not take.
    """
    card = card_of(firm)
    if card is None or not card.method_id:
        raise Conflict("save a card first", code="no_card")
    check_taken(card.gateway, currency, amount_micros)
    body = {"rule": {"currency": currency, "below_micros": below_micros, "amount_micros": amount_micros}}

    def make() -> str:
        lock_firm(firm)
        numbers = {"below_micros": below_micros, "amount_micros": amount_micros}
        rule, is_new = TopUpRule.objects.update_or_create(
            firm=firm, currency=currency, defaults=numbers, create_defaults={**numbers, "created_at": now}
        )
        if not is_new and rule.state != TopUpState.ON:
            transition(rule, TopUpState.ON, now=now, actor=actor)
        return str(rule.public_id)

    public_id, _ = once(firm_id=firm.pk, key=key, body=body, now=now, make=make)
    return TopUpRule.objects.get(public_id=public_id)


@transaction.atomic
def end_rule(*, firm: Firm, rule_id: str, now: datetime, actor: str) -> None:
    """Fill the wallet no more. Raises NotFound, and WrongState when it is off already."""
    rule = TopUpRule.objects.select_for_update().filter(firm=firm, public_id=rule_id).first()
    if rule is None:
        raise NotFound
    transition(rule, TopUpState.OFF, now=now, actor=actor)


def top_up(*, now: datetime) -> int:
    """Charge for every wallet that is below its threshold; returns how many charges were begun."""
    rules = TopUpRule.objects.filter(state=TopUpState.ON).order_by("pk").values_list("pk", flat=True)
    return sum(_top_up(pk, now) for pk in rules)


@transaction.atomic
def _top_up(pk: int, now: datetime) -> bool:
    if not _is_low(TopUpRule.objects.get(pk=pk)):
        return False
    lock_firm(TopUpRule.objects.select_related("firm").get(pk=pk).firm)
    rule = (
        TopUpRule.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk, state=TopUpState.ON).first()
    )
    if rule is None or not _is_low(rule) or rule.deposits.filter(state=DepositState.CREATED).exists():
        return False
    if rule.deposits.filter(created_at__gt=now - DAY).count() >= settings.TOP_UPS_PER_DAY_MAX:
        _ask(rule, "too_many_in_a_day", now)
        return False
    if disputes_in_force().filter(deposit__firm=rule.firm).exists():
        _ask(rule, "payment_disputed", now)
        return False
    card = SavedCard.objects.get(firm=rule.firm)
    try:
        check_card_deposit(
            rule.firm, card.gateway, rule.currency, rule.amount_micros, now, fingerprint=card.fingerprint
        )
    except Conflict as refused:
        _ask(rule, refused.code, now, said=refused.detail)
        return False
    _charge(rule, card, now)
    return True


def _charge(rule: TopUpRule, card: SavedCard, now: datetime) -> None:
    deposit = new_deposit(rule.firm, card.gateway, rule.currency, rule.amount_micros, "system", now, rule=rule)
    params = {
        "deposit_id": deposit.public_id,
        "customer_id": card.customer_id,
        "method_id": card.method_id,
        "currency": deposit.currency,
        "amount_micros": deposit.amount_micros,
        "three_d_secure": three_d_secure(rule.firm, deposit.currency, deposit.amount_micros, now),
    }
    enqueue(
        gateway=card.gateway,
        operation=Operation.CHARGE_SAVED,
        params=params,
        subject=deposit.public_id,
        firm=rule.firm,
        now=now,
    )


def _is_low(rule: TopUpRule) -> bool:
    return balance_micros(firm=rule.firm, kind=AccountKind.WALLET, currency=rule.currency) < rule.below_micros


def charged(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The charge is made; what came of it is fetched like any payment."""
    Deposit.objects.filter(public_id=call.subject).update(payment_id=receipt.object_id)
    look_at(call.gateway, "payment_intent", receipt.object_id, now=now)


def charge_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """The card was refused: the rule waits for its owner. A bank that asks the holder gets a page to be answered on."""
    deposit = deposit_for_update(call.subject)
    assert deposit.rule is not None
    rule = TopUpRule.objects.select_for_update(of=("self",)).get(pk=deposit.rule.pk)
    if rule.state == TopUpState.ON:
        _ask(rule, refusal.code, now)
    if refusal.code == ASKS_ITS_HOLDER and deposit.state == DepositState.CREATED:
        open_page(deposit, now)
    else:
        page_refused(call, refusal, now)


def _ask(rule: TopUpRule, reason: str, now: datetime, *, said: str = "") -> None:
    transition(rule, TopUpState.NEEDS_YOU, now=now, reason=reason[:64], data={"said": said} if said else None)
    TopUpRule.objects.filter(pk=rule.pk).update(reason=reason[:64])
