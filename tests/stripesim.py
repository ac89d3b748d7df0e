"""The Stripe simulator as a process of its own, and the real client pointed at it; a conftest imports what it needs."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

ROOT = Path(__file__).parents[1]
JUDGED: Counter[str] = Counter()  # answers of all simulators of this run: `validated`, and `drift` from the SDK's types
FAULTED: set[str] = set()  # the tests that had something go wrong on purpose


class Simulated:
    """A running simulator at `url`; `sim` turns its own switches."""

    def __init__(self, folder: Path) -> None:
        self.data, self.ready, self.log = folder / "stripe.jsonl", folder / "ready", folder / "log"
        self.start()

    def start(self) -> None:
        self.ready.unlink(missing_ok=True)
        options = ["--port", "0", "--data", str(self.data), "--ready", str(self.ready)]
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "marketplace.payments.stripesim", *options]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        assert until(lambda: self.ready.exists() and self.ready.read_text() != "", 30), self.log.read_text()
        self.url = self.ready.read_text()

    def stop(self, *, hard: bool = False) -> None:
        (self.process.kill if hard else self.process.terminate)()
        self.process.wait(60)

    def finish(self) -> dict[str, Any]:
        """Its status at the end. Every answer that it gave must fit the SDK's types."""
        status = self.sim("status")
        self.stop()
        JUDGED.update(validated=status["counts"].get("validated", 0), drift=status["drift"])
        assert status["drifts"] == []
        return status

    def client(self, **options: Any) -> stripe.StripeClient:
        options = {"max_network_retries": 0, **options}
        return stripe.StripeClient("sk_test_fallow", base_addresses={"api": self.url}, **options)

    def sim(self, switch: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        method, body = ("GET", None) if given is None else ("POST", json.dumps(given))
        if switch == "faults" and given:
            FAULTED.add(os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0])
        status, _, answer = self.ask(method, f"/_sim/{switch}", body)
        assert status == 200, answer
        return json.loads(answer)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """A bare request, without the client's help; names of headers are written with `_`."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": "Bearer sk_test_fallow", **named})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found


def until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def every(listed: Callable[..., Any], given: dict[str, Any] | None = None) -> list[Any]:
    """All objects of a list."""
    return list(listed({"limit": 100, **(given or {})}).auto_paging_iter())


@pytest.fixture
def stripesim(tmp_path: Path) -> Iterator[Simulated]:
    """A simulator of this test's own, its clock standing still."""
    running = Simulated(tmp_path)
    running.sim("clock", {"frozen": True})
    yield running
    running.finish()


@pytest.fixture
def client(stripesim: Simulated) -> stripe.StripeClient:
    """The real client, without retries."""
    return stripesim.client()


@pytest.fixture
def pay(client: stripe.StripeClient) -> Callable[..., stripe.PaymentIntent]:
    """Charges a test card off-session; the balance transaction is expanded."""

    def charge(amount: int = 10_000, card: str = "pm_card_visa", **more: Any) -> stripe.PaymentIntent:
        given = {"amount": amount, "currency": "usd", "payment_method": card, "off_session": True, "confirm": True}
        expand = ["latest_charge.balance_transaction"]
        return client.v1.payment_intents.create({**given, "expand": expand, **more})

    return charge


@pytest.fixture
def seller(stripesim: Simulated, client: stripe.StripeClient) -> stripe.Account:
    """A connected account that has been onboarded."""
    account = client.v1.accounts.create({"country": "US", "capabilities": {"transfers": {"requested": True}}})
    stripesim.sim("onboard", {"account": account.id})
    return client.v1.accounts.retrieve(account.id)


class Receiver:
    """A webhook receiver; `answer` is the status that it gives."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answer = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(outer.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where events are sent to."""
    running = Receiver()
    yield running
    running.server.shutdown()
    running.server.server_close()
