"""What our templates can say: money, times, states and icons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from marketplace.common import clock
from marketplace.storefront import wording
from marketplace.storefront.displays import Display, display_of, reason_text
from marketplace.storefront.icons import ICONS
from marketplace.storefront.names import country_name, gpu_names
from marketplace.storefront.passports import finding_words
from marketplace.storefront.sale_words import difference_words, event_words, reason_words, shown_difference

register = template.Library()
register.filter("duration", wording.duration)
register.filter("memory", wording.memory)
register.filter("used_memory", wording.used_memory)
register.filter("reason", reason_text)
register.filter("gpus", gpu_names)
register.filter("gpu", lambda slug: gpu_names([slug]))
register.filter("words", wording.words)
register.filter("amount", wording.amount)
register.filter("kept", wording.kept)
register.filter("percent", wording.percent)
register.filter("share", lambda part: wording.percent(round(part * 10_000)))
register.filter("grouped", wording.grouped)
register.filter("hours", wording.hours)
register.filter("country", country_name)
register.filter("grade_or_better", lambda grade: "any, even not measured" if grade == "FX" else f"{grade} or better")
register.filter("finding", finding_words)
register.filter("sale_event", event_words)
register.filter("sale_reason", reason_words)
register.filter("difference", difference_words)
register.filter("said", shown_difference)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An inline icon; without a label screen readers skip it."""
    drawing = mark_safe(ICONS[name])  # noqa: S308  # our own constant
    hidden = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon" viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6" '
        'stroke-linecap="round" stroke-linejoin="round" focusable="false" {}>{}</svg>',
        hidden,
        drawing,
    )


@register.simple_tag
def money(micros: int | None, currency: str) -> SafeString:
    """An amount with its currency; a dash alone when it is not known."""
    if micros is None:
        return mark_safe('<span class="muted">–</span>')
    return format_html('<span class="money">{} {}</span>', wording.amount(micros), currency)


@register.simple_tag
def price(micros: int | None, currency: str) -> SafeString:
    """A price per GPU-hour, with its unit."""
    return format_html(
        '<span class="money">{} {}<span class="muted small"> / GPU-h</span></span>', wording.amount(micros), currency
    )


@register.simple_tag
def when(at: datetime | None, kind: str = "ago") -> SafeString:
    """A time relative to now, the exact time behind it; `left` for a deadline."""
    if at is None:
        return mark_safe('<span class="muted">never</span>')
    exact = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative="{}">{}</time>',
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S"),
        kind,
        wording.relative(at, clock.now(), kind),
    )


@register.simple_tag
def ships_after(at: datetime | None) -> SafeString:
    """When a card that is bought now can be shipped: at once, or after its last lease."""
    return mark_safe("at once") if at is None or at <= clock.now() else when(at)


@register.simple_tag
def moment(at: datetime | None) -> SafeString:
    """The exact time, in UTC."""
    if at is None:
        return mark_safe('<span class="muted">–</span>')
    exact = at.astimezone(UTC)
    return format_html(
        '<time class="number" datetime="{}">{} UTC</time>', exact.isoformat(), exact.strftime("%Y-%m-%d %H:%M")
    )


@register.inclusion_tag("storefront/parts/state.html")
def state(kind: str, value: str) -> dict[str, Display]:
    """A state as a badge with icon and text."""
    return {"display": display_of(kind, value)}


@register.inclusion_tag("storefront/parts/command.html")
def command(name: str, text: str, label: str = "Copy", wrap: bool = False) -> dict[str, Any]:
    """A command line with a copy button; `name` is unique in its page."""
    return {"name": name, "text": text, "label": label, "wrap": wrap}


@register.simple_tag(takes_context=True)
def current(context: dict[str, Any], *names: str) -> SafeString:
    """`aria-current="page"` when the page is one of these URL names."""
    request: HttpRequest | None = context.get("request")
    match = getattr(request, "resolver_match", None)
    return mark_safe('aria-current="page"') if match and match.url_name in names else mark_safe("")


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: str | int | None) -> str:
    """The page's query string with some parameters changed; None takes one away."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None:
            parameters.pop(name, None)
        else:
            parameters[name] = str(value)
    return f"?{parameters.urlencode()}"
