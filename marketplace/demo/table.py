"""The processes of a demo, one line each, and how to tell that one is ready."""

import socket
import sys
import urllib.error
import urllib.request
from functools import partial

from celery import Celery

from marketplace.demo.place import STRIPE_SECRET, Place, manage
from marketplace.demo.supervisor import Process

PYTHON = (sys.executable, "-m")
CELERY = (*PYTHON, "celery", "--app", "marketplace.celery", "--quiet")


def server_processes(place: Place, *, broker: str) -> list[Process]:
    """What an installation runs; the market of the demo comes after it. `broker` is Celery's, a redis:// URL."""
    return [
        *_stripe(place),
        Process("web", _gunicorn(place), ready=partial(answers, f"{place.url}/readyz")),
        Process("ingest", _uvicorn(place), ready=partial(answers, f"{place.reports_url}/healthz")),
        Process("relay", manage("relay"), ready=partial(_listens, place.relay_port)),
        Process("matcher", manage("matcher")),
        Process("worker", _worker(), ready=partial(_takes_tasks, broker)),
        Process("beat", (*CELERY, "beat", "--schedule", str(place.data_dir / "beat"), "--pidfile", "")),
    ]


def answers(url: str) -> bool:
    """Whether a GET of url is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - the URL is ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stripe(place: Place) -> list[Process]:
    """Stripe's simulator with a state of its own, kept from one start to the next; its events go to the pages."""
    if place.stripe_port is None:
        return []
    state = ("--port", str(place.stripe_port), "--data", str(place.data_dir / "stripe.jsonl"))
    hook = ("--webhook", f"{place.url}/stripe/webhook", "--webhook-secret", STRIPE_SECRET)
    command = (*PYTHON, "marketplace.payments.stripesim", *state, *hook)
    return [Process("stripe", command, ready=partial(_listens, place.stripe_port))]


def _worker() -> tuple[str, ...]:
    return (*CELERY, "worker", "--concurrency", "2", "--loglevel", "INFO", "--without-mingle")


def _gunicorn(place: Place) -> tuple[str, ...]:
    bind = ("--bind", f"127.0.0.1:{place.web_port}", "--no-control-socket")
    pool = ("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--graceful-timeout", "5")
    return (*PYTHON, "gunicorn", *bind, *pool, "marketplace.wsgi:application")


def _uvicorn(place: Place) -> tuple[str, ...]:
    options = ("--host", "127.0.0.1", "--port", str(place.ingest_port), "--http", "httptools", "--no-access-log")
    return (*PYTHON, "uvicorn", "nodes.ingest.asgi:application", *options, "--timeout-graceful-shutdown", "5")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _takes_tasks(broker: str) -> bool:
    with Celery(broker=broker) as app:
        return bool(app.control.ping(timeout=1))
