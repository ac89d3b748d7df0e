"""What agents ask of the web process; reports go to the ingest."""

from __future__ import annotations

import json
from typing import TypeVar

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.common import clock
from marketplace.common.addresses import client_address
from marketplace.common.errors import Invalid
from marketplace.common.rate import EnrolBucket
from nodes.agent import protocol
from nodes.agent.protocol import EnrolRequest, Inventory, LogTail, ProtocolError
from nodes.authentication import IsNode, NodeSignature, limited_body, node_of
from nodes.services.acks import read_acks
from nodes.services.assignments import record_acks
from nodes.services.enrolment import enrol
from nodes.services.inventory import record_inventory
from nodes.services.logs import record_log

Message = TypeVar("Message")


class EnrolView(APIView):
    """A host joins with a token."""

    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = [EnrolBucket]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        wanted = decoded(EnrolRequest, limited_body(request))
        reply = enrol(request=wanted, address=client_address(request), now=clock.now())
        return Response(json.loads(protocol.encode(reply)), status=201)


class InventoryView(APIView):
    """A node says what cards it has."""

    authentication_classes = [NodeSignature]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        inventory = decoded(Inventory, limited_body(request))
        record_inventory(node_public_id=node_of(request).public_id, inventory=inventory, now=clock.now())
        return Response(status=204)


class AcksView(APIView):
    """A node says what became of its assignments; it repeats itself until this is answered."""

    authentication_classes = [NodeSignature]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        node = node_of(request)
        acks = read_acks(limited_body(request), sender=node.public_id)
        record_acks(node=node, acks=acks, now=clock.now())
        return Response(status=204)


class LogView(APIView):
    """What a workload wrote last; a later one takes its place."""

    authentication_classes = [NodeSignature]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        record_log(node=node_of(request), tail=decoded(LogTail, limited_body(request)), now=clock.now())
        return Response(status=204)


def decoded(kind: type[Message], body: bytes) -> Message:
    """A message of the protocol, or Invalid."""
    try:
        return protocol.decode(kind, body)
    except (ProtocolError, RecursionError) as error:
        raise Invalid(f"not what the protocol says: {error}", code="bad_message") from error
