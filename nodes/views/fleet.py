"""A firm's nodes, cards and enrolment tokens."""

from __future__ import annotations

from datetime import timedelta

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import PageQuery, page, parse, parse_query
from nodes.selectors import cards_by_availability, node_of_firm, nodes_of, tokens_of
from nodes.serializers import (
    NewTokenShape,
    NodeInput,
    NodePage,
    NodeQuery,
    NodeShape,
    SeriesQuery,
    TelemetryShape,
    TokenInput,
    TokenPage,
    UtilisationShape,
    node_json,
    token_json,
)
from nodes.services.enrolment import create_enrolment_token, revoke_enrolment_token
from nodes.services.fleet import change_node, retire_node
from nodes.services.proving import prove_again
from nodes.telemetry import card_series, fleet_series, stretch

TOKEN_LIFE = timedelta(days=1)


class EnrolmentTokenListView(APIView):
    """Tokens that let hosts join; the text of a new one is in the answer, once."""

    @extend_schema(parameters=[PageQuery], responses=TokenPage, operation_id="enrolment_tokens_list")
    def get(self, request: Request) -> Response:
        return page(tokens_of(caller_of(request).firm), parse_query(PageQuery, request), token_json)

    @extend_schema(request=TokenInput, responses={201: NewTokenShape}, operation_id="enrolment_tokens_create")
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, Scope.FLEET)
        now = clock.now()
        wanted = {"expires_at": now + TOKEN_LIFE} | parse(TokenInput, request.data)
        token, text = create_enrolment_token(firm=caller.firm, user=caller.user, actor=caller.actor, now=now, **wanted)
        return Response(token_json(token) | {"token": text}, status=201)


class EnrolmentTokenView(APIView):
    """One token."""

    @extend_schema(responses={204: None}, operation_id="enrolment_tokens_revoke")
    def delete(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.FLEET)
        revoke_enrolment_token(firm=caller.firm, public_id=public_id, actor=caller.actor, now=clock.now())
        return Response(status=204)


class NodeListView(APIView):
    """The firm's nodes."""

    @extend_schema(parameters=[NodeQuery], responses=NodePage, operation_id="nodes_list")
    def get(self, request: Request) -> Response:
        query = parse_query(NodeQuery, request)
        nodes = nodes_of(caller_of(request).firm)
        if state := query.get("state"):
            nodes = nodes.filter(state=state)
        return page(nodes, query, node_json)


class NodeView(APIView):
    """One node."""

    @extend_schema(responses=NodeShape, operation_id="nodes_retrieve")
    def get(self, request: Request, public_id: str) -> Response:
        return Response(node_json(node_of_firm(caller_of(request).firm, public_id)))

    @extend_schema(request=NodeInput, responses=NodeShape, operation_id="nodes_change")
    def patch(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.FLEET)
        node = node_of_firm(caller.firm, public_id)
        change_node(node=node, changes=parse(NodeInput, request.data), actor=caller.actor, now=clock.now())
        return Response(node_json(node_of_firm(caller.firm, public_id)))


class NodeRetireView(APIView):
    """The end of a node."""

    @extend_schema(request=None, responses=NodeShape, operation_id="nodes_retire")
    def post(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.FLEET)
        node = node_of_firm(caller.firm, public_id)
        retire_node(node=node, actor=caller.actor, now=clock.now())
        return Response(node_json(node))


class NodeProveView(APIView):
    """Try at once what failed before: the owner has put it right. Repeating it changes nothing."""

    @extend_schema(request=None, responses=NodeShape, operation_id="nodes_prove")
    def post(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.FLEET)
        node = node_of_firm(caller.firm, public_id)
        prove_again(node=node, actor=caller.actor, now=clock.now())
        return Response(node_json(node_of_firm(caller.firm, public_id)))


class NodeTelemetryView(APIView):
    """What a node's cards were doing, averaged over steps."""

    @extend_schema(parameters=[SeriesQuery], responses=TelemetryShape, operation_id="nodes_telemetry")
    def get(self, request: Request, public_id: str) -> Response:
        node = node_of_firm(caller_of(request).firm, public_id)
        query = parse_query(SeriesQuery, request)
        over = stretch(query, now=clock.now(), length=timedelta(hours=1), step_seconds=60)
        return Response(over.json() | {"cards": card_series(node, node.cards.all(), over)})


class FleetUtilisationView(APIView):
    """How busy the whole fleet is and was, and how much of its time was leased; a day by the hour unless asked."""

    @extend_schema(parameters=[SeriesQuery], responses=UtilisationShape, operation_id="fleet_utilisation")
    def get(self, request: Request) -> Response:
        firm = caller_of(request).firm
        query = parse_query(SeriesQuery, request)
        over = stretch(query, now=clock.now(), length=timedelta(days=1), step_seconds=3600)
        counts = cards_by_availability(firm)
        head = {"cards": sum(counts.values()), "by_availability": counts}
        return Response(head | over.json() | {"points": fleet_series(firm, over)})
