"""Passports over HTTP: for agents, for a card's owner, and for anybody who wants to check one."""

from __future__ import annotations

import json

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of
from marketplace.common import clock
from marketplace.common.api import parse
from nodes.agent import protocol
from nodes.agent.passport import ChallengeRequest, PassportPost, PassportReply
from nodes.authentication import IsNode, NodeSignature, limited_body, node_of
from nodes.models import Passport
from nodes.passport_key import passport_key, passport_public_key
from nodes.passports.verify import check_file, is_genuine
from nodes.selectors import card_of_firm, latest_passport, passport_named, passport_of
from nodes.serializers import (
    CardPassportShape,
    PassportFileInput,
    PassportKeyShape,
    PassportShape,
    VerificationShape,
    card_passport_json,
    passport_json,
)
from nodes.services.passports import issue_challenge, take_answer
from nodes.views.agent import decoded


class PassportChallengeView(APIView):
    """A node asks what a passport must answer."""

    authentication_classes = [NodeSignature]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        wanted = decoded(ChallengeRequest, limited_body(request))
        challenge = issue_challenge(node=node_of(request), request=wanted, now=clock.now())
        return Response(json.loads(protocol.encode(challenge)), status=201)


class PassportPostView(APIView):
    """A node hands a passport in."""

    authentication_classes = [NodeSignature]
    permission_classes = [IsNode]

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        post = decoded(PassportPost, limited_body(request))
        answer = take_answer(node=node_of(request), post=post, now=clock.now())
        passport = answer if isinstance(answer, Passport) else None
        reply = PassportReply(
            id=passport.public_id if passport else "evidence for an operator, no passport",
            tier=answer.tier,
            function_grade=answer.function_grade,
            findings=[f"{each['code']} ({each['severity']})" for each in answer.findings],
            sha256=passport.sha256 if passport else "",
            expires_at=passport.expires_at.isoformat() if passport else "",
            url=f"{settings.PUBLIC_URL}/passports/{passport.public_id}/" if passport else "",
        )
        return Response(json.loads(protocol.encode(reply)), status=201)


class CardPassportView(APIView):
    """The newest passport of a card of the firm's, whole: `file` is what anyone can check offline."""

    @extend_schema(responses=CardPassportShape, operation_id="cards_passport")
    def get(self, request: Request, card_id: str) -> Response:
        card = card_of_firm(caller_of(request).firm, card_id)
        return Response(card_passport_json(card, latest_passport(card, now=clock.now()), now=clock.now()))


class PassportView(APIView):
    """The public part of a passport: no UUID and no serial, but what the market signed."""

    permission_classes = [AllowAny]

    @extend_schema(responses=PassportShape, operation_id="passports_retrieve")
    def get(self, request: Request, public_id: str) -> Response:
        return Response(passport_json(passport_of(public_id), now=clock.now()))


class PassportKeyView(APIView):
    """The key that passports are checked with. Ask for it once and keep it: a key from the same page proves nothing."""

    permission_classes = [AllowAny]

    @extend_schema(responses=PassportKeyShape, operation_id="passports_key")
    def get(self, request: Request) -> Response:
        return Response({"algorithm": "Ed25519", "public_key": passport_public_key()})


class PassportVerifyView(APIView):
    """Is this file genuine? `known` says whether the market's own log has it; nothing that is sent is kept."""

    permission_classes = [AllowAny]

    @extend_schema(request=PassportFileInput, responses=VerificationShape, operation_id="passports_verify")
    def post(self, request: Request) -> Response:
        file = parse(PassportFileInput, request.data)
        now = clock.now()
        checks = check_file(file, bytes(passport_key().verify_key), now=now)
        passport = passport_named(file)
        genuine = is_genuine(checks) and passport is not None
        return Response(
            {
                "genuine": genuine,
                "known": passport is not None,
                "checks": [each.json() for each in checks],
                "passport": passport_json(passport, now=now) if genuine and passport else None,
            }
        )
