"""Letting hosts join a firm's fleet: tokens that are shown once, and keys that never leave the host."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound, Unauthorised
from marketplace.common.ids import random_text
from marketplace.events.services import record_event
from nodes.agent.protocol import EnrolReply, EnrolRequest
from nodes.command_key import command_public_key
from nodes.models import EnrolmentToken, Node, NodeReportState
from nodes.services.inventory import apply_inventory, checked_inventory
from nodes.states import NodeState

TOKEN_PREFIX = "fal_enrol_"  # noqa: S105 - what a token begins with
BEARER_PREFIX = "fal_node_"
RANDOM_LENGTH = 36
USES_MAX = 10_000
NAME_LENGTH_MAX = 80
KEY_BYTES = 32


@transaction.atomic
def create_enrolment_token(
    *,
    firm: Firm,
    name: str,
    uses: int,
    expires_at: datetime,
    now: datetime,
    addresses: Sequence[str] = (),
    region: str = "",
    country: str = "",
    user: User | None = None,
    actor: str = "system",
) -> tuple[EnrolmentToken, str]:
    """A token and its text, which can't be had again. `addresses` are CIDR networks; none means from anywhere."""
    if not 0 < uses <= USES_MAX:
        raise Invalid(f"a token is good for 1 to {USES_MAX} hosts", code="bad_uses")
    if expires_at <= now:
        raise Invalid("the token would have expired already", code="bad_expiry")
    text = TOKEN_PREFIX + random_text(RANDOM_LENGTH)
    token = EnrolmentToken.objects.create(
        firm=firm,
        name=name,
        token_hash=_hash(text),
        uses_left=uses,
        expires_at=expires_at,
        addresses=[_network(each, f"/addresses/{number}") for number, each in enumerate(addresses)],
        region=region,
        country=country.upper(),
        created_by=user,
        created_at=now,
    )
    record_event(firm_id=firm.pk, type="enrolment_token.created", subject=token.public_id, actor=actor, now=now)
    return token, text


@transaction.atomic
def revoke_enrolment_token(*, firm: Firm, public_id: str, actor: str, now: datetime) -> None:
    """No further host can join with it; those that did stay."""
    if not EnrolmentToken.objects.filter(firm=firm, public_id=public_id, revoked_at=None).update(revoked_at=now):
        raise NotFound
    record_event(firm_id=firm.pk, type="enrolment_token.revoked", subject=public_id, actor=actor, now=now)


@transaction.atomic
def enrol(*, request: EnrolRequest, address: str, now: datetime) -> EnrolReply:
    """A node for the host that holds the key, and its bearer; a host that asks again is the same node, at no use.

    Raises Unauthorised for a wrong token, proof or address, Conflict for a host that was retired or is another
    firm's, Invalid for an inventory of a wrong shape.
    """
    public_key = _proven_key(request)
    inventory = checked_inventory(request.inventory)
    token = _usable_token(request.token, address, now)
    bearer = BEARER_PREFIX + random_text(RANDOM_LENGTH)
    node = Node.objects.select_for_update().filter(public_key=public_key).first()
    if node is None:
        node = _new_node(token, public_key, bearer, inventory.hostname, now)
    else:
        _readmit(node, token, bearer)
    apply_inventory(node=node, inventory=inventory, now=now)
    return EnrolReply(
        node=node.public_id,
        bearer=bearer,
        command_public_key=command_public_key(),
        reports_url=settings.REPORTS_URL,
        server_url=settings.PUBLIC_URL,
    )


def _proven_key(request: EnrolRequest) -> bytes:
    try:
        public_key = base64.b64decode(request.public_key, validate=True)
        proof = base64.b64decode(request.proof, validate=True)
        if len(public_key) != KEY_BYTES:
            raise ValueError("an Ed25519 key has 32 bytes")
        VerifyKey(public_key).verify(request.token.encode(), proof)
    except (binascii.Error, ValueError, BadSignatureError) as error:
        raise Unauthorised("the proof does not belong to this token and key", code="bad_proof") from error
    return public_key


def _usable_token(text: str, address: str, now: datetime) -> EnrolmentToken:
    """The same answer whatever is wrong, so that a stranger learns nothing; only the address is named."""
    token = EnrolmentToken.objects.select_for_update().filter(token_hash=_hash(text), revoked_at=None).first()
    if token is None or token.expires_at <= now:
        raise Unauthorised("this enrolment token is unknown, expired or revoked", code="bad_token")
    if token.addresses and not any(_contains(network, address) for network in token.addresses):
        raise Unauthorised(f"this enrolment token is not for {address}", code="wrong_address")
    return token


def _new_node(token: EnrolmentToken, public_key: bytes, bearer: str, hostname: str, now: datetime) -> Node:
    if token.uses_left < 1:
        raise Unauthorised("this enrolment token has no uses left", code="token_used_up")
    token.uses_left -= 1
    token.save(update_fields=["uses_left"])
    country = token.country or token.firm.headquarters_country
    node = Node.objects.create(
        firm=token.firm,
        name=_free_name(token.firm, hostname),
        public_key=public_key,
        bearer_hash=_hash(bearer),
        region=token.region or country.lower(),
        country=country,
        enrolled_at=now,
    )
    data = {"token": token.public_id, "name": node.name}
    record_event(firm_id=node.firm_id, type="node.enrolled", subject=node.public_id, data=data, now=now)
    return node


def _readmit(node: Node, token: EnrolmentToken, bearer: str) -> None:
    if node.firm_id != token.firm_id:
        raise Conflict("this host's key is enrolled with another firm", code="enrolled_elsewhere")
    if node.state == NodeState.RETIRED:
        raise Conflict("this node was retired; make a new key on the host", code="node_retired")
    node.bearer_hash = _hash(bearer)
    node.save(update_fields=["bearer_hash"])
    # Whoever had the old bearer may have reported a run far ahead; the rightful host starts afresh.
    NodeReportState.objects.filter(node=node).delete()


def _free_name(firm: Firm, hostname: str) -> str:
    base = hostname[:NAME_LENGTH_MAX] or "host"
    taken = set(Node.objects.filter(firm=firm, name__startswith=base[:60]).values_list("name", flat=True))
    name, number = base, 1
    while name in taken:
        number += 1
        ending = f"-{number}"
        name = base[: NAME_LENGTH_MAX - len(ending)] + ending
    return name


def _network(text: str, pointer: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        wrong = FieldError(pointer, "invalid", "give a network such as 192.0.2.0/24")
        raise Invalid("an address range is malformed", code="bad_addresses", errors=(wrong,)) from error


def _contains(network: str, address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in ipaddress.ip_network(network)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
