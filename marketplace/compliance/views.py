"""Export rules over HTTP: a firm reads the decisions about it, operators read and decide everything else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import (
    ApiKeyAuthentication,
    Caller,
    caller_of,
    person_of,
    session_caller,
)
from marketplace.accounts.models import Firm, User
from marketplace.catalogue.selectors import model_by_slug
from marketplace.common import clock
from marketplace.common.api import PageQuery, page, parse, parse_query
from marketplace.common.errors import NotAllowed, NotFound, Unauthorised
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.compliance.explaining import record_of
from marketplace.compliance.selectors import (
    any_decision,
    any_firm,
    clearance_by_id,
    clearances,
    current_list,
    decision_of,
    decisions_for_operators,
    decisions_of,
    document_by_id,
    reviews_of,
    table_of_version,
)
from marketplace.compliance.serializers import (
    ClearancePage,
    ComplianceDecisionShape,
    DecisionPage,
    DecisionQuery,
    DecisionRecordShape,
    ExportRulesShape,
    HeldPage,
    HoldRulingInput,
    NameReviewInput,
    PaperInput,
    PaperOnFileShape,
    RecordQuery,
    ReviewList,
    SkuClearanceInput,
    SkuClearanceShape,
    clearance_json,
    decision_json,
    document_json,
    held_json,
    record_json,
    review_json,
    state_json,
)
from marketplace.compliance.services.ruling import SkuFinding, clear_sku, record_document, rule_on_hold
from marketplace.compliance.services.screening import review_match
from marketplace.compliance.tablefile import table_in_force
from marketplace.events.services import once


class DecisionsView(APIView):
    """What was decided about the firm as a buyer or lessee, newest first."""

    @extend_schema(parameters=[DecisionQuery], responses=DecisionPage, operation_id="compliance_decisions_list")
    def get(self, request: Request) -> Response:
        query = parse_query(DecisionQuery, request)
        wanted = {name: query[name] for name in ("outcome", "subject") if query.get(name)}
        return page(decisions_of(caller_of(request).firm).filter(**wanted), query, decision_json)


class DecisionView(APIView):
    """One decision about the firm."""

    @extend_schema(responses=ComplianceDecisionShape, operation_id="compliance_decisions_retrieve")
    def get(self, request: Request, decision_id: str) -> Response:
        return Response(decision_json(decision_of(caller_of(request).firm, decision_id)))


class OperatorView(APIView):
    """For operators, signed in on the pages; what a firm may not see does not exist for it."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]


class StateView(OperatorView):
    """The rule table and the screening list in force, and how old they are."""

    @extend_schema(responses=ExportRulesShape, operation_id="export_rules_retrieve")
    def get(self, request: Request) -> Response:
        _operator(request)
        table = table_in_force()
        used = table_of_version(table.ruleset.version)
        return Response(state_json(table, used, current_list(), clock.now()))


class RecordsView(OperatorView):
    """Decisions about everybody, newest first; `waiting=true` are the cases that are held."""

    @extend_schema(parameters=[RecordQuery], responses=HeldPage, operation_id="export_rules_decisions_list")
    def get(self, request: Request) -> Response:
        _operator(request)
        query = parse_query(RecordQuery, request)
        wanted = {name: query.get(name, "") for name in ("firm", "subject", "outcome")}
        return page(decisions_for_operators(is_waiting=query["waiting"], **wanted), query, held_json)


class RecordView(OperatorView):
    """One decision with every row, paper and ruling, and whether it can be made again."""

    @extend_schema(responses=DecisionRecordShape, operation_id="export_rules_decisions_retrieve")
    def get(self, request: Request, decision_id: str) -> Response:
        _operator(request, lambda firm: decision_of(firm, decision_id))
        return Response(record_json(record_of(any_decision(decision_id))))


class RuleView(OperatorView):
    """Let a case that waits pass, or refuse it."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=HoldRulingInput,
        responses=DecisionRecordShape,
        operation_id="export_rules_decisions_rule",
    )
    def post(self, request: Request, decision_id: str) -> Response:
        operator = _operator(request, lambda firm: decision_of(firm, decision_id))
        decision = any_decision(decision_id)
        said = parse(HoldRulingInput, request.data)
        _once(operator, request, lambda now: rule_on_hold(decision=decision, operator=operator, now=now, **said))
        return Response(record_json(record_of(decision)))


class DocumentsView(OperatorView):
    """A paper that the operator has seen; it counts for everything about the same subject."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=PaperInput,
        responses={201: PaperOnFileShape},
        operation_id="export_rules_documents_create",
    )
    def post(self, request: Request, decision_id: str) -> Response:
        operator = _operator(request, lambda firm: decision_of(firm, decision_id))
        decision = any_decision(decision_id)
        said = parse(PaperInput, request.data)
        made = _once(
            operator, request, lambda now: record_document(decision=decision, operator=operator, now=now, **said)
        )
        return Response(document_json(document_by_id(made)), status=201)


class NamesView(OperatorView):
    """What a person found when comparing the firm's name, or its parent's, with an entry of the list."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=NameReviewInput,
        responses={201: ReviewList},
        operation_id="export_rules_names_create",
    )
    def post(self, request: Request, firm_id: str) -> Response:
        operator = _operator(request, lambda firm: _itself(firm, firm_id))
        firm = any_firm(firm_id)
        said = parse(NameReviewInput, request.data)
        _once(operator, request, lambda now: review_match(firm=firm, operator=operator, now=now, **said)[0])
        found = reviews_of(firm).filter(entry=said["entry"]).order_by("-pk")
        data = [review_json(each) for each in found]
        return Response({"data": data, "next_cursor": None, "has_more": False}, status=201)


class ClearancesView(OperatorView):
    """The classes that people found for SKUs, for some days."""

    @extend_schema(parameters=[PageQuery], responses=ClearancePage, operation_id="export_rules_clearances_list")
    def get(self, request: Request) -> Response:
        _operator(request)
        return page(clearances(), parse_query(PageQuery, request), partial(clearance_json, now=clock.now()))

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=SkuClearanceInput,
        responses={201: SkuClearanceShape},
        operation_id="export_rules_clearances_create",
    )
    def post(self, request: Request) -> Response:
        operator = _operator(request)
        said = parse(SkuClearanceInput, request.data)
        finding = SkuFinding(gpu_model=model_by_slug(said.pop("gpu")), **said)
        made = _once(operator, request, lambda now: clear_sku(finding=finding, operator=operator, now=now))
        return Response(clearance_json(clearance_by_id(made), clock.now()), status=201)


def _operator(request: Request, find: Callable[[Firm], Any] | None = None) -> User:
    """The operator. For others: NotFound where `find` says that their firm may not see it, else NotAllowed."""
    if isinstance(request.user, User) and request.user.is_operator:
        return person_of(request)
    caller = request.auth if isinstance(request.auth, Caller) else session_caller(request._request)
    if caller is None:
        raise Unauthorised("sign in as an operator")
    if find is not None:
        find(caller.firm)
    raise NotAllowed("only an operator does this", code="operators_only")


def _itself(firm: Firm, public_id: str) -> None:
    if firm.public_id != public_id:
        raise NotFound


def _once(operator: User, request: Request, make: Callable[[datetime], Any]) -> str:
    """Once per key; an operator's keys are kept apart from every firm's. Returns the public id of what was made."""
    now = clock.now()
    made, _ = once(
        firm_id=-operator.pk,
        key=request.headers.get("Idempotency-Key"),
        body={"path": request.path, "body": request.data},
        now=now,
        make=lambda: str(make(now).public_id),
    )
    return made
