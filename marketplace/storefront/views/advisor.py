"""Rent or sell: what the seller's cards are worth rented, kept and sold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.accounts.authentication import Caller
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.money import PRICE_TICK_MICROS, format_micros
from marketplace.fleet.advice import Choice, advise
from marketplace.fleet.advisor import Advisor, CardAdvice, KindAdvice
from marketplace.fleet.assumptions import WHOLE, Inputs
from marketplace.fleet.selectors import cards_of
from marketplace.storefront.forms.advisor import AssumptionsForm, value_text
from marketplace.storefront.http import firm_page, newest_first
from nodes.models import Card

SHARES = (2_000, 5_000, 7_000, 9_000)
LISTED_AT_ONCE_MAX = 50


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer at another rented share."""

    percent: int
    verdict: str | None
    margin_micros: int | None


@require_safe
@firm_page
def advisor_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The fleet by kind of card, one kind with everything behind it, and its cards."""
    form = AssumptionsForm(request.GET)
    given = form.given()
    currency, now = form.cleaned_data.get("currency") or settings.CURRENCIES[0], clock.now()
    cards = cards_of(caller.firm)
    measured = Advisor(caller.firm, currency=currency, given={}, now=now)
    kinds = measured.kinds(cards)
    context: dict[str, Any] = {
        "kinds": [(kind, kind_name(kind)) for kind in kinds],
        "currency": currency,
        "totals": _totals(kinds),
        "may_sell": bool(caller.scopes & {Scope.FLEET, Scope.TRADE}),
    }
    if kinds:
        wanted = request.GET.get("kind", "")
        chosen = next((kind for kind in kinds if kind_name(kind) == wanted), kinds[0])
        advisor, kind = measured.assuming(chosen, given)
        page = newest_first(_cards_of_kind(cards, chosen), request)
        rows = advisor.cards(page.rows, [kind])
        form.show(kind.judgement.assumed)
        context |= {"form": form, "page": page} | _of_kind(kind, rows)
    return render(request, "storefront/sell/advisor.html", context)


def kind_name(kind: KindAdvice) -> str:
    """How a URL names a kind."""
    return f"{kind.model.slug}.{kind.key.memory_gib}{'.modified' if kind.key.is_modified else ''}"


def _of_kind(kind: KindAdvice, rows: Sequence[CardAdvice]) -> dict[str, Any]:
    to_sell = [row for row in rows if row.judgement.advice.verdict == Choice.SELL_NOW]
    # The least used go first: the hours that they had are rented on what is left.
    to_sell.sort(key=lambda row: row.judgement.inputs.rented_share)
    selling = to_sell[: min(kind.sell_count, LISTED_AT_ONCE_MAX)]
    return {
        "selling_query": urlencode([("card", row.card.public_id) for row in selling]),
        "selling_count": len(selling),
        "kind": kind,
        "kind_name": kind_name(kind),
        "rows": [(row, _listing_query([row], kind)) for row in rows],
        "what_ifs": [_what_if(kind.judgement.inputs, share) for share in SHARES],
        "assumptions": [(each, value_text(each)) for each in kind.judgement.assumed.values()],
        "listing_query": _listing_query([row for row in rows if row.judgement.advice.verdict == Choice.RENT], kind),
    }


def _what_if(inputs: Inputs, share: int) -> WhatIf:
    own = min(inputs.own_share, WHOLE - share)
    advice = advise(dataclasses.replace(inputs, rented_share=share, own_share=own))
    return WhatIf(share // 100, advice.verdict, advice.margin_micros)


def _cards_of_kind(cards: QuerySet[Card], kind: KindAdvice) -> QuerySet[Card]:
    middle = kind.key.memory_gib * 1024
    return cards.filter(
        gpu_model=kind.model,
        memory_mib__gt=middle - 512,
        memory_mib__lte=middle + 512,
        is_modified=kind.key.is_modified,
    )


def _listing_query(rows: Sequence[CardAdvice], kind: KindAdvice) -> str:
    """What the listing form is opened with: these cards at the price that the market pays."""
    query = QueryDict(mutable=True)
    query.setlist("card", [row.card.public_id for row in rows[:LISTED_AT_ONCE_MAX]])
    if kind.hour_price is not None:
        ask = max(kind.hour_price.price_micros // PRICE_TICK_MICROS, 1) * PRICE_TICK_MICROS
        query["ask"] = format_micros(ask, 3)
    return query.urlencode() if rows else ""


def _totals(kinds: Sequence[KindAdvice]) -> dict[str, Any]:
    uses = [kind.judgement.use for kind in kinds]
    seen, busy = sum(use.seen_seconds for use in uses), sum(use.leased_seconds for use in uses)
    known = [(use.utilisation_percent, use.seen_seconds) for use in uses if use.utilisation_percent is not None]
    weight = sum(seconds for _, seconds in known)
    return {
        "cards": sum(use.cards for use in uses),
        "utilisation_percent": round(sum(part * seconds for part, seconds in known) / weight) if weight else None,
        "idle_hours": sum(use.idle_seconds for use in uses) // 3600,
        "leased_percent": round(100 * busy / seen) if seen else None,
        "rent": sum(kind.rent_count for kind in kinds if kind.judgement.advice.verdict),
        "sell": sum(kind.sell_count for kind in kinds),
    }
