"""How fast signed events are answered at 200 a second while the inbox is worked on; the goal is below 50 ms.

    DATABASE_URL=… DATABASE_OWNER_URL=… REDIS_URL=… python -m tests.benchmarks.webhooks [--rate 200] [--seconds 30]

gunicorn as the demo runs it, a worker and beat beside it, in a database of its own, which is dropped. An event is sent
when its time has come, whatever became of those before it, and its answer is timed from then on. Beside it stands how
many requests a second the simulator answers by itself, and how many things a second the inbox fetched from it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import stripe

from marketplace.payments.stripesim.webhooks.signing import signature
from tests.benchmarks.ingest import cpu_of
from tests.benchmarks.scratch import scratch_database
from tests.nodes.ingest.process import ROOT, until, with_database
from tests.scenarios.till import Till, new_till
from tests.stripesim import Simulated

DATABASE = f"fallow_bench_{os.getpid()}"
GOAL_MS = 50
SECRET = "whsec_of_the_benchmark"
PAYMENTS = 100
CONNECTIONS = 16
CLIENTS, CAPACITY_S = 4, 5
KINDS = ("payment_intent.created", "payment_intent.succeeded", "charge.succeeded", "charge.updated")
GIVEN = {"amount": 1_000, "currency": "usd", "payment_method": "pm_card_visa", "off_session": True, "confirm": True}


def main() -> None:
    """Print the times of the answers and the simulator's own rate."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rate", type=int, default=200)
    options.add_argument("--seconds", type=int, default=30)
    given = options.parse_args()
    with scratch_database(DATABASE), tempfile.TemporaryDirectory() as folder:
        sim = Simulated(Path(folder))
        till = new_till(Path(folder), environment(sim))
        try:
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, cwd=ROOT, env=till.environment, check=True)
            run(till, sim, given)
        finally:
            till.stop()
            sim.stop()


def environment(sim: Simulated) -> dict[str, str]:
    """What the processes are told."""
    return {
        "DATABASE_URL": with_database(os.environ["DATABASE_URL"], DATABASE),
        "DATABASE_OWNER_URL": with_database(os.environ["DATABASE_OWNER_URL"], DATABASE),
        "REDIS_URL": with_database(os.environ["REDIS_URL"], "10"),
        "STRIPE_SECRET_KEY": "sk_test_fallow",
        "STRIPE_API_URL": sim.url,
        "STRIPE_WEBHOOK_SECRETS": SECRET,
        "LOG_LEVEL": "WARNING",
    }


def run(till: Till, sim: Simulated, given: argparse.Namespace) -> None:
    """Warm up for a second, then count."""
    client = sim.client()
    payments = [client.v1.payment_intents.create(GIVEN) for _ in range(PAYMENTS)]
    for name in ("web", "worker", "beat"):
        till.start_process(name)
    until(lambda: all(till.is_up(name) for name in ("web", "worker", "beat")), 120)
    events = made(payments)
    asyncio.run(send(till, events, given.rate, 1))
    asked, cpu = sim.sim("status")["counts"]["requests"], cpu_of(till.running["web"].pid)
    answers = asyncio.run(send(till, events, given.rate, given.seconds))
    cpu = cpu_of(till.running["web"].pid) - cpu
    fetched = sim.sim("status")["counts"]["requests"] - asked
    times = sorted(ms for status, ms in answers)
    assert {status for status, _ in answers} == {200}
    p50, p99 = statistics.median(times), times[len(times) * 99 // 100]
    print(f"{len(times)} events at {given.rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, ", end="")
    print(f"longest {times[-1]:.1f} ms, {1000 * cpu / len(times):.1f} ms of CPU each (the goal is {GOAL_MS} ms)")
    print(f"the inbox asked the simulator {fetched / given.seconds:.0f} times a second; alone it answers ", end="")
    for name in ("beat", "worker", "web"):
        till.running[name].terminate()
        till.running[name].wait(30)
    print(f"{capacity(sim):.0f} requests a second, a third of them payments")


def made(payments: list[stripe.PaymentIntent]) -> itertools.cycle[tuple[str, str, str]]:
    """(type, object, id) of what events can be about."""
    return itertools.cycle(
        (kind, kind.partition(".")[0], each.id if kind.startswith("payment") else str(each.latest_charge))
        for each in payments
        for kind in KINDS
    )


async def send(
    till: Till, events: itertools.cycle[tuple[str, str, str]], rate: int, seconds: int
) -> list[tuple[int, float]]:
    """(status, ms) of each; a connection is taken from those that are free, and its wait counts."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", till.web_port))
    begun = asyncio.get_running_loop().time()

    async def one(number: int) -> tuple[int, float]:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        connection = await free.get()
        status = await post(connection, body_of(next(events)))
        free.put_nowait(connection)
        return status, 1000 * (asyncio.get_running_loop().time() - due)

    answers = await asyncio.gather(*(one(number) for number in range(rate * seconds)))
    while not free.empty():
        free.get_nowait()[1].close()
    return answers


def body_of(about: tuple[str, str, str]) -> bytes:
    """An event that nobody has sent yet."""
    kind, object_type, object_id = about
    thing = {"object": object_type, "id": object_id, "padding": "x" * 3000}  # about as long as Stripe's
    event = {"id": f"evt_{os.urandom(12).hex()}", "type": kind, "created": int(time.time()), "data": {"object": thing}}
    return json.dumps(event).encode()


async def post(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], body: bytes) -> int:
    """The status of the answer."""
    reader, writer = connection
    lines = ["POST /stripe/webhook HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", f"Stripe-Signature: {signature(body, SECRET, int(time.time()))}"]
    writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
    return int(head.split(b" ", 2)[1])


def capacity(sim: Simulated) -> float:
    """Requests a second of a few clients that each make a payment and read it twice."""
    counts = [0] * CLIENTS
    deadline = time.monotonic() + CAPACITY_S
    form = "&".join(f"{key}={str(value).lower()}" for key, value in GIVEN.items())

    def ask(number: int) -> None:
        while time.monotonic() < deadline:
            status, _, body = sim.ask("POST", "/v1/payment_intents", form)
            assert status == 200, body
            for _ in range(2):
                sim.ask("GET", f"/v1/payment_intents/{json.loads(body)['id']}", None)
            counts[number] += 3

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / CAPACITY_S


if __name__ == "__main__":
    main()
