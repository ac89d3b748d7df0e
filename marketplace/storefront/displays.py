"""How states look: a tone, an icon and words. Colour never says anything alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Display:
    """`tone` is a CSS class, `icon` a name in `icons.ICONS`."""

    tone: str
    icon: str
    text: str


UNKNOWN = Display("", "ring", "")
STATES: dict[str, dict[str, Display]] = {
    "lease": {
        "reserved": Display("busy moving", "moving", "Reserved"),
        "starting": Display("busy moving", "moving", "Starting"),
        "active": Display("good", "check", "Active"),
        "ending": Display("wait", "moving", "Ending"),
        "ended": Display("", "dot", "Ended"),
        "failed": Display("bad", "cross", "Failed"),
    },
    "order": {
        "open": Display("busy", "clock", "Open"),
        "filled": Display("good", "check", "Filled"),
        "cancelled": Display("", "cross", "Cancelled"),
        "expired": Display("", "clock", "Expired"),
        "rejected": Display("bad", "cross", "Rejected"),
    },
    "listing": {
        "draft": Display("", "ring", "Draft"),
        "open": Display("good", "check", "Open"),
        "paused": Display("wait", "pause", "Paused"),
        "closed": Display("", "dot", "Closed"),
    },
    "card_bid": {
        "open": Display("busy", "clock", "Open"),
        "filled": Display("good", "check", "Filled"),
        "cancelled": Display("", "cross", "Cancelled"),
        "expired": Display("", "clock", "Expired"),
        "rejected": Display("bad", "cross", "Rejected"),
    },
    "sale": {
        "agreed": Display("wait", "clock", "Agreed"),
        "paid": Display("busy", "wallet", "Paid, money held"),
        "shipped": Display("busy moving", "moving", "Shipped"),
        "received": Display("busy", "check", "Received"),
        "inspecting": Display("busy", "search", "Being inspected"),
        "disputed": Display("bad", "warning", "Disputed"),
        "returning": Display("wait", "moving", "Being returned"),
        "released": Display("good", "check", "Released to the seller"),
        "split": Display("", "dot", "Split"),
        "refunded": Display("", "dot", "Refunded"),
        "cancelled": Display("", "cross", "Cancelled"),
    },
    "node": {
        "pending": Display("wait", "clock", "Waiting for the first report"),
        "online": Display("good", "check", "Online"),
        "lost": Display("bad", "warning", "No reports"),
        "quarantined": Display("bad", "warning", "Quarantined"),
        "retired": Display("", "dot", "Retired"),
    },
    "availability": {
        "idle": Display("good", "sprout", "Idle"),
        "leased": Display("busy", "check", "Leased"),
        "contended": Display("bad", "warning", "Contended"),
        "owner_used": Display("", "dot", "Used by you"),
        "draining": Display("wait", "pause", "Draining"),
        "unhealthy": Display("bad", "warning", "Unhealthy"),
        "ghost": Display("wait", "warning", "Ghost load"),
        "lost": Display("bad", "cross", "No reports"),
    },
    "transfer": {
        "created": Display("wait", "clock", "Being sent"),
        "paid": Display("good", "check", "Sent"),
        "failed": Display("bad", "cross", "Failed"),
    },
    "refund": {
        "created": Display("wait", "clock", "Being sent"),
        "sent": Display("wait", "clock", "On its way"),
        "paid": Display("good", "check", "Sent back"),
        "failed": Display("bad", "cross", "Failed"),
    },
    "payment_dispute": {
        "open": Display("bad", "warning", "Waits for evidence"),
        "answered": Display("wait", "clock", "With the bank"),
        "won": Display("good", "check", "Won"),
        "lost": Display("bad", "cross", "Lost"),
    },
    "top_up": {
        "on": Display("good", "check", "On"),
        "needs_you": Display("wait", "warning", "Needs you"),
        "off": Display("", "dot", "Off"),
    },
    "seller_account": {
        "opening": Display("wait", "clock", "Being opened"),
        "due": Display("wait", "ring", "Details are due"),
        "ready": Display("good", "check", "Ready to be paid"),
        "refused": Display("bad", "cross", "Refused"),
    },
    "deposit": {
        "created": Display("wait", "clock", "Awaiting confirmation"),
        "awaiting": Display("wait", "clock", "Awaiting confirmation"),
        "pending": Display("wait", "clock", "Awaiting confirmation"),
        "confirmed": Display("good", "check", "Confirmed"),
        "paid": Display("good", "check", "Confirmed"),
        "rejected": Display("bad", "cross", "Rejected"),
        "failed": Display("bad", "cross", "Failed"),
        "cancelled": Display("", "cross", "Cancelled"),
        "expired": Display("", "clock", "Expired"),
    },
    "payout": {
        "created": Display("wait", "clock", "Asked for"),
        "sent": Display("busy moving", "moving", "At the bank"),
        "paid": Display("good", "check", "Paid"),
        "failed": Display("bad", "cross", "Failed"),
    },
    "difference": {
        "open": Display("bad", "warning", "Open"),
        "gone": Display("good", "check", "Gone by itself"),
        "explained": Display("", "check", "Explained"),
    },
    "bank_line": {
        "waiting": Display("wait", "clock", "Waits"),
        "booked": Display("good", "check", "Booked"),
        "returning": Display("busy", "moving", "Going back"),
        "returned": Display("", "dot", "Sent back"),
    },
    "match": {
        "exact": Display("good", "check", "Exact"),
        "by_hand": Display("", "check", "Confirmed before"),
        "partial": Display("wait", "warning", "Less than announced"),
        "over": Display("wait", "warning", "More than announced"),
        "late": Display("wait", "clock", "Late"),
        "payout": Display("good", "check", "Payout"),
        "payout_return": Display("bad", "warning", "Payout came back"),
        "return": Display("", "dot", "Sent back"),
        "unknown": Display("wait", "ring", "Unknown"),
    },
    "todo": {
        "open": Display("wait", "ring", "To do"),
        "done": Display("good", "check", "Done"),
    },
    "grade": {
        "F0": Display("good", "shield", "F0"),
        "F1": Display("good", "check", "F1"),
        "F2": Display("wait", "info", "F2"),
        "F3": Display("bad", "warning", "F3"),
        "FX": Display("", "ring", "FX"),
    },
    "severity": {
        "note": Display("", "info", "Note"),
        "limit": Display("wait", "info", "Limit"),
        "fault": Display("bad", "warning", "Fault"),
        "disqualifying": Display("bad", "cross", "Not the card that it says"),
    },
    "verdict": {
        "sell_now": Display("busy", "arrow", "Sell now"),
        "sell_in_3_months": Display("wait", "clock", "Sell in 3 months"),
        "sell_in_6_months": Display("wait", "clock", "Sell in 6 months"),
        "rent": Display("good", "sprout", "Rent out"),
        "keep": Display("", "pause", "Keep"),
    },
    "tier": {
        "declared": Display("", "ring", "Declared"),
        "measured": Display("good", "check", "Measured"),
        "attested": Display("good", "shield", "Attested"),
    },
}


REASONS = {
    "owner_process": "your process is on it",
    "memory_in_use": "memory is in use",
    "memory_unknown": "its memory can't be read",
    "nothing_proves_idleness": "nothing proves that it is idle",
    "not_watched_long_enough": "not watched for long enough yet",
    "not_idle_long_enough": "not idle for long enough yet",
    "not_healthy_long_enough": "not healthy for long enough yet",
    "utilisation": "it is working",
    "load_without_process": "load without a process",
    "mig_enabled": "MIG is on",
    "no_reports": "the agent is silent",
    "gpu_lost": "the driver lost it",
    "draining": "being drained",
}


# What https://docs.stripe.com/api/accounts/object#account_object-requirements-currently_due begins with.
DUE = {
    "business_profile": "What your business does, and where it is on the web",
    "business_type": "What kind of business you are",
    "company": "Details of your company",
    "individual": "Details of yourself",
    "representative": "Details of whoever represents your firm",
    "owners": "Details of who owns your firm",
    "directors": "Details of who directs your firm",
    "executives": "Details of who runs your firm",
    "external_account": "The bank account that you are paid to",
    "tos_acceptance": "Your agreement to Stripe's terms",
}


def due_words(codes: Sequence[str]) -> list[str]:
    """What a seller's account still lacks, each kind of thing once."""
    kinds = ["representative" if code.startswith("person_") else code.partition(".")[0] for code in codes]
    words = [
        DUE.get(kind, code.replace(".", ": ").replace("_", " ").capitalize())
        for kind, code in zip(kinds, codes, strict=True)
    ]
    return list(dict.fromkeys(words))


def reason_text(code: str) -> str:
    """Why a card is not idle, in words."""
    return REASONS.get(code, code.replace("_", " "))


def display_of(kind: str, value: str) -> Display:
    """The look of a state; an unknown one is shown by its name."""
    found = STATES.get(kind, {}).get(str(value))
    return found or Display(UNKNOWN.tone, UNKNOWN.icon, str(value).replace("_", " ").capitalize())
