"""Passports: a challenge before a card is measured, and the record, checked and countersigned, after it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from marketplace.common.errors import Conflict, Invalid, Unprocessable
from marketplace.events.services import record_event
from nodes.agent.passport import (
    BODY_PREFIX,
    CHALLENGE_PREFIX,
    RECORD_PREFIX,
    RECORD_SCHEMA,
    SCHEMA,
    CanonicalError,
    Challenge,
    ChallengeRequest,
    PassportPost,
    SignedChallenge,
    canonical,
    parse_canonical,
)
from nodes.agent.protocol import ProtocolError, decode, encode
from nodes.models import Card, ConflictEvidence, IdentityConflict, Node, Passport
from nodes.passport_key import is_ours, is_signed_by, market_signature, short_code
from nodes.passports.findings import (
    DECLARED,
    MEASURED,
    REQUIRED_TESTS,
    Code,
    Finding,
    Severity,
    findings,
    function_grade,
    tier,
)
from nodes.passports.reading import number, part, test_of, text
from nodes.selectors import catalogue_row
from nodes.services.measuring import (
    card_named,
    check_free,
    check_pace_of_evidence,
    check_pace_of_passports,
    check_place,
    check_request,
    check_subject,
)
from nodes.services.passport_history import instant, lease_history

BODY_LENGTH_MAX = 64 * 1024
INVENTORY = ("uuid", "name", "vbios", "compute_capability", "pci_device_id", "pci_subsystem_id", "memory_total_mib",
             "ecc_enabled")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the market makes of a body."""

    tier: str
    function_grade: str
    findings_json: list[dict[str, Any]]

    @classmethod
    def of(cls, passport: Passport) -> Verdict:
        """What was made of a passport that is recorded."""
        return cls(passport.tier, passport.function_grade, passport.findings)


@transaction.atomic
def issue_challenge(*, node: Node, request: ChallengeRequest, now: datetime) -> SignedChallenge:
    """What the node must answer; nothing is stored, because the market knows its own signature again.

    Raises NotFound for a card that is not this node's, NotAllowed `not_a_lab` or `nothing_sent`, Conflict
    `card_leased`, `another_card` or `node_quarantined`, TooMany for a card that was measured too often.
    """
    check_request(node, request)
    card = card_named(request.uuid)
    if card is None or _conflict(card, node) is None:
        card = check_place(card, node)
        check_subject(card, node, request.subject)
        check_free(card, now, now)
        check_pace_of_passports(card, now)
    last = Passport.objects.filter(card=card).order_by("-seq").first()
    challenge = Challenge(
        node=node.public_id,
        uuid=card.uuid,
        role=request.role,
        subject=request.subject,
        nonce=secrets.token_hex(32),
        seq=last.seq + 1 if last else 1,
        prev_sha256=last.sha256 if last else "",
        issued_at=now.isoformat(),
        expires_at=(now + timedelta(seconds=settings.PASSPORT_CHALLENGE_SECONDS)).isoformat(),
    )
    payload = encode(challenge).decode()
    return SignedChallenge(payload, market_signature(CHALLENGE_PREFIX, payload))


@transaction.atomic
def take_answer(*, node: Node, post: PassportPost, now: datetime) -> Passport | ConflictEvidence:
    """A passport of the node that holds the card; of a newcomer with its UUID nothing but evidence for the operator."""
    challenge = _our_challenge(node, post.challenge)
    card = (
        Card.objects.select_for_update(of=("self",), no_key=True)
        .select_related("gpu_model")
        .filter(uuid=challenge.uuid)
        .first()
    )
    conflict = _conflict(card, node) if card else None
    if card is None or card.node_id == node.pk or conflict is None:
        passport = record_passport(node=node, post=post, now=now)
        for each in IdentityConflict.objects.filter(card=passport.card, resolved_at=None):
            _add_evidence(each, node, challenge, post, Verdict.of(passport), now)
        return passport
    body = _signed_body(node, post, challenge)
    if ConflictEvidence.objects.filter(conflict=conflict, nonce=challenge.nonce).exists():
        raise Conflict("this challenge was answered before", code="passport_replayed")
    _check_time(challenge, now)
    _check_pace(body, challenge, now)
    check_pace_of_evidence(conflict, node)
    return _add_evidence(conflict, node, challenge, post, judge(card, body), now)


@transaction.atomic
def record_passport(*, node: Node, post: PassportPost, now: datetime) -> Passport:
    """Write a passport into its card's chain, countersigned.

    Raises Unprocessable `passport_forged` or `passport_too_fast`, Conflict `passport_replayed`, `passport_expired`,
    `passport_out_of_order`, `card_leased` or `node_quarantined`, Invalid `bad_passport`, NotFound for a card that is
    no longer this node's.
    """
    challenge = _our_challenge(node, post.challenge)
    body = _signed_body(node, post, challenge)
    card = (
        Card.objects.select_for_update(of=("self",), no_key=True)
        .select_related("gpu_model")
        .filter(uuid=challenge.uuid)
        .first()
    )
    card = check_place(card, node)
    last = Passport.objects.filter(card=card).order_by("-seq").first()
    _check_turn(challenge, last, now)
    check_free(card, datetime.fromisoformat(challenge.issued_at), now)
    _check_pace(body, challenge, now)
    verdict = judge(card, body)
    passport = _written(node, card, challenge, post, verdict, lease_history(card, last, now=now), now)
    _set_tier(card, verdict)
    record_event(
        firm_id=passport.firm_id,
        type="passport.recorded",
        subject=passport.public_id,
        data={"card": card.public_id, "tier": passport.tier, "function_grade": passport.function_grade},
        now=now,
    )
    return passport


def judge(card: Card, body: dict[str, Any]) -> Verdict:
    """Findings and grade of a body, against the catalogue's row and what the node's inventory says of the card."""
    known = {name: card.identity[name] for name in INVENTORY if card.identity.get(name) is not None}
    found = findings(catalogue_row(card.gpu_model), body | {"views": {**part(body, "views"), "inventory": known}})
    if settings.SIMULATED_CARDS_COUNT:
        found = tuple(Finding(each.code, Severity.NOTE) if each.code is Code.SIMULATED else each for each in found)
    return Verdict(tier(body), function_grade(found, body), [each.json() for each in found])


def _our_challenge(node: Node, signed: SignedChallenge) -> Challenge:
    if not is_ours(CHALLENGE_PREFIX, signed.payload, signed.signature):
        raise Unprocessable("the market never gave this challenge", code="passport_forged")
    try:
        challenge = decode(Challenge, signed.payload)
    except ProtocolError as error:
        raise Unprocessable("the market never gave this challenge", code="passport_forged") from error
    if challenge.node != node.public_id:
        raise Unprocessable("this challenge was given to another node", code="passport_forged")
    return challenge


def _signed_body(node: Node, post: PassportPost, challenge: Challenge) -> dict[str, Any]:
    if len(post.body) > BODY_LENGTH_MAX or "\\u0000" in post.body:
        raise Invalid(f"a passport has at most {BODY_LENGTH_MAX} characters, and no NUL", code="bad_passport")
    if not is_signed_by(bytes(node.public_key), BODY_PREFIX, post.body, post.signature):
        raise Unprocessable("the node's key did not sign this passport", code="passport_forged")
    try:
        body = parse_canonical(post.body)
    except CanonicalError as error:
        raise Invalid(str(error)[:200], code="bad_passport") from error
    said = {name: body.get(name) for name in ("schema", "nonce", "role", "subject", "seq", "prev_sha256")}
    asked = {"schema": SCHEMA} | {name: getattr(challenge, name) for name in said if name != "schema"}
    key = base64.b64encode(bytes(node.public_key)).decode()
    if said != asked or text(body, "views", "nvml", "uuid") != challenge.uuid:
        raise Unprocessable("this passport does not answer this challenge", code="passport_forged")
    if text(body, "agent", "public_key") != key or text(body, "agent", "node") != node.public_id:
        raise Unprocessable("this passport names another node", code="passport_forged")
    return body


def _check_turn(challenge: Challenge, last: Passport | None, now: datetime) -> None:
    if used := Passport.objects.filter(nonce=challenge.nonce).first():
        raise Conflict(f"this challenge was answered before, by {used.public_id}", code="passport_replayed")
    _check_time(challenge, now)
    if (challenge.seq, challenge.prev_sha256) != (last.seq + 1 if last else 1, last.sha256 if last else ""):
        raise Conflict("another passport of this card was recorded since: measure again", code="passport_out_of_order")


def _check_time(challenge: Challenge, now: datetime) -> None:
    if datetime.fromisoformat(challenge.expires_at) <= now:
        raise Conflict("the challenge has expired: ask for another and measure again", code="passport_expired")


def _conflict(card: Card, node: Node) -> IdentityConflict | None:
    return IdentityConflict.objects.filter(card=card, newcomer=node, resolved_at=None).first()


def _add_evidence(
    conflict: IdentityConflict, node: Node, challenge: Challenge, post: PassportPost, verdict: Verdict, now: datetime
) -> ConflictEvidence:
    return ConflictEvidence.objects.create(
        conflict=conflict,
        node=node,
        nonce=challenge.nonce,
        body=post.body,
        node_signature=post.signature,
        tier=verdict.tier,
        function_grade=verdict.function_grade,
        findings=verdict.findings_json,
        asked_at=datetime.fromisoformat(challenge.issued_at),
        answered_at=now,
    )


def _check_pace(body: dict[str, Any], challenge: Challenge, now: datetime) -> None:
    """No host can have tested for longer than the nonce was out; the market's own clock says how long that was."""
    claimed_ms = sum(number(test_of(body, name), "elapsed_ms") or 0 for name in REQUIRED_TESTS)
    passed = now - datetime.fromisoformat(challenge.issued_at)
    if claimed_ms > passed / timedelta(milliseconds=1) and not settings.SIMULATED_CARDS_COUNT:
        raise Unprocessable("the tests claim more time than has passed since the challenge", code="passport_too_fast")


def _written(
    node: Node,
    card: Card,
    challenge: Challenge,
    post: PassportPost,
    verdict: Verdict,
    history: dict[str, Any],
    now: datetime,
) -> Passport:
    passport = Passport(
        card=card,
        node=node,
        firm_id=node.firm_id,
        role=challenge.role,
        subject=challenge.subject,
        seq=challenge.seq,
        nonce=challenge.nonce,
        body=post.body,
        prev_sha256=challenge.prev_sha256,
        node_signature=post.signature,
        tier=verdict.tier,
        function_grade=verdict.function_grade,
        findings=verdict.findings_json,
        measured_at=datetime.fromisoformat(challenge.issued_at),
        expires_at=now + timedelta(days=settings.PASSPORT_DAYS),
        recorded_at=now,
    )
    passport.record = canonical(_record(passport, history)).decode()
    passport.sha256 = hashlib.sha256(passport.record.encode()).hexdigest()
    passport.market_signature = market_signature(RECORD_PREFIX, passport.record)
    passport.save(force_insert=True)
    return passport


def _record(passport: Passport, history: dict[str, Any]) -> dict[str, Any]:
    """What the market signs; it names the card by its short code, so that anybody may see it."""
    card = passport.card
    return {
        "schema": RECORD_SCHEMA,
        "passport": passport.public_id,
        "card_code": short_code(card.uuid),
        "gpu": card.gpu_model.slug,
        "name": card.gpu_model.marketing_name,
        "memory_mib": number(json.loads(passport.body), "views", "nvml", "memory_total_mib"),
        "role": passport.role,
        "subject": passport.subject,
        "seq": passport.seq,
        "prev_sha256": passport.prev_sha256,
        "body_sha256": hashlib.sha256(passport.body.encode()).hexdigest(),
        "node_signature": passport.node_signature,
        "node_public_key": base64.b64encode(bytes(passport.node.public_key)).decode(),
        "tier": passport.tier,
        "function_grade": passport.function_grade,
        "findings": [{"code": each["code"], "severity": each["severity"]} for each in passport.findings],
        "history": history,
        "measured_at": instant(passport.measured_at),
        "expires_at": instant(passport.expires_at),
        "recorded_at": instant(passport.recorded_at),
    }


def _set_tier(card: Card, verdict: Verdict) -> None:
    """A card is measured when every test ran and none spoke against it; tests that only did not run change nothing."""
    if verdict.function_grade in {"F0", "F1", "F2"} and verdict.tier == MEASURED:
        Card.objects.filter(pk=card.pk).exclude(tier="attested").update(tier=MEASURED)
    elif verdict.function_grade == "F3" or verdict.tier == MEASURED:
        Card.objects.filter(pk=card.pk).update(tier=DECLARED)
