"""Requests in, answers out: keys, versions, repeated requests, faults, and the specification's judgement on both."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import msgspec

from marketplace.payments.stripesim.faults import Faults
from marketplace.payments.stripesim.operations.table import TABLE, Call
from marketplace.payments.stripesim.protocol import idempotency
from marketplace.payments.stripesim.protocol.errors import ApiError, invalid, not_simulated
from marketplace.payments.stripesim.protocol.forms import nested
from marketplace.payments.stripesim.protocol.sdk_operations import SdkOperation
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.protocol.specification import Specification
from marketplace.payments.stripesim.state.store import PLATFORM, Object, new_id
from marketplace.payments.stripesim.webhooks.delivery import Deliveries
from marketplace.payments.stripesim.world import World

TEST_KEY = "sk_test_"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    """An HTTP answer. `lost` breaks the connection instead of sending it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The operation of an address, its parameters in order, and whose account is meant."""

    operation: SdkOperation
    args: tuple[str, ...]
    account: str


class Simulator:
    """One simulated Stripe behind HTTP. `counts` and `drifts` tell how it has done."""

    def __init__(self, world: World, specification: Specification) -> None:
        self.world = world
        self.specification = specification
        self.faults = Faults()
        self.deliveries = Deliveries(world, self.faults)
        self.counts: Counter[str] = Counter()
        self.drifts: list[str] = []
        world.judge = self._judge_event
        self._idempotency = idempotency.Idempotency(world)
        self._routes: dict[tuple[str, int], list[tuple[list[str], SdkOperation]]] = {}
        for key, operation in specification.operations.items():
            parts = key.split(" ", 1)[1].split("/")
            self._routes.setdefault((operation.method, len(parts)), []).append((parts, operation))

    def set_faults(self, faults: Faults) -> None:
        """Other faults from now on; their counters begin at zero."""
        self.faults = self.deliveries.faults = faults

    def handle(self, request: Request) -> Answer:
        """The answer to a request of the API."""
        self.counts["requests"] += 1
        headers = {"Request-Id": new_id("req"), "Stripe-Version": self.world.api_version}
        try:
            answer = self._handle(request, headers["Request-Id"])
        except ApiError as refusal:
            answer = _json(refusal.status, refusal.body())
        answer.headers = {**headers, **answer.headers}
        return answer

    def _handle(self, request: Request, request_id: str) -> Answer:
        found = self._find(request)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if not key:
            return self._with_fault(found, request, request_id, None)
        if len(key) > 255:
            raise invalid("Idempotency keys may be up to 255 characters long.")
        record = idempotency.record_id(request.path, found.account, key)
        self._idempotency.begin(record, key)
        try:
            answer = self._with_fault(found, request, request_id, record)
        finally:
            self._idempotency.end(record)
        answer.headers["Idempotency-Key"] = key
        return answer

    def _with_fault(self, found: Found, request: Request, request_id: str, record: str | None) -> Answer:
        fault = self.faults.for_request(found.operation.key)
        if fault == "rate_limit":
            raise ApiError(
                429, "invalid_request_error", "Too many requests. Use exponential backoff.", code="rate_limit"
            )
        if fault == "conflict":
            raise ApiError(
                409, "invalid_request_error", "Another request is working on this object.", code="lock_timeout"
            )
        if fault == "error":
            raise ApiError(500, "api_error", "An unknown error occurred before anything was done.")
        if fault == "slow":
            time.sleep(self.faults.slow_seconds)
        answer = self._once(found, request, request_id, record, fails_after=fault == "error_after")
        answer.lost = fault == "reply_lost"
        return answer

    def _once(
        self, found: Found, request: Request, request_id: str, record: str | None, *, fails_after: bool
    ) -> Answer:
        print_of = idempotency.fingerprint(request.method, request.path, request.body, found.account)
        with self.world.lock:
            saved = self._idempotency.saved(record, print_of) if record else None
            if saved:
                self.counts["replayed"] += 1
                return _json(saved["status"], saved["body"], {"Idempotent-Replayed": "true"})
            entry = TABLE.get(found.operation.key)
            if entry is None:
                self.counts["not_simulated"] += 1
                raise not_simulated(found.operation.key)
            params = self._params(found, request)
            entry.check(params)
            self.world.request = {"id": request_id, "idempotency_key": request.headers.get("idempotency-key")}
            call = Call(self.world, found.operation.key, params, found.args, found.account)
            status, body = self._execute(found.operation, entry.handler, call, record, print_of, fails_after)
        return _json(status, body)

    def _execute(
        self, operation: SdkOperation, handler: Any, call: Call, record: str | None, print_of: str, fails_after: bool
    ) -> tuple[int, Object]:
        """Does the work and saves the answer in one transaction. What drifts from the SDK's types is undone."""
        refused: ApiError | None = None
        body: Object = {}
        try:
            with self.world.transaction():
                try:
                    body = self._public(handler(call), call.params.get("expand", ()))
                    self._judge(operation, body)
                except ApiError as refusal:
                    if not refusal.keep:
                        raise
                    refused = refusal
                status, body = self._outcome(refused, body, fails_after)
                if record:
                    self._idempotency.save(record, print_of, status, body)
        except ApiError as refusal:
            status, body = refusal.status, refusal.body()
            if record and status != 501:
                with self.world.transaction():
                    self._idempotency.save(record, print_of, status, body)
        return status, body

    def _outcome(self, refused: ApiError | None, body: Object, fails_after: bool) -> tuple[int, Object]:
        if fails_after:
            return 500, ApiError(500, "api_error", "An unknown error occurred after the work was done.").body()
        if refused:
            self._judge_error(refused)
            return refused.status, refused.body()
        return 200, body

    def _judge(self, operation: SdkOperation, body: Object) -> None:
        self.counts["validated"] += 1
        self._note(operation.key, self.specification.drift(operation, body))

    def _judge_event(self, event: Object) -> None:
        """Events are answers that nobody asked for."""
        self.counts["validated"] += 1
        self._note(event["type"], self.specification.drift_within(event))

    def _judge_error(self, refused: ApiError) -> None:
        """The objects inside of a refusal are the SDK's as well."""
        self.counts["validated"] += 1
        self._note(refused.fields["message"], self.specification.drift_within(refused.fields))

    def _note(self, where: str, drift: str | None) -> None:
        if drift:
            self.drifts.append(f"{where}: {drift}")
            raise ApiError(500, "api_error", f"SIMULATOR DRIFT {where}: {drift}", code="simulator_drift")

    def _public(self, result: Object, expand: Any) -> Object:
        if "data" in result and "id" not in result:
            inner = [path.removeprefix("data.") for path in expand if path.startswith("data.")]
            return {**result, "data": [shown(self.world, each, inner) for each in result["data"]]}
        return shown(self.world, result, expand)

    def _params(self, found: Found, request: Request) -> dict[str, Any]:
        judge = self.specification.request(found.operation)
        if request.method == "POST" and request.path.startswith("/v2/"):
            try:
                return judge.read(msgspec.json.decode(request.body or b"{}", type=dict[str, Any]), typed=True)
            except msgspec.DecodeError as broken:
                raise invalid(f"The body is no JSON object: {broken}") from None
        encoded = request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
        return judge.read(nested(encoded), typed=False)

    def _find(self, request: Request) -> Found:
        _check_key(request.headers.get("authorization", ""))
        version = request.headers.get("stripe-version", self.world.api_version)
        if version != self.world.api_version:
            raise invalid(f"The simulator speaks version {self.world.api_version}, not {version}.")
        parts = [unquote(part) for part in request.path.rstrip("/").split("/")]
        candidates = [
            (pattern, operation)
            for pattern, operation in self._routes.get((request.method.lower(), len(parts)), ())
            if all(wanted in {"{}", part} for wanted, part in zip(pattern, parts, strict=True))
        ]
        if not candidates:
            raise ApiError(
                404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path}).",
            )  # fmt: skip
        pattern, operation = min(candidates, key=lambda each: each[0].count("{}"))
        args = tuple(part for wanted, part in zip(pattern, parts, strict=True) if wanted == "{}")
        return Found(operation, args, self._account(request))

    def _account(self, request: Request) -> str:
        """The connected account that the request is made for."""
        account = request.headers.get("stripe-account") or request.headers.get("stripe-context") or PLATFORM
        if account and not self.world.store.find(account):
            raise ApiError(
                403, "invalid_request_error",
                f"The provided key does not have access to account '{account}' (or that account does not exist).",
                code="account_invalid",
            )  # fmt: skip
        return account


def _check_key(authorization: str) -> None:
    """A key of the test mode, and no other: https://docs.stripe.com/keys."""
    key = authorization.removeprefix("Bearer ")
    if not key.startswith(TEST_KEY):
        shown_key = f"{key[:8]}…" if key else "none"
        raise ApiError(401, "invalid_request_error", f"Invalid API Key provided: {shown_key}")


def _json(status: int, body: Object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, msgspec.json.encode(body), dict(headers or {}))
