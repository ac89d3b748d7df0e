"""Request ids and the content security policy, on every answer; bodies that are too long, on none."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from marketplace.common.ids import random_text
from marketplace.common.views import too_large

_SAFE_ID = re.compile(r"[\w.-]{1,64}")
LENGTH_DIGITS_MAX = 18
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class RequestIdMiddleware:
    """Echoes the caller's X-Request-Id, or makes one; errors carry it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _SAFE_ID.fullmatch(given) else random_text(16)
        request.META["fallow.request_id"] = request_id
        response = self.get_response(request)
        response.headers.setdefault("X-Request-Id", request_id)
        return response


class BodyLengthMiddleware:
    """Refuses a body by its declared length, before anything looks into it.

    Django limits the fields of a form, but not its files, and not a body that is read as a stream, as the API reads
    JSON. A body without a length has none to WSGI.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_form = request.META.get("CONTENT_TYPE", "").lower().startswith("multipart/")
        most = settings.UPLOAD_BYTES_MAX if is_form else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = request.META.get("CONTENT_LENGTH") or "0"
        is_number = length.isascii() and length.isdigit() and len(length) <= LENGTH_DIGITS_MAX
        return self.get_response(request) if is_number and int(length) <= most else too_large(request, most)


class ContentSecurityPolicyMiddleware:
    """Pages load nothing from other hosts and run no inline script."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class RateHeadersMiddleware:
    """Tells every API caller what is left of its bucket."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in request.META.get("fallow.rate", {}).items():
            response.headers[name] = value
        return response
