"""Commands are obeyed when the pinned key signed them for this node, and when no newer one was seen for their cards."""

from __future__ import annotations

import base64
import binascii
import logging

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from nodes.agent.protocol import AssignmentCommand, ProtocolError, SignedCommand, decode
from nodes.agent.state import CardEpoch, StateDir

log = logging.getLogger(__name__)

WANTED = ("run", "stop")


class BadCommand(ValueError):
    """Not signed by the pinned key, for another node, or of no sense."""


class StaleCommand(BadCommand):
    """A newer lease holds, or held, one of the cards."""


def verified(signed: SignedCommand, key: VerifyKey, node: str) -> AssignmentCommand:
    """The command; raises BadCommand. The signature is checked over the bytes as they came, before they are read."""
    try:
        payload = signed.payload.encode()
        key.verify(payload, base64.b64decode(signed.signature, validate=True))
        command = decode(AssignmentCommand, payload)
    except (BadSignatureError, binascii.Error, ProtocolError, ValueError) as error:
        raise BadCommand(f"a command is not the server's: {error}") from error
    if command.node != node:
        raise BadCommand(f"command {command.assignment} is for {command.node}")
    if command.wanted not in WANTED or not command.epochs or (command.wanted == "run" and command.spec is None):
        raise BadCommand(f"command {command.assignment} makes no sense")
    return command


class Fence:
    """The highest epoch per card, on the disk before a command is acted on: a replayed start can't run twice."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._epochs = state.epochs()
        self._unwritten = False

    def pass_through(self, command: AssignmentCommand) -> set[str]:
        """Note the command's epochs and return the older leases that held its cards.

        A stop always passes: it names a lease, and a newer lease of the same card is another. A start raises
        StaleCommand, or OSError when its epochs can't be written: the server repeats it.
        """
        if command.wanted == "run":
            self._refuse_stale(command)
        newer = {
            uuid: CardEpoch(epoch, command.lease)
            for uuid, epoch in command.epochs.items()
            if uuid not in self._epochs or epoch > self._epochs[uuid].epoch
        }
        ousted = {self._epochs[uuid].lease for uuid in newer if uuid in self._epochs} - {command.lease}
        if newer or self._unwritten:
            self._keep(newer, must=command.wanted == "run")
        return ousted

    def _keep(self, newer: dict[str, CardEpoch], *, must: bool) -> None:
        try:
            self._state.keep_epochs(self._epochs | newer)
            self._unwritten = False
        except OSError as error:
            if must and newer:
                raise
            self._unwritten = True
            log.error("the epochs of a stop can't be written: %s", error)
        self._epochs |= newer

    def _refuse_stale(self, command: AssignmentCommand) -> None:
        for uuid, epoch in command.epochs.items():
            seen = self._epochs.get(uuid)
            if seen and (epoch < seen.epoch or (epoch == seen.epoch and command.lease != seen.lease)):
                raise StaleCommand(f"epoch {epoch} of {uuid}: {seen.epoch} was seen, for lease {seen.lease}")
