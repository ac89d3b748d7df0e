"""Decisions with a record, about leases and sales."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import NotAllowed
from marketplace.compliance.inquiry import (
    Deal,
    Inquiry,
    Party,
    Ruled,
    Stage,
    case_hash,
    inputs_of,
    inquiry_from,
)
from marketplace.compliance.items import Item, ItemClass, classify, memory_gib
from marketplace.compliance.models import ComplianceDecision, RuleAdoption, RuleTable
from marketplace.compliance.rules import Decision, Outcome, Ruleset, decide
from marketplace.compliance.selectors import clearance_of, documents_of, ruling_on
from marketplace.compliance.services.screening import screen
from marketplace.compliance.tablefile import kept_ruleset, table_in_force
from marketplace.compliance.telling import told_reason
from marketplace.events.services import record_event

FLAG = "BORDERLINE"  # in the source of a catalogue row
REFUSALS = {
    Outcome.BLOCK: "the rules of this exchange do not allow a deal with this firm",
    Outcome.HOLD: "a person of this exchange must look at this firm before a deal",
}


@transaction.atomic
def decide_lease(buyer: Firm, *, now: datetime) -> ComplianceDecision:
    """May the firm lease? The answer is kept; call it outside the transaction that a refusal undoes."""
    return _record(buyer, None, _lease_inquiry(buyer, now), buyer.public_id, now)


def may_lease(firm: Firm, *, now: datetime) -> bool:
    """What `decide_lease` would answer, with no record: for the book, which asks again in every round."""
    inquiry = _with_ruling(_lease_inquiry(firm, now), firm, firm.public_id, _day(now))
    return decide(inquiry, on=_day(now), ruleset=table_in_force().ruleset).outcome is Outcome.ALLOW


@transaction.atomic
def decide_sale(
    *,
    seller: Firm,
    buyer: Firm,
    item: Item,
    ships_from: str,
    ships_to: str,
    stage: Stage,
    subject: str,
    now: datetime,
    lab: Firm | None = None,
    lab_country: str | None = None,
) -> ComplianceDecision:
    """May this card go from the seller to the buyer? Asked at order, payment and shipping, and kept each time.

    `ships_from` and `ships_to` are a country (`DE`) or a region (`UA-43`), `subject` is the sale's public id, `lab` who
    measures it on its way and `lab_country` where: it gets the card before the buyer does. Call it
    outside the transaction that a refusal undoes. A hold that an operator has lifted for this subject and stage is an
    allow, as long as the case is the same.
    """
    classified = _classified(item, now)
    inquiry = replace(
        classified,
        headquarters_country=buyer.headquarters_country,
        ultimate_parent_country=buyer.ultimate_parent_country,
        intended_use=buyer.intended_use,
        destination_country=ships_to,
        origin_country=ships_from,
        regions=tuple(place for place in (ships_from, ships_to, lab_country) if place and "-" in place),
        stage=stage,
        seller=_party(seller),
        lab=_party(lab) if lab else None,
        lab_country=lab_country,
        screening=screen([buyer, seller, *([lab] if lab else [])], now=now),
        documents_on_file=_on_file(subject, now),
    )
    return _record(buyer, seller, inquiry, subject, now)


def item_of(
    model: GpuModel, *, is_modified: bool, as_rebuilt_for_datacentre: bool, memory_mib: int | None = None
) -> Item:
    """The item that a card of this model is; `memory_mib` as measured, without it the model's own.

    Of a modified card the measured memory is needed: without it no clearance fits.
    """
    factory = model.memory_mib
    if not is_modified and memory_mib is not None:
        factory = min(model.memory_sizes_mib, key=lambda size: abs(size - memory_mib), default=factory)
    return Item(
        slug=model.slug,
        tpp=model.tpp,
        performance_density=model.performance_density,
        designed_for_datacentre=model.designed_for_datacentre,
        vendor_eccn="",
        is_borderline=FLAG in model.source,
        is_modified=is_modified,
        as_rebuilt_for_datacentre=as_rebuilt_for_datacentre,
        memory_gib=memory_gib(memory_mib if is_modified else factory),
    )


def require_allowed(decision: ComplianceDecision) -> None:
    """NotAllowed with the code `compliance_block` or `compliance_hold`, unless the outcome is allow."""
    outcome = Outcome(decision.outcome)
    if outcome is not Outcome.ALLOW:
        raise NotAllowed(REFUSALS[outcome], code=f"compliance_{outcome.value}")


def reproduce(decision: ComplianceDecision) -> Decision:
    """The decision made again from the record alone: the kept inputs, day and table."""
    inquiry, on = inquiry_from(decision.inputs)
    return decide(inquiry, on=on, ruleset=kept_ruleset(decision.table.text))


def _party(firm: Firm) -> Party:
    return Party(firm.public_id, firm.headquarters_country, firm.ultimate_parent_country)


def _lease_inquiry(firm: Firm, now: datetime) -> Inquiry:
    return Inquiry(
        deal=Deal.LEASE,
        headquarters_country=firm.headquarters_country,
        ultimate_parent_country=firm.ultimate_parent_country,
        intended_use=firm.intended_use,
        screening=screen([firm], now=now),
        documents_on_file=_on_file(firm.public_id, now),
    )


def _classified(item: Item, now: datetime) -> Inquiry:
    """A sale of which only the item is filled in: its maker's ECCN, its clearance and its class."""
    on = _day(now)
    ruleset = table_in_force().ruleset
    known = item if item.vendor_eccn else replace(item, vendor_eccn=ruleset.eccn_of(item.slug, on))
    clearance = clearance_of(known, on, ruleset.class_digest(item.slug, on))
    cleared_as = ItemClass(clearance.item_class) if clearance else None
    return Inquiry(
        deal=Deal.SALE,
        headquarters_country="",
        ultimate_parent_country="",
        intended_use="",
        item=known,
        classification=classify(known, cleared_as=cleared_as),
        clearance=clearance.public_id if clearance else "",
    )


def _on_file(subject: str, now: datetime) -> tuple[str, ...]:
    return tuple(sorted({document.code for document in documents_of(subject, _day(now))}))


def _with_ruling(inquiry: Inquiry, buyer: Firm, subject: str, on: date) -> Inquiry:
    """With the rows that an operator looked at, as far as they say today what they said then.

    A row that asks for papers is lifted while they are on file: a ruling does not outlive what was shown for it.
    """
    ruling = ruling_on(firm_id=buyer.pk, stage=inquiry.stage, subject=subject, case_hash=case_hash(inquiry))
    if ruling is None:
        return inquiry
    decision, ruleset = ruling.decision, table_in_force().ruleset
    kept, then = kept_ruleset(decision.table.text), date.fromisoformat(decision.inputs["on"])
    same = tuple(each for each in decision.rule_ids if _says(kept, each, then) == _says(ruleset, each, on))
    shown = tuple(each for each in same if _papers(ruleset, each, on) <= frozenset(inquiry.documents_on_file))
    return replace(inquiry, ruled=Ruled(ruling.public_id, ruling.outcome, shown))


def _says(ruleset: Ruleset, rule_id: str, on: date) -> tuple[object, ...]:
    row = ruleset.row(rule_id, on)
    return row.says if row else ()


def _papers(ruleset: Ruleset, rule_id: str, on: date) -> frozenset[str]:
    row = ruleset.row(rule_id, on)
    return frozenset(row.documents) if row else frozenset()


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()


def _record(buyer: Firm, seller: Firm | None, inquiry: Inquiry, subject: str, now: datetime) -> ComplianceDecision:
    ruled = _with_ruling(inquiry, buyer, subject, _day(now))
    made = decide(ruled, on=_day(now), ruleset=table_in_force().ruleset)
    decision = ComplianceDecision.objects.create(
        firm=buyer,
        seller=seller,
        deal=inquiry.deal.value,
        stage=inquiry.stage.value,
        subject=subject,
        outcome=made.outcome.value,
        rule_ids=list(made.rule_ids),
        decided_by=list(made.decided_by),
        required_documents=list(made.required_documents),
        inputs=inputs_of(ruled, _day(now)),
        input_hash=made.input_hash,
        case_hash=case_hash(inquiry),
        table=_adopted(made.ruleset_version, now),
        at=now,
    )
    if made.outcome is not Outcome.ALLOW:
        _tell(decision, now)
    return decision


def _adopted(version: str, now: datetime) -> RuleTable:
    """The table's row; it becomes what stays in force should the next file be malformed."""
    table, _ = RuleTable.objects.get_or_create(
        version=version, defaults={"text": table_in_force().text, "first_used_at": now}
    )
    latest = RuleAdoption.objects.order_by("-pk").first()
    if latest is None or latest.table_id != table.pk:
        RuleAdoption.objects.create(table=table, at=now)
    return table


def _tell(decision: ComplianceDecision, now: datetime) -> None:
    record_event(
        firm_id=decision.firm_id,
        type=f"compliance.{decision.outcome}",
        subject=decision.public_id,
        now=now,
        reason=told_reason(decision.decided_by, table_in_force().ruleset, _day(now)),
        data={"deal": decision.deal, "stage": decision.stage, "about": decision.subject},
    )
