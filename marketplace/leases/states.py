"""States of leases, and why one ends."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class LeaseState(models.TextChoices):
    """The paid window runs while ACTIVE; FAILED means that it never was."""

    RESERVED = "reserved", "Reserved"
    STARTING = "starting", "Starting"
    ACTIVE = "active", "Active"
    ENDING = "ending", "Ending"
    ENDED = "ended", "Ended"
    FAILED = "failed", "Failed"


LEASE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    LeaseState.RESERVED: frozenset({LeaseState.STARTING, LeaseState.FAILED}),
    LeaseState.STARTING: frozenset({LeaseState.ACTIVE, LeaseState.FAILED}),
    LeaseState.ACTIVE: frozenset({LeaseState.ENDING}),
    LeaseState.ENDING: frozenset({LeaseState.ENDED}),
    LeaseState.ENDED: frozenset(),
    LeaseState.FAILED: frozenset(),
}
LIVE = frozenset({LeaseState.RESERVED, LeaseState.STARTING, LeaseState.ACTIVE, LeaseState.ENDING})
NOT_YET_USABLE = frozenset({LeaseState.RESERVED, LeaseState.STARTING})


class EndReason(models.TextChoices):
    """Why a lease is over."""

    WINDOW_OVER = "window_over", "Its time was over"
    BUYER_ENDED = "buyer_ended", "Ended by the buyer"
    OWNER_RECLAIMED = "owner_reclaimed", "Taken back by the owner"
    NODE_LOST = "node_lost", "The node was lost"
    FUNDS_EXHAUSTED = "funds_exhausted", "The money was used up"
    START_TIMED_OUT = "start_timed_out", "It did not start in time"
    START_FAILED = "start_failed", "It could not be started"
    HOST_FAILED = "host_failed", "The host could not keep it running"
    WORKLOAD_FAILED = "workload_failed", "The buyer's image or command failed"
    CARD_UNHEALTHY = "card_unhealthy", "A card became unhealthy"
    PAYMENT_DISPUTED = "payment_disputed", "The payment for it is disputed"
    NOT_CLEANED = "not_cleaned", "Its card was not given back clean"  # of proving leases alone


BUYERS_FAULT = frozenset({EndReason.WORKLOAD_FAILED, EndReason.BUYER_ENDED, EndReason.PAYMENT_DISPUTED})
BROKEN_BY_HOST = frozenset(
    {
        EndReason.OWNER_RECLAIMED,
        EndReason.NODE_LOST,
        EndReason.START_TIMED_OUT,
        EndReason.START_FAILED,
        EndReason.HOST_FAILED,
        EndReason.CARD_UNHEALTHY,
    }
)
