"""A host that has just joined, as its agent speaks over HTTP: it enrols, reports, and says what its lease does."""

from __future__ import annotations

from typing import Any

from nacl.signing import SigningKey
from rest_framework.test import APIClient

from nodes.agent import protocol
from nodes.agent.protocol import CARD_FIELDS, Ack, AckBatch, AssignmentCommand, Phase
from nodes.models import Assignment, Card, Node
from nodes.services.availability import process_reports
from tests.hosts import HOST_KEY
from tests.market import Market
from tests.nodes.builders import HEALTHY, card_identity, enrol_request, heard, make_inventory, signed_headers

HEARTBEAT = 5
UNTIL_IDLE = 310


class Newcomer:
    """A node of Alice's with `count` RTX 4090, as enrolment leaves it."""

    def __init__(self, market: Market, *, count: int = 1) -> None:
        self.market, self.key, self.seq = market, SigningKey.generate(), 0
        token = market.seller.post("/api/v1/nodes/enrolment-tokens/", {"name": "new"}, format="json").json()["token"]
        self.inventory = make_inventory(*(card_identity(index=index) for index in range(count)))
        request = enrol_request(token, self.key, self.inventory)
        answer = self._post(protocol.ENROL_PATH, protocol.encode(request), {})
        assert answer.status_code == 201, answer.content
        self.node = Node.objects.get(public_id=answer.json()["node"])

    @property
    def cards(self) -> list[Card]:
        """Its cards."""
        return list(self.node.cards.order_by("index"))

    @property
    def command(self) -> AssignmentCommand:
        """The last command that it was given."""
        return protocol.decode(AssignmentCommand, Assignment.objects.filter(node=self.node).latest("pk").payload)

    def shown(self) -> dict[str, Any]:
        """The node as its owner's API shows it."""
        return dict(self.market.seller.get(f"/api/v1/nodes/{self.node.public_id}/").json())

    def be_quiet(self, seconds: int, **reading: float) -> None:
        """Let time pass with reports of cards that nobody uses, or that show `reading`; then the ticks."""
        values = [reading.get(name, value) for name, value in zip(CARD_FIELDS, HEALTHY, strict=True)]
        for _ in range(seconds // HEARTBEAT):
            now = self.market.clock.advance(HEARTBEAT)
            self.seq += 1
            heard(self.node, now, self.seq, [values] * len(self.cards))
        process_reports(now=self.market.clock.now())
        self.market.tick()

    def take_inventory(self, inventory: protocol.Inventory) -> None:
        """Say that it has other cards now."""
        self._post_signed(protocol.INVENTORY_PATH, inventory)

    def say(self, phase: Phase, **said: Any) -> None:
        """What became of its last assignment; then the ticks."""
        self.seq += 1
        command = self.command
        ack = Ack(command.assignment, command.lease, command.epochs, phase, 1, self.seq, 0, **said)
        self.send_acks(ack)
        self.market.tick()

    def send_acks(self, *acks: Ack) -> None:
        """As they are."""
        self._post_signed(protocol.ACKS_PATH, AckBatch(list(acks)))

    def run(self) -> None:
        """The container runs and its card is seen inside."""
        uuids = sorted(self.command.epochs)
        self.say(Phase.RUNNING, ssh_user="root", ssh_host_key=HOST_KEY, gpus_seen=uuids)

    def stop(self) -> None:
        """It has ended, and the card is clean."""
        self.say(Phase.STOPPED, memory_at_baseline=True)

    def _post_signed(self, path: str, message: Any) -> None:
        body = protocol.encode(message)
        headers = signed_headers(self.key, self.node.public_id, path, body, self.market.clock.now())
        assert self._post(path, body, headers).status_code == 204

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> Any:
        return APIClient().post(path, body, content_type="application/json", headers=headers)
