"""What an operator decides about cards and nodes, without a page.

`manage.py decide_identity` lists what waits; `decide_identity idc_… keep|move`, `ich_… accept` and `node_… release`
decide, with `--operator EMAIL`.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import DomainError
from nodes.models import IdentityChange, IdentityConflict, Node
from nodes.selectors import (
    answered_at_once,
    evidence_of,
    open_conflicts,
    open_identity_changes,
    quarantined_nodes,
)
from nodes.services.conflicts import release_quarantine, resolve_identity_conflict
from nodes.services.identity import accept_identity_change
from nodes.states import KEEP, MOVE

ACCEPT, RELEASE = "accept", "release"


class Command(BaseCommand):
    """Lists or decides identity conflicts, changed identities and nodes in quarantine."""

    help = "Decide about a card that two nodes report, a card that changed, or a node in quarantine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", help="idc_…, ich_… or node_…; without it what waits is listed")
        parser.add_argument("ruling", nargs="?", choices=[KEEP, MOVE, ACCEPT, RELEASE])
        parser.add_argument("--operator", metavar="EMAIL", default="", help="who decides")

    def handle(self, *args: Any, **options: Any) -> None:
        what, ruling = options["what"], options["ruling"]
        if what is None:
            self.stdout.write("\n".join([*_waiting(clock.now())]) or "nothing waits")
            return
        operator = User.objects.of_email(options["operator"]).filter(is_operator=True).first()
        if operator is None:
            raise CommandError("--operator must be the address of an operator")
        try:
            _decide(what, ruling or "", operator, clock.now())
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{what}: {ruling}")


def _waiting(now: datetime) -> Iterator[str]:
    for conflict in open_conflicts(now):
        card, evidence = conflict.card, evidence_of(conflict)
        has_it = card.node.public_id if card.node else "no node"
        at_once = ", both measured at once: two cards" if answered_at_once(evidence) else ""
        yield (
            f"{conflict.public_id} {card.public_id} {card.uuid}: {has_it} has its history, "
            f"{conflict.newcomer.public_id} reports it too; {len(evidence)} measurements{at_once} [{KEEP}|{MOVE}]"
        )
    for change in open_identity_changes():
        said = ", ".join(f"{name} {before} → {after}" for name, (before, after) in change.changes.items())
        yield f"{change.public_id} {change.card.public_id}: {said} [{ACCEPT}]"
    for node in quarantined_nodes():
        yield f"{node.public_id} {node.name}: {node.quarantine_reason} [{RELEASE}]"


def _decide(what: str, ruling: str, operator: User, now: datetime) -> None:
    conflict = IdentityConflict.objects.filter(public_id=what).first()
    change = IdentityChange.objects.filter(public_id=what).first()
    node = Node.objects.filter(public_id=what).first()
    if conflict is not None and ruling in {KEEP, MOVE}:
        resolve_identity_conflict(conflict=conflict, ruling=ruling, operator=operator, now=now)
    elif change is not None and ruling == ACCEPT:
        accept_identity_change(change=change, operator=operator, now=now)
    elif node is not None and ruling == RELEASE:
        release_quarantine(node=node, operator=operator, now=now)
    else:
        raise CommandError(f"there is nothing to {ruling or 'decide'} about {what}")
