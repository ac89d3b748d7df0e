"""The firm, its members, whom it invites, and its keys."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts import services
from marketplace.accounts.authentication import ApiKeyAuthentication, Caller, caller_of, person_of, require
from marketplace.accounts.joining import (
    Invited,
    accept_invitation,
    decline_invitation,
    set_member,
    withdraw_invitation,
)
from marketplace.accounts.models import ApiKey
from marketplace.accounts.roles import ROLE_SCOPES, Scope
from marketplace.accounts.selectors import invitation_of, invitations_for, invitations_of, living_keys_of, members_of
from marketplace.accounts.serializers import (
    AcceptanceShape,
    ApiKeyPage,
    ApiKeyRequestShape,
    FirmShape,
    InvitationPage,
    MemberPage,
    MemberRequestShape,
    MemberShape,
    NewApiKeyShape,
    NewInvitationShape,
    api_key_json,
    firm_json,
    invitation_json,
    member_json,
)
from marketplace.common import clock
from marketplace.common.api import PageQuery, page, parse, parse_query
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.events.services import once


class FirmView(APIView):
    """The caller's own firm."""

    @extend_schema(responses=FirmShape, operation_id="firm_retrieve")
    def get(self, request: Request) -> Response:
        return Response(firm_json(caller_of(request).firm))


class MemberListView(APIView):
    """Who works for the firm; an owner adds people and changes roles."""

    @extend_schema(parameters=[PageQuery], responses=MemberPage, operation_id="members_list")
    def get(self, request: Request) -> Response:
        return page(
            members_of(caller_of(request).firm), parse_query(PageQuery, request), member_json, newest_first=False
        )

    @extend_schema(
        request=MemberRequestShape,
        responses={200: MemberShape, 202: NewInvitationShape},
        operation_id="members_set",
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, Scope.ADMIN)
        body = parse(MemberRequestShape, request.data)
        _require_all(caller, ROLE_SCOPES[body["role"]])
        found = set_member(
            firm=caller.firm,
            email=body["email"],
            role=body["role"],
            password=body.get("password"),
            actor=caller.actor,
            now=clock.now(),
        )
        if isinstance(found, Invited):
            return Response(invitation_json(found.invitation) | {"code": found.code}, status=202)
        return Response(member_json(found))


class MemberView(APIView):
    """One person of the firm."""

    @extend_schema(responses={204: None}, operation_id="members_remove")
    def delete(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.ADMIN)
        services.remove_member(firm=caller.firm, user_public_id=public_id, actor=caller.actor, now=clock.now())
        return Response(status=204)


class FirmInvitationListView(APIView):
    """Whom the firm has invited and who has not answered yet."""

    @extend_schema(parameters=[PageQuery], responses=InvitationPage, operation_id="member_invitations_list")
    def get(self, request: Request) -> Response:
        return page(invitations_of(caller_of(request).firm), parse_query(PageQuery, request), invitation_json)


class FirmInvitationView(APIView):
    """One invitation of the firm."""

    @extend_schema(responses={204: None}, operation_id="member_invitations_withdraw")
    def delete(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.ADMIN)
        withdraw_invitation(firm=caller.firm, public_id=public_id, actor=caller.actor, now=clock.now())
        return Response(status=204)


class PersonView(APIView):
    """What concerns a signed-in person, also one who has no firm yet."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]


class InvitationListView(PersonView):
    """Which firms have invited the person."""

    @extend_schema(parameters=[PageQuery], responses=InvitationPage, operation_id="invitations_list")
    def get(self, request: Request) -> Response:
        return page(invitations_for(person_of(request)), parse_query(PageQuery, request), invitation_json)


class InvitationAcceptView(PersonView):
    """Join the firm, with the code that it has given to the person."""

    @extend_schema(request=AcceptanceShape, responses=MemberShape, operation_id="invitations_accept")
    def post(self, request: Request, public_id: str) -> Response:
        person = person_of(request)
        invitation_of(person, public_id)
        code = parse(AcceptanceShape, request.data)["code"]
        membership = accept_invitation(user=person, public_id=public_id, code=code, now=clock.now())
        return Response(member_json(membership))


class InvitationDeclineView(PersonView):
    """Do not join the firm."""

    @extend_schema(request=None, responses={204: None}, operation_id="invitations_decline")
    def post(self, request: Request, public_id: str) -> Response:
        decline_invitation(user=person_of(request), public_id=public_id, now=clock.now())
        return Response(status=204)


class ApiKeyListView(APIView):
    """The firm's keys; the text of a new one is in the answer, once."""

    @extend_schema(parameters=[PageQuery], responses=ApiKeyPage, operation_id="api_keys_list")
    def get(self, request: Request) -> Response:
        return page(living_keys_of(caller_of(request).firm), parse_query(PageQuery, request), api_key_json)

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=ApiKeyRequestShape,
        responses={201: NewApiKeyShape, 200: NewApiKeyShape},
        operation_id="api_keys_create",
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, Scope.ADMIN)
        body = parse(ApiKeyRequestShape, request.data)
        _require_all(caller, body["scopes"])
        now = clock.now()
        made: list[str] = []

        def make() -> str:
            key, text = services.create_api_key(firm=caller.firm, user=caller.user, actor=caller.actor, now=now, **body)
            made.append(text)
            return str(key.public_id)

        public_id, is_new = once(
            firm_id=caller.firm.pk,
            key=request.headers.get("Idempotency-Key"),
            body={"api_key": body},
            now=now,
            make=make,
        )
        key = ApiKey.objects.get(firm=caller.firm, public_id=public_id)
        return Response(api_key_json(key) | {"key": made[0] if is_new else None}, status=201 if is_new else 200)


class ApiKeyView(APIView):
    """One key of the firm."""

    @extend_schema(responses={204: None}, operation_id="api_keys_revoke")
    def delete(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        require(caller, Scope.ADMIN)
        services.revoke_api_key(firm=caller.firm, public_id=public_id, actor=caller.actor, now=clock.now())
        return Response(status=204)


def _require_all(caller: Caller, scopes: frozenset[str] | list[str]) -> None:
    """Nobody gives away more than they have."""
    for scope in sorted(scopes):
        require(caller, scope)
