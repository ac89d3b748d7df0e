"""When the two sides do not agree: what each says and shows, and an operator's ruling."""

from __future__ import annotations

from datetime import datetime

from django.core.files.base import ContentFile
from django.db import transaction

from listings.cards.photos import clean_photo
from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.common.money import format_micros
from marketplace.sales.models import Dispute, Evidence, Sale
from marketplace.sales.pricing import payout
from marketplace.sales.selectors import any_sale, sale_for_update, sale_of
from marketplace.sales.services.arrivals import arrive
from marketplace.sales.services.moving import finish, move, open_dispute
from marketplace.sales.services.shipping import tell
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import ENDS, Ruling, SaleReason, SaleState

EVIDENCE_MAX = 100
PHOTOS_MAX = 40


@transaction.atomic
def dispute_sale(*, firm: Firm, public_id: str, text: str, actor: str, now: datetime) -> Sale:
    """The buyer says that it is not what was sold, or the seller says that of what came back."""
    sale = sale_for_update(sale_of(firm, public_id).pk)
    match step_of(sale.facts()):
        case Step.TO_BUYER | Step.FROM_LAB if sale.buyer_id == firm.pk:
            arrive(sale, now=now, actor=actor)
        case Step.INSPECTING if sale.buyer_id == firm.pk:
            pass
        case Step.BACK if sale.seller_id == firm.pk:
            pass
        case _:
            raise Conflict(f"this sale is {sale.state}: there is nothing to dispute now", code="wrong_state")
    reason = SaleReason.BUYER_DISPUTES if sale.buyer_id == firm.pk else SaleReason.SELLER_DISPUTES
    open_dispute(sale, reason=reason, now=now, actor=actor, opened_by=firm, text=text)
    return sale


def add_evidence(*, firm: Firm, public_id: str, text: str, photo: bytes | None, actor: str, now: datetime) -> Evidence:
    """A message, a photo or both; after the ruling that ends a sale there is nothing more to say."""
    if not text and photo is None:
        raise Invalid("say something or send a photo", errors=(FieldError("/text", "required", "a text or a photo"),))
    clean = clean_photo(photo) if photo is not None else None
    with transaction.atomic():
        sale = sale_for_update(sale_of(firm, public_id).pk)
        if sale.state in ENDS:
            raise Conflict("this sale is over: nothing is added to it", code="sale_over")
        mine = sale.evidence.filter(firm=firm)
        if mine.count() >= EVIDENCE_MAX or (clean and mine.exclude(file="").count() >= PHOTOS_MAX):
            raise Conflict("this is more than anybody can look at", code="too_much_evidence")
        about = str(step_of(sale.facts()))
        said = Evidence(sale=sale, firm=firm, actor=actor, about=about, text=text, created_at=now)
        if clean:
            said.file.save(f"{said.public_id}.jpg", ContentFile(clean.data), save=False)
            said.sha256 = clean.sha256
        said.save()
        tell(sale, "evidence", now=now, actor=actor)
        return said


@transaction.atomic
def rule(
    *, operator: User, public_id: str, ruling: str, refund_micros: int | None = None, text: str = "", now: datetime
) -> Sale:
    """What an operator decides about a disputed sale. Conflict when there is nothing to rule, or it is ruled."""
    if not operator.is_operator:
        raise NotAllowed("only an operator decides this", code="operators_only")
    sale = sale_for_update(any_sale(public_id).pk)
    if sale.state != SaleState.DISPUTED:
        raise Conflict(f"this sale is {sale.state}: there is nothing to rule", code="wrong_state")
    refund_micros = _part_of(sale, ruling, refund_micros)
    _write_ruling(sale, operator, ruling, refund_micros, text, now)
    _carry_out(sale, operator, ruling, refund_micros, now)
    return sale


def _part_of(sale: Sale, ruling: str, refund_micros: int | None) -> int | None:
    """What a split returns to the buyer, as it will be paid; None for every other ruling."""
    total = sale.price.total_micros
    if ruling != Ruling.SPLIT and refund_micros is None:
        return None
    if ruling == Ruling.SPLIT and refund_micros is not None and 0 < refund_micros < total:
        fee = sale.fee_basis_points
        part = payout(price=sale.price, fee_basis_points=fee, buyer_micros=refund_micros).buyer_micros
        if part < total:
            return part
    most = f"{format_micros(total)} {sale.currency}"
    detail = f"a split, and only that, says what the buyer gets back: more than 0, at least 0.01 less than {most}"
    raise Invalid(detail, code="bad_split", errors=(FieldError("/refund", "out_of_range", detail),))


def _write_ruling(sale: Sale, operator: User, ruling: str, refund_micros: int | None, text: str, now: datetime) -> None:
    Dispute.objects.filter(sale=sale, closed_at=None).update(
        ruling=ruling, refund_micros=refund_micros, ruling_text=text, ruled_by=operator, closed_at=now
    )


def _carry_out(sale: Sale, operator: User, ruling: str, refund_micros: int | None, now: datetime) -> None:
    actor, reason = operator.public_id, SaleReason.OPERATOR_RULED
    match ruling:
        case Ruling.RELEASE:
            finish(sale, SaleState.RELEASED, reason=reason, now=now, actor=actor)
        case Ruling.REFUND:
            finish(sale, SaleState.REFUNDED, reason=reason, now=now, actor=actor)
        case Ruling.SPLIT:
            finish(sale, SaleState.SPLIT, reason=reason, now=now, actor=actor, refund_micros=refund_micros)
        case Ruling.RETURN:
            if step_of(sale.facts()) != Step.DISPUTED_DELIVERED:
                raise Conflict("the buyer does not have it: there is nothing to send back", code="nothing_to_return")
            move(sale, SaleState.RETURNING, now=now, reason=reason, actor=actor)
        case _:
            raise Invalid(f"a ruling is one of {', '.join(Ruling.values)}", code="bad_ruling")
