"""Every component on one page, for those who work on the looks; it exists only while DEBUG is on."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.common import clock
from marketplace.storefront.displays import STATES
from marketplace.storefront.forms.accounts import KeyForm
from marketplace.storefront.icons import ICONS


@require_safe
def style_page(request: HttpRequest) -> HttpResponse:
    """States, notes, buttons, fields, times, money, icons."""
    if not settings.DEBUG:
        raise Http404
    now = clock.now()
    context = {
        "states": [(kind, list(values)) for kind, values in STATES.items()],
        "icons": list(ICONS),
        "form": KeyForm(request.GET if request.GET else None),
        "before": now - timedelta(seconds=75),
        "after": now + timedelta(minutes=95),
        "percent": 40,
    }
    return render(request, "storefront/style.html", context)
