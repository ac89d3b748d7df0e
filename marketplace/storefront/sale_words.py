"""A sale in words: how far it is, whose turn it is and for what, what a silence leads to, and what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marketplace.sales.models import Sale
from marketplace.sales.silence import SILENCES, Party, Step
from marketplace.sales.states import ENDS, Route, SaleReason, SaleState
from marketplace.storefront.displays import display_of
from marketplace.storefront.wording import words

TASKS = {
    Step.AGREED: "decide whether the export rules let it pass",
    Step.TO_SHIP: "ship the card",
    Step.SHIPPING_HELD: "decide whether the export rules let it be shipped",
    Step.ADDRESS_ASKED: "correct the address, or say that it is right",
    Step.TO_LAB: "say that the parcel has arrived, or measure the card",
    Step.AT_LAB: "measure the card",
    Step.FROM_LAB: "say that the parcel from the lab has arrived, or measure the card",
    Step.TO_BUYER: "say that the parcel has arrived, or measure the card",
    Step.RECEIVED: "begin the inspection",
    Step.INSPECTING: "measure the card, or say what is wrong with it",
    Step.DISPUTED_UNDELIVERED: "rule on the dispute: nobody has proved that the buyer has it",
    Step.DISPUTED_DELIVERED: "rule on the dispute",
    Step.DISPUTED_RETURN_UNPROVEN: "rule on the dispute: nobody has proved that it came back",
    Step.DISPUTED_RETURNED: "rule on the dispute about what came back",
    Step.TO_SEND_BACK: "send the card back",
    Step.ON_ITS_WAY_BACK: "say that the parcel came back, or measure what is in it",
    Step.BACK: "measure what came back",
}
FOLLOWS = {
    "cancelled": "the sale is cancelled and the buyer has the money back",
    "disputed": "it becomes a dispute, and an operator looks at it",
    "refunded": "the buyer has the money back",
    "released": "the seller gets the money",
    "returning": "the buyer sends the card back",
    "inspecting": "the inspection begins",
}
EVENTS = {
    "agreed": "Agreed: both sides are bound",
    "paid": "Paid: the money is held",
    "shipping_held": "Shipping is held by the export rules",
    "shipping_cleared": "The export rules let it be shipped",
    "address_asked": "The seller can't ship to the address",
    "address_answered": "The buyer answered about the address",
    "shipped": "Shipped by the seller",
    "at_lab": "Arrived at the lab",
    "lab_passed": "The lab measured the same card",
    "sent_on": "Sent on by the lab",
    "received": "Arrived at the buyer",
    "delivery_proved": "An operator saw the carrier's proof",
    "inspecting": "The inspection began",
    "disputed": "A dispute was opened",
    "returning": "It is to be sent back",
    "sent_back": "Sent back by the buyer",
    "came_back": "Arrived at the seller again",
    "released": "The money went to the seller",
    "split": "The money was split",
    "refunded": "The money went back to the buyer",
    "cancelled": "Cancelled",
    "evidence": "A message or a photo",
}
DIFFERENCES = {
    "uuid": "UUID",
    "pci_device_id": "PCI device",
    "pci_subsystem_id": "PCI subsystem",
    "serial": "Serial number",
    "board_part_number": "Board part number",
    "sm_count": "Multiprocessors",
    "compute_capability": "Compute capability",
    "vbios": "Firmware (VBIOS)",
    "memory_total_mib": "Memory (MiB)",
    "memory_truth": "Memory pages that were wrong",
    "not_measured": "How far it was measured",
    "found_faults": "Faults that were found",
    "found_limits": "Limits that were found",
    "gemm": "Speed at the same clock",
    "arithmetic": "Whether it computes rightly",
    "copy_bandwidth": "Copies on the card (MB/s)",
    "soak": "Wrong results under load",
    "retired_pages": "Retired pages",
    "ecc_uncorrected": "Uncorrected memory errors",
    "remapped_rows_correctable": "Remapped rows, correctable",
    "remapped_rows_uncorrectable": "Remapped rows, uncorrectable",
    "remap_failed": "A row could not be remapped",
    "remap_pending": "A row waits to be remapped",
    "xid": "Xids",
}
VIEWS = {"driver": "as the driver says", "cuda": "as CUDA says", "nvml": "as NVML says"}
REASONS = dict(SaleReason.choices)


@dataclass(frozen=True, slots=True)
class Turn:
    """Who has to do what now; `party` is empty when the sale is over."""

    party: str
    is_mine: bool
    task: str
    follows: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A stop on the sale's way; `mark` is done, now, failed or nothing yet."""

    name: str
    mark: str
    at: datetime | None
    is_here: bool = False


def turn_of(step: Step | None, side: str, *, at_the_end: bool = False) -> Turn:
    """Whose turn it is, as `side` reads it: buyer, seller, lab or operator.

    `at_the_end`: the step's deadline is the end of the 60 days for which money is held at most.
    """
    if step is None:
        return Turn("", False, "", "")
    silence = SILENCES[step]
    credit = ", with a credit from the seller" if silence.credits_buyer and not at_the_end else ""
    after = FOLLOWS[silence.at_the_end if at_the_end else silence.outcome] + credit
    return Turn(silence.party, silence.party == side and silence.party != Party.NOBODY, TASKS[step], after)


def phases_of(sale: Sale) -> list[Phase]:
    """The stops with their times: those behind it, the present one, and what still has to come when all goes well."""
    is_over, stops = sale.state in ENDS, _stops(sale)
    if is_over:
        stops = [(name, at) for name, at in stops if at]
    reached = max(number for number, (_, at) in enumerate(stops) if at)
    here = "done" if is_over else "failed" if sale.state == SaleState.DISPUTED else "now"
    phases = [
        Phase(
            name,
            here if number == reached else "done" if number < reached else "",
            at,
            number == reached and not is_over,
        )
        for number, (name, at) in enumerate(stops)
    ]
    if not is_over:
        return [*phases, Phase("Refunded" if sale.state == SaleState.RETURNING else "Released", "", None)]
    is_well = sale.state in (SaleState.RELEASED, SaleState.SPLIT)
    name = "Released" if sale.state == SaleState.RELEASED else display_of("sale", sale.state).text
    return [*phases, Phase(name, "done" if is_well else "failed", sale.closed_at, is_here=True)]


def _stops(sale: Sale) -> list[tuple[str, datetime | None]]:
    disputes = sorted(sale.disputes.all(), key=lambda each: each.pk)
    stops = [("Agreed", sale.agreed_at), ("Paid", sale.paid_at), ("Shipped", sale.shipped_at)]
    if sale.route == Route.LAB:
        stops.append(("At the lab", sale.lab_received_at))
    if sale.received_at or not disputes:
        stops.append(("Received", sale.received_at))
    if disputes:
        stops.append(("Disputed", disputes[0].opened_at))
    if sale.sent_back_at or sale.state == SaleState.RETURNING:
        stops += [("Sent back", sale.sent_back_at), ("Came back", sale.came_back_at)]
    return stops


def event_words(kind: str) -> str:
    """`sale.paid` → what happened."""
    name = kind.partition(".")[2] or kind
    return EVENTS.get(name) or words(name)


def difference_words(code: str) -> str:
    """What is not the same: `uuid`, or `driver.uuid` for one view of it."""
    view, _, name = code.rpartition(".")
    said = DIFFERENCES.get(name) or words(name)
    return f"{said}, {VIEWS.get(view, view)}" if view else said


def reason_words(code: str) -> str:
    """Why a sale moved on."""
    return REASONS.get(code) or words(code)


def shown_difference(value: Any) -> str:
    """A measured value, a list of them, or nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not told" if value in (None, "") else str(value)
