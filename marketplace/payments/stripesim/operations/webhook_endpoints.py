"""Webhook endpoints and the list of events."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.errors import invalid
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.state.clock import DAY_S
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
EVENTS_KEPT_S = 30 * DAY_S


def check_url(url: str) -> None:
    """The simulator sends to this machine alone."""
    if urlsplit(url).hostname not in LOOPBACK:
        raise invalid("The simulator delivers events to the loopback only.", param="url", code="url_invalid")


def new_endpoint(
    world: World, url: str, events: list[str], *, connect: bool, secret: str, version: str | None
) -> Object:
    """An endpoint that is sent events from now on: its own account's, or with `connect` those of connected accounts."""
    check_url(url)
    return world.store.add({
        "id": new_id("we"), "object": "webhook_endpoint", "url": url, "enabled_events": events, "status": "enabled",
        "api_version": version, "application": None, "created": world.clock.now(), "description": None,
        "livemode": False, "metadata": {}, "_connect": connect, "_secret": secret,
    })  # fmt: skip


@operation("POST /v1/webhook_endpoints", "url enabled_events connect description metadata api_version")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/webhook_endpoints/create: the secret is shown this once."""
    params = call.params
    if params.get("api_version", call.world.api_version) != call.world.api_version:
        raise invalid(f"Invalid Stripe API version: {params['api_version']}", param="api_version")
    secret = f"whsec_{secrets.token_urlsafe(24)}"
    endpoint = new_endpoint(
        call.world, params["url"], params["enabled_events"], connect=bool(params.get("connect")), secret=secret,
        version=params.get("api_version"),
    )  # fmt: skip
    endpoint["description"] = params.get("description")
    merge_metadata(endpoint, params)
    return {**endpoint, "secret": secret}


@operation("POST /v1/webhook_endpoints/{}", "url enabled_events disabled description metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/webhook_endpoints/update"""
    endpoint = call.world.store.edit(retrieve(call)["id"])
    if "url" in call.params:
        check_url(call.params["url"])
    endpoint |= {name: call.params[name] for name in ("url", "enabled_events", "description") if name in call.params}
    if "disabled" in call.params:
        endpoint["status"] = "disabled" if call.params["disabled"] else "enabled"
    merge_metadata(endpoint, call.params)
    return endpoint


@operation("GET /v1/webhook_endpoints/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/webhook_endpoints/retrieve"""
    return call.world.store.get("webhook_endpoint", call.args[0])


@operation("GET /v1/webhook_endpoints", PAGED)
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/webhook_endpoints/list"""
    return page(call.world.store.of_kind("webhook_endpoint"), call.params, call.url)


@operation("DELETE /v1/webhook_endpoints/{}")
def delete(call: Call) -> Object:
    """https://docs.stripe.com/api/webhook_endpoints/delete"""
    endpoint = retrieve(call)
    call.world.store.remove(endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


@operation("GET /v1/events/{}")
def retrieve_event(call: Call) -> Object:
    """https://docs.stripe.com/api/events/retrieve"""
    return call.world.store.get("event", call.args[0], account=call.account)


@operation("GET /v1/events", f"{PAGED} type types delivery_success")
def list_events(call: Call) -> Object:
    """https://docs.stripe.com/api/events/list: those of the last 30 days."""
    params = dict(call.params)
    kinds, delivered = params.pop("types", None), params.pop("delivery_success", None)
    if kinds and "type" in params:
        raise invalid("You may pass either `type` or `types`, but not both.", param="types")
    wanted = params.pop("type", "*")
    oldest = call.world.clock.now() - EVENTS_KEPT_S
    events = (
        each
        for each in call.world.store.of_kind("event")
        if each["_account"] == call.account
        and each["created"] >= oldest
        and (not kinds or each["type"] in kinds)
        and (wanted == each["type"] or (wanted.endswith("*") and each["type"].startswith(wanted[:-1])))
        and (delivered is None or delivered == (each["pending_webhooks"] == 0))
    )
    return page(events, params, call.url)
