"""A card's passport, for everybody; what names the card is for the firms that hold it or measured it."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.accounts.authentication import session_caller
from marketplace.common import clock
from marketplace.storefront.http import page
from marketplace.storefront.passport_pdf import passport_pdf_bytes, qr_data_uri
from marketplace.storefront.passports import PROVES, PROVES_NOT, passport_view
from nodes.models import Passport
from nodes.selectors import passport_of
from nodes.serializers import passport_file


@require_safe
@page
def passport_page(request: HttpRequest, passport_id: str) -> HttpResponse:
    """Where the QR code leads: what was measured, what it proves and what it does not."""
    passport = passport_of(passport_id)
    view = passport_view(passport, is_owner=_is_party(request, passport), now=clock.now())
    context = {"view": view, "qr": qr_data_uri(view.url), "proves": PROVES, "proves_not": PROVES_NOT}
    return render(request, "storefront/passport.html", context)


@require_safe
@page
def passport_pdf(request: HttpRequest, passport_id: str) -> HttpResponse:
    """The sheet; the same for everybody."""
    passport = passport_of(passport_id)
    view = passport_view(passport, is_owner=False, now=clock.now())
    return _download(passport_pdf_bytes(view), "application/pdf", f"{passport.public_id}.pdf")


@require_safe
@page
def passport_json_file(request: HttpRequest, passport_id: str) -> HttpResponse:
    """The file to check offline: whole for the card's firms, the public part for others."""
    passport = passport_of(passport_id)
    file = passport_file(passport, whole=_is_party(request, passport))
    text = json.dumps(file, indent=1, ensure_ascii=False).encode()
    return _download(text, "application/json", f"{passport.public_id}.gpupass.json")


def _is_party(request: HttpRequest, passport: Passport) -> bool:
    caller = session_caller(request)
    return caller is not None and caller.firm.pk in {passport.firm_id, passport.card.firm_id}


def _download(content: bytes, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
