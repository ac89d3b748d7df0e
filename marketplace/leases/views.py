"""Leases over HTTP."""

from __future__ import annotations

from datetime import timedelta

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of, require
from marketplace.accounts.models import Firm
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import paged, parse_query, take_page
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.events.services import once
from marketplace.leases.selectors import access_of, accesses_of, buyers_log, lease_of, leases_of
from marketplace.leases.serializers import (
    LeaseQuery,
    LeaseShape,
    LogShape,
    UsageShape,
    lease_json,
    log_json,
    usage_json,
)
from marketplace.leases.services.ending import end_by_buyer
from marketplace.leases.telemetry import lease_series
from nodes.serializers import SeriesQuery, TelemetryShape


class LeasesView(APIView):
    """Leases that the firm bought or sold."""

    @extend_schema(parameters=[LeaseQuery], responses=LeaseShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(LeaseQuery, request)
        firm = caller_of(request).firm
        leases = leases_of(firm)
        if state := query.get("state"):
            leases = leases.filter(state=state)
        if side := query.get("side"):
            leases = leases.filter(**{side: firm})
        taken = take_page(leases, query)
        accesses = accesses_of(taken.rows)
        return paged(taken, lambda lease: lease_json(lease, firm, accesses.get(lease.public_id)))


class LeaseView(APIView):
    """One lease."""

    @extend_schema(responses=LeaseShape)
    def get(self, request: Request, lease_id: str) -> Response:
        firm = caller_of(request).firm
        return _answer(firm, lease_id)


class EndLeaseView(APIView):
    """End a lease early. Repeating it changes nothing."""

    @extend_schema(parameters=[IDEMPOTENCY_KEY], request=None, responses=LeaseShape)
    def post(self, request: Request, lease_id: str) -> Response:
        caller = caller_of(request)
        lease_of(caller.firm, lease_id)
        require(caller, Scope.TRADE)
        now = clock.now()
        once(
            firm_id=caller.firm.pk,
            key=request.headers.get("Idempotency-Key"),
            body={"end": lease_id},
            now=now,
            make=lambda: end_by_buyer(firm=caller.firm, public_id=lease_id, actor=caller.actor, now=now).public_id,
        )
        return _answer(caller.firm, lease_id)


class LeaseUsageView(APIView):
    """The numbers behind a lease's charge."""

    @extend_schema(responses=UsageShape)
    def get(self, request: Request, lease_id: str) -> Response:
        return Response(usage_json(lease_of(caller_of(request).firm, lease_id)))


class LeaseLogsView(APIView):
    """The last of what the buyer's workload wrote; no other party sees it."""

    @extend_schema(responses=LogShape)
    def get(self, request: Request, lease_id: str) -> Response:
        firm = caller_of(request).firm
        return Response(log_json(buyers_log(lease_of(firm, lease_id), firm)))


class LeaseTelemetryView(APIView):
    """What a lease's cards were doing, averaged over steps; the last hour by the minute unless asked."""

    @extend_schema(parameters=[SeriesQuery], responses=TelemetryShape, operation_id="leases_telemetry")
    def get(self, request: Request, lease_id: str) -> Response:
        lease = lease_of(caller_of(request).firm, lease_id)
        query = parse_query(SeriesQuery, request)
        return Response(lease_series(lease, query, now=clock.now(), length=timedelta(hours=1), step_seconds=60))


def _answer(firm: Firm, lease_id: str) -> Response:
    lease = lease_of(firm, lease_id)
    return Response(lease_json(lease, firm, access_of(lease)))
