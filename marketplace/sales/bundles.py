"""Everything that is known about a sale, in one document: what an operator rules by, and what both sides may read."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.urls import reverse

from listings.cards.serializers import photo_json
from marketplace.events.models import Event
from marketplace.sales.models import Sale
from marketplace.sales.serializers import side_of
from nodes.models import Passport


def evidence_bundle(sale: Sale) -> dict[str, Any]:
    """Passports as they were signed, photos, what was said, and the events in their order."""
    sides = [sale.buyer_id, sale.seller_id, *([sale.lab_id] if sale.lab_id else [])]
    of_this_sale = Q(subject=sale.public_id, firm__in=sides)
    passports = Passport.objects.filter(Q(public_id=sale.seller_passport) | of_this_sale).order_by("pk")
    events = Event.objects.filter(subject=sale.public_id, firm_id=sale.buyer_id).order_by("pk")
    said = sale.evidence.select_related("firm").order_by("pk")
    return {
        "sale": sale.public_id,
        "passports": [_passport(each) for each in passports],
        "differences": sale.differences,
        "photos": [photo_json(photo) for photo in sale.listing.photos.order_by("pk")],
        "evidence": [
            {
                "id": each.public_id,
                "by": side_of(sale, each.firm),
                "about": each.about,
                "text": each.text,
                "photo": reverse("evidence-photo", args=[sale.public_id, each.public_id]) if each.file else None,
                "sha256": each.sha256 or None,
                "at": each.created_at,
            }
            for each in said
        ],
        "events": [{"type": each.type, "reason": each.reason or None, "at": each.at} for each in events],
    }


def _passport(passport: Passport) -> dict[str, Any]:
    return {
        "id": passport.public_id,
        "role": passport.role,
        "body": passport.body,
        "record": passport.record,
        "sha256": passport.sha256,
        "prev_sha256": passport.prev_sha256 or None,
        "node_signature": passport.node_signature,
        "market_signature": passport.market_signature,
        "function_grade": passport.function_grade,
        "findings": passport.findings,
        "measured_at": passport.measured_at,
    }
