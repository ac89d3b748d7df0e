"""Who sends a signed request: the node whose key made the signature."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from django.contrib.auth.models import AnonymousUser
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from marketplace.common import clock
from marketplace.common.errors import TooLarge, Unauthorised
from nodes.agent.protocol import BODY_BYTES_MAX, NODE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signing_input
from nodes.models import Node
from nodes.states import NodeState

SKEW_MS_MAX = 10 * 60 * 1000
TIMESTAMP_DIGITS_MAX = 15
LENGTH_DIGITS_MAX = 15


class NodeSignature(BaseAuthentication):
    """`X-Fallow-Node`, `-Timestamp` and `-Signature` over method, path and body; `request.auth` is the Node."""

    def authenticate(self, request: Request) -> tuple[Any, Node]:
        body = limited_body(request)
        ts_ms = _timestamp(request.headers.get(TIMESTAMP_HEADER, ""))
        name = request.headers.get(NODE_HEADER, "")
        node = Node.objects.filter(public_id=name).exclude(state=NodeState.RETIRED).first()
        signed = signing_input(method=request.method or "", path=request.path, node=name, ts_ms=ts_ms, body=body)
        if node is None or not _is_signed(bytes(node.public_key), signed, request.headers.get(SIGNATURE_HEADER, "")):
            raise Unauthorised("no node of ours signed this", code="bad_signature")
        return AnonymousUser(), node

    def authenticate_header(self, request: Request) -> str:
        return "Signature"


class IsNode(BasePermission):
    """Only nodes."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, Node)


def node_of(request: Request) -> Node:
    """The node that signed the request."""
    assert isinstance(request.auth, Node)
    return request.auth


def limited_body(request: Request) -> bytes:
    """The raw body, or TooLarge before anything of it is read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or len(length) > LENGTH_DIGITS_MAX or int(length) > BODY_BYTES_MAX:
        raise TooLarge(f"at most {BODY_BYTES_MAX} bytes")
    return bytes(request._request.body)


def _timestamp(text: str) -> int:
    now_ms = int(clock.now().timestamp() * 1000)
    is_number = text.isascii() and text.isdigit() and len(text) <= TIMESTAMP_DIGITS_MAX
    if not is_number or abs(int(text) - now_ms) > SKEW_MS_MAX:
        raise Unauthorised(
            f"the host's clock and the server's ({now_ms} ms) differ by more than ten minutes", code="clock_skew"
        )
    return int(text)


def _is_signed(public_key: bytes, message: bytes, signature: str) -> bool:
    try:
        VerifyKey(public_key).verify(message, base64.b64decode(signature, validate=True))
    except (BadSignatureError, binascii.Error, ValueError):
        return False
    return True
