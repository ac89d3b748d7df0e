"""The agent's four conversations with the server."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from nacl.signing import SigningKey

from nodes.agent.client import Client, Route
from nodes.agent.host import boot_id
from nodes.agent.passport import (
    CHALLENGES_PATH,
    PASSPORTS_PATH,
    ChallengeRequest,
    PassportPost,
    PassportReply,
    SignedChallenge,
)
from nodes.agent.protocol import (
    ACKS_PATH,
    ENROL_PATH,
    INVENTORY_PATH,
    LOGS_PATH,
    NODE_HEADER,
    REPORTS_PATH,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Ack,
    AckBatch,
    EnrolReply,
    EnrolRequest,
    Inventory,
    LogTail,
    Report,
    ReportBatch,
    ReportReply,
    decode,
    encode,
    signing_input,
)


def wall_ms() -> int:
    """The host's wall clock."""
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    """Milliseconds since the host's start, with its sleep: no clock change moves it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def enrol(server_url: str, token: str, key: SigningKey, inventory: Inventory, route: Route) -> EnrolReply:
    """Join a fleet with a token; raises Unreachable, Refused or ProtocolError."""
    request = EnrolRequest(
        token=token,
        public_key=base64.b64encode(bytes(key.verify_key)).decode(),
        proof=base64.b64encode(key.sign(token.encode()).signature).decode(),
        inventory=inventory,
    )
    client = Client(server_url, route)
    try:
        return decode(EnrolReply, client.post(ENROL_PATH, encode(request), {}))
    finally:
        client.close()


class Link:
    """The connections of an enrolled node: one to the reports' address, one to the server's."""

    def __init__(
        self,
        enrolment: EnrolReply,
        key: SigningKey,
        route: Route,
        *,
        server_url: str | None = None,
        wall: Callable[[], int] = wall_ms,
        boot: Callable[[], int] = boot_ms,
    ) -> None:
        self._enrolment = enrolment
        self._key = key
        self._wall = wall
        self._boot = boot
        server = server_url or enrolment.server_url
        self._prefix = urlsplit(server).path.rstrip("/")
        self._server = Client(server, route)
        self._reports = Client(enrolment.reports_url, route)

    def send_reports(self, reports: Sequence[Report]) -> ReportReply:
        """Reports oldest first, with the bearer; the reply says what must run here."""
        batch = ReportBatch(sent_ts_ms=self._wall(), sent_mono_ms=self._boot(), reports=list(reports), boot=boot_id())
        headers = {"Authorization": f"Bearer {self._enrolment.bearer}"}
        return decode(ReportReply, self._reports.post(REPORTS_PATH, encode(batch), headers))

    def send_inventory(self, inventory: Inventory) -> None:
        """The host and its cards, signed."""
        self._signed(INVENTORY_PATH, encode(inventory))

    def send_acks(self, acks: Sequence[Ack]) -> None:
        """What became of assignments, signed: acks are what leases are billed by."""
        self._signed(ACKS_PATH, encode(AckBatch(acks=list(acks))))

    def send_log(self, tail: LogTail) -> None:
        """The last of what a workload wrote, signed."""
        self._signed(LOGS_PATH, encode(tail))

    def ask_challenge(self, request: ChallengeRequest) -> SignedChallenge:
        """What a passport must answer."""
        return decode(SignedChallenge, self._signed(CHALLENGES_PATH, encode(request)))

    def send_passport(self, post: PassportPost) -> PassportReply:
        """A passport; what the market makes of it."""
        return decode(PassportReply, self._signed(PASSPORTS_PATH, encode(post)))

    def close(self) -> None:
        self._server.close()
        self._reports.close()

    def _signed(self, path: str, body: bytes) -> bytes:
        ts_ms = self._wall()
        signed = signing_input(
            method="POST", path=self._prefix + path, node=self._enrolment.node, ts_ms=ts_ms, body=body
        )
        headers = {
            NODE_HEADER: self._enrolment.node,
            TIMESTAMP_HEADER: str(ts_ms),
            SIGNATURE_HEADER: base64.b64encode(self._key.sign(signed).signature).decode(),
        }
        return self._server.post(path, body, headers)
