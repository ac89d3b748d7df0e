"""Where Stripe sends its events: checked, kept, answered; nothing else happens in the request."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from marketplace.common import clock
from marketplace.common.errors import NotFound
from marketplace.payments.gateway import GatewayError
from marketplace.payments.inbox import take_signed

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """200 once the event is safe; 400 for what no secret of ours signed lately; 404 without Stripe."""
    try:
        take_signed(request.body, request.headers.get("Stripe-Signature", ""), now=clock.now())
    except NotFound:
        return JsonResponse({"code": "not_found"}, status=404)
    except GatewayError as refusal:
        logger.warning("an event was refused: %s", refusal.code)
        return JsonResponse({"code": refusal.code}, status=400)
    return JsonResponse({"received": True})
