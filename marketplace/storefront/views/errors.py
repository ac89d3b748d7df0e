"""The page for a form that can't be trusted."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from marketplace.common.errors import NotAllowed
from marketplace.storefront.http import error_page


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that did not come from our page, or from a page that was open for too long."""
    detail = "this form is too old or comes from elsewhere: go back, reload and send it again"
    return error_page(request, NotAllowed(detail))
