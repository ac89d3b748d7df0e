"""Where a firm's money goes. A new account is held back, so that its people can object to one they did not name."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from marketplace.accounts import passwords
from marketplace.accounts.models import Firm, Membership, User
from marketplace.accounts.roles import Role
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed, NotFound
from marketplace.events.services import record_event
from marketplace.payments.models import BankDetails
from marketplace.payments.payouts.pain001 import can_be_written
from marketplace.payments.payouts.sealing import digest, sealed
from marketplace.payments.payouts.selectors import details_held, details_of
from marketplace.payments.wire.account_numbers import compact, is_bic, is_iban, is_other, looks_like_iban, masked


def change_bank_details(
    *, firm: Firm, person: User | None, password: str, address: str, holder: str, account: str, bic: str, now: datetime
) -> BankDetails:
    """Name another account; it is in force after BANK_DETAILS_HOLD_HOURS, the old one until then.

    Only an owner does this, in person and with the password, from `address`. Raises NotAllowed, Invalid for a wrong
    password or numbers whose check digits do not fit, TooManyTries, and Conflict while another change is held.
    """
    _require_owner(firm, person)
    assert person is not None
    passwords.check(person=person, password=password, pointer="/password", address=address, now=now)
    number, code = compact(account), compact(bic)
    _check(holder, number, code)
    return _name(firm, person, holder.strip(), number, code, now)


@transaction.atomic
def _name(firm: Firm, person: User, holder: str, number: str, code: str, now: datetime) -> BankDetails:
    lock_firm(firm)
    if details_held(firm, now):
        raise Conflict("another change is held: take it back first", code="change_held")
    details = BankDetails.objects.create(
        firm=firm,
        holder=holder,
        sealed_account=sealed(number),
        account_digest=digest(number),
        hint=masked(number),
        bic=code,
        created_by=person,
        created_at=now,
        usable_at=now + timedelta(hours=settings.BANK_DETAILS_HOLD_HOURS),
    )
    _tell(details, "changed", person, now)
    return details


@transaction.atomic
def withdraw_bank_details(*, firm: Firm, person: User | None, details_id: str, now: datetime) -> BankDetails:
    """Take back a change that is still held. Raises NotFound, NotAllowed, and Conflict when it is in force."""
    details = details_of(firm).select_for_update(of=("self",)).filter(public_id=details_id).first()
    if details is None:
        raise NotFound
    _require_owner(firm, person)
    assert person is not None
    if details.withdrawn_at is None:
        if details.usable_at <= now:
            raise Conflict("it is in force already: name another account", code="in_force")
        details.withdrawn_at = now
        details.save(update_fields=["withdrawn_at"])
        _tell(details, "withdrawn", person, now)
    return details


def _require_owner(firm: Firm, person: User | None) -> None:
    if person is None or not Membership.objects.filter(firm=firm, user=person, role=Role.OWNER).exists():
        raise NotAllowed("only an owner of the firm does this, signed in", code="owners_only")


def _check(holder: str, number: str, bic: str) -> None:
    wrong = []
    if not holder.strip():
        wrong.append(FieldError("/holder", "required", "say whose account it is"))
    elif not can_be_written(holder):
        wrong.append(FieldError("/holder", "letters", "write it in Latin letters, as your bank does on its papers"))
    if looks_like_iban(number) and not is_iban(number):
        wrong.append(FieldError("/account", "check_digits", "the check digits of this IBAN do not fit"))
    elif not is_iban(number) and not is_other(number):
        wrong.append(FieldError("/account", "shape", "give an IBAN, or 4 to 34 letters and digits"))
    if bic and not is_bic(bic):
        wrong.append(FieldError("/bic", "shape", "a BIC has 8 or 11 letters and digits"))
    elif not bic and is_other(number):
        wrong.append(FieldError("/bic", "required", "an account without an IBAN needs its bank's BIC"))
    if wrong:
        raise Invalid("some values are wrong", errors=tuple(wrong))


def _tell(details: BankDetails, what: str, person: User, now: datetime) -> None:
    record_event(
        firm_id=details.firm_id,
        type=f"bank_details.{what}",
        subject=details.public_id,
        actor=person.public_id,
        data={"account": details.hint, "holder": details.holder, "usable_at": details.usable_at.isoformat()},
        now=now,
    )
