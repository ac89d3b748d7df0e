"""Every address with an object in it, and what to put there. A new route needs its line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import URLResolver, get_resolver

from marketplace.accounts.joining import set_member
from marketplace.accounts.models import Firm
from marketplace.accounts.services import create_api_key
from marketplace.compliance.models import ComplianceDecision
from marketplace.leases.models import Lease
from marketplace.payments.models import BankDetails, PaymentDispute, Payout, TopUpRule
from marketplace.payments.services import start_deposit
from marketplace.sales.models import CardPurchase
from nodes.services.enrolment import create_enrolment_token
from tests.cards import bid, draft, list_for_sale
from tests.factories import NOON, fee_invoice, fund, make_person
from tests.market import Market

METHODS = ("get", "post", "put", "patch", "delete")
# Open to everybody: what they name belongs to nobody.
PUBLIC_ROUTES = {
    "gpu-models/<slug:slug>/",
    "market/<slug:gpu>/trades/",
    "market/<slug:gpu>/depth/",
    "passports/<str:public_id>/",
    "market/<slug:gpu>/guide/",
}


@dataclass(frozen=True)
class Route:
    """An address below /api/v1/ and the methods it takes."""

    pattern: str
    methods: tuple[str, ...]

    @property
    def has_object(self) -> bool:
        return "<" in self.pattern

    def address(self, **names: str) -> str:
        """The address with the placeholders filled in."""
        return "/api/v1/" + re.sub(r"<\w+:(\w+)>", lambda found: names[found[1]], self.pattern)

    def documented(self) -> str:
        """The address as the document writes it."""
        return "/api/v1/" + re.sub(r"<\w+:(\w+)>", r"{\1}", self.pattern)


class World:
    """A leased card of Alice's, Bob's order, and everything else that a firm can have."""

    def __init__(self, clock: Any) -> None:
        market = Market(clock)
        self.alice, self.bob = market.alice, market.bob
        self.host = market.host()
        self.listing = market.list_cards(self.host)
        self.order_id = market.order().json()["id"]
        self.lease = Lease.objects.get()
        self.person = make_person(self.bob)
        invited = set_member(firm=self.bob, email=make_person().email, role="viewer", actor="test", now=NOON)
        self.invitation = invited.invitation
        self.key = create_api_key(firm=self.bob, name="x", scopes=["read"], now=NOON)[0]
        self.token = create_enrolment_token(
            firm=self.alice, name="t", uses=1, expires_at=NOON + timedelta(days=1), now=NOON
        )[0]
        self.card_listing = draft(self.host.cards[1:], now=NOON)
        on_sale = list_for_sale(market.host(count=1).cards, now=NOON, currency="EUR")
        fund(self.bob, 2000 * 10**6, "EUR")
        self.bid = bid(self.bob, self.host.cards[0], now=NOON, limit=10**6)
        self.sale = bid(self.bob, on_sale.lot.get().card, now=NOON, limit=1100 * 10**6, currency="EUR").sales.get()
        self.decision = ComplianceDecision.objects.filter(firm=self.bob).latest("pk")
        self.document = fee_invoice(self.bob)
        self.details = BankDetails.objects.create(
            firm=self.bob, holder="Bob", sealed_account=b"x", hint="DE…0000", created_by=self.person,
            created_at=NOON, usable_at=NOON + timedelta(days=3),
        )  # fmt: skip
        self.payout = Payout.objects.create(
            firm=self.bob, currency="USD", amount_micros=10_000, bank_details=self.details, reference="RF00",
            created_at=NOON,
        )  # fmt: skip
        self.deposit = start_deposit(
            firm=self.bob, currency="USD", amount_micros=10_000, idempotency_key="d", now=NOON
        )[0]
        self.rule = TopUpRule.objects.create(
            firm=self.bob, currency="USD", below_micros=10_000, amount_micros=10_000, created_at=NOON
        )
        self.payment_dispute = PaymentDispute.objects.create(
            deposit=self.deposit, object_id="du_1", amount_micros=10_000, held_micros=10_000, reason="fraudulent",
            state="won", opened_at=NOON,
        )  # fmt: skip
        self.purchase = CardPurchase.objects.create(
            firm=self.bob, actor="test", listing=self.card_listing, count=1, most_micros=10_000, ships_to="FR",
            address="x", deposit=self.deposit, created_at=NOON,
        )  # fmt: skip


def _bobs(**names: Callable[[World], str]) -> Callable[[World], tuple[Firm, dict[str, str]]]:
    return lambda world: (world.bob, {name: value(world) for name, value in names.items()})


def _alices(**names: Callable[[World], str]) -> Callable[[World], tuple[Firm, dict[str, str]]]:
    return lambda world: (world.alice, {name: value(world) for name, value in names.items()})


_MEMBER = _bobs(public_id=lambda world: world.person.public_id)
_INVITATION = _bobs(public_id=lambda world: world.invitation.public_id)
_KEY = _bobs(public_id=lambda world: world.key.public_id)
_DEPOSIT = _bobs(public_id=lambda world: world.deposit.public_id)
_RULE = _bobs(rule_id=lambda world: world.rule.public_id)
_DOCUMENT = _bobs(document_id=lambda world: world.document.public_id)
_PAYOUT = _bobs(payout_id=lambda world: world.payout.public_id)
_ORDER = _bobs(order_id=lambda world: world.order_id)
_LEASE = _bobs(lease_id=lambda world: world.lease.public_id)
_NODE = _alices(public_id=lambda world: world.host.node.public_id)
_BID = _bobs(bid_id=lambda world: world.bid.public_id)
_SALE = _bobs(sale_id=lambda world: world.sale.public_id)
_CARD_LISTING = _alices(listing_id=lambda world: world.card_listing.public_id)
_DECISION = _bobs(decision_id=lambda world: world.decision.public_id)
_LISTING = {"listing_id": lambda world: world.listing.public_id}

# route → the firm that may ask, and the names that fill the address
OBJECT_ROUTES: dict[str, Callable[[World], tuple[Firm, dict[str, str]]]] = {
    "members/<slug:public_id>/": _MEMBER,
    "member-invitations/<slug:public_id>/": _INVITATION,
    "invitations/<slug:public_id>/accept/": _INVITATION,
    "invitations/<slug:public_id>/decline/": _INVITATION,
    "api-keys/<slug:public_id>/": _KEY,
    "deposits/<slug:public_id>/": _DEPOSIT,
    "deposits/<slug:public_id>/cancel/": _DEPOSIT,
    "deposits/<slug:public_id>/confirm/": _DEPOSIT,
    "deposits/<slug:public_id>/refund/": _DEPOSIT,
    **dict.fromkeys(["top-up-rules/<str:rule_id>/", "top-up-rules/<str:rule_id>/stop/"], _RULE),
    "payment-disputes/<str:dispute_id>/": _bobs(dispute_id=lambda world: world.payment_dispute.public_id),
    "card-purchases/<str:purchase_id>/": _bobs(purchase_id=lambda world: world.purchase.public_id),
    "payouts/<str:payout_id>/": _PAYOUT,
    "payouts/<str:payout_id>/cancel/": _PAYOUT,
    "bank-details/<str:details_id>/withdraw/": _bobs(details_id=lambda world: world.details.public_id),
    **dict.fromkeys(["documents/<str:document_id>/", "documents/<str:document_id>/credit/"], _DOCUMENT),
    "orders/<str:order_id>/": _ORDER,
    "orders/<str:order_id>/cancel/": _ORDER,
    "leases/<str:lease_id>/": _LEASE,
    "leases/<str:lease_id>/end/": _LEASE,
    "leases/<str:lease_id>/logs/": _LEASE,
    "leases/<str:lease_id>/telemetry/": _LEASE,
    "leases/<str:lease_id>/usage/": _LEASE,
    "nodes/<str:public_id>/": _NODE,
    "nodes/<str:public_id>/retire/": _NODE,
    "nodes/<str:public_id>/prove/": _NODE,
    "nodes/<str:public_id>/telemetry/": _NODE,
    "nodes/enrolment-tokens/<str:public_id>/": _alices(public_id=lambda world: world.token.public_id),
    **dict.fromkeys(
        [
            "card-listings/<str:listing_id>/",
            *(
                f"card-listings/<str:listing_id>/{each}/"
                for each in ("photos", "open", "pause", "close", "quote", "buy", "buy-by-card")
            ),
        ],
        _CARD_LISTING,
    ),
    "card-bids/<str:bid_id>/": _BID,
    "card-bids/<str:bid_id>/cancel/": _BID,
    **dict.fromkeys(
        [
            "sales/<str:sale_id>/",
            *(
                f"sales/<str:sale_id>/{each}/"
                for each in (
                    *("ship", "receive", "accept", "dispute", "evidence", "resolve"),
                    *("question-address", "address"),
                )
            ),
        ],
        _SALE,
    ),
    "compliance-decisions/<str:decision_id>/": _DECISION,
    **dict.fromkeys(
        [
            "export-rules/decisions/<str:decision_id>/",
            *(f"export-rules/decisions/<str:decision_id>/{each}/" for each in ("rule", "documents")),
        ],
        _DECISION,
    ),
    "export-rules/firms/<str:firm_id>/names/": _bobs(firm_id=lambda world: world.bob.public_id),
    "cards/<str:card_id>/passport/": _alices(card_id=lambda world: world.host.cards[0].public_id),
    "capacity-listings/<str:listing_id>/": _alices(**_LISTING),
    "capacity-listings/<str:listing_id>/<str:action>/": _alices(action=lambda _: "pause", **_LISTING),
}

# For operators alone: a firm that the object is about is told so, for every other it does not exist.
OPERATOR_READS = {"export-rules/", "export-rules/decisions/", "export-rules/clearances/"} | {
    "export-rules/decisions/<str:decision_id>/"
}
SELLS = frozenset({"trade", "fleet"})
FREE: frozenset[str] = frozenset({"read"})
# (method, route) → one of these scopes is needed; none of them suffices for what only operators do
WRITES: dict[tuple[str, str], frozenset[str]] = {
    ("post", "members/"): frozenset({"admin"}),
    ("delete", "members/<slug:public_id>/"): frozenset({"admin"}),
    ("delete", "member-invitations/<slug:public_id>/"): frozenset({"admin"}),
    ("post", "invitations/<slug:public_id>/accept/"): FREE,
    ("post", "invitations/<slug:public_id>/decline/"): FREE,
    ("post", "api-keys/"): frozenset({"admin"}),
    ("delete", "api-keys/<slug:public_id>/"): frozenset({"admin"}),
    ("post", "deposits/"): frozenset({"finance"}),
    ("post", "deposits/<slug:public_id>/refund/"): frozenset({"finance"}),
    ("post", "seller-account/"): frozenset({"finance"}),
    ("post", "seller-account/link/"): frozenset({"finance"}),
    ("post", "deposits/<slug:public_id>/cancel/"): frozenset({"finance"}),
    ("post", "deposits/<slug:public_id>/confirm/"): frozenset(),
    ("post", "payouts/"): frozenset({"finance"}),
    ("post", "payouts/<str:payout_id>/cancel/"): frozenset({"finance"}),
    ("post", "bank-details/"): frozenset({"admin"}),
    ("post", "bank-details/<str:details_id>/withdraw/"): frozenset({"admin"}),
    ("post", "documents/<str:document_id>/credit/"): frozenset(),
    ("post", "orders/"): frozenset({"trade"}),
    ("post", "orders/preview/"): FREE,
    ("post", "orders/<str:order_id>/cancel/"): frozenset({"trade"}),
    ("post", "leases/<str:lease_id>/end/"): frozenset({"trade"}),
    ("post", "nodes/enrolment-tokens/"): frozenset({"fleet"}),
    ("delete", "nodes/enrolment-tokens/<str:public_id>/"): frozenset({"fleet"}),
    ("patch", "nodes/<str:public_id>/"): frozenset({"fleet"}),
    ("post", "nodes/<str:public_id>/retire/"): frozenset({"fleet"}),
    ("post", "nodes/<str:public_id>/prove/"): frozenset({"fleet"}),
    ("post", "card-listings/"): SELLS,
    ("patch", "card-listings/<str:listing_id>/"): SELLS,
    **{("post", f"card-listings/<str:listing_id>/{each}/"): SELLS for each in ("photos", "open", "pause", "close")},
    ("post", "card-listings/<str:listing_id>/quote/"): FREE,
    **{("post", f"card-listings/<str:listing_id>/{each}/"): frozenset({"trade"}) for each in ("buy", "buy-by-card")},
    ("post", "top-up-rules/"): frozenset({"finance"}),
    ("post", "top-up-rules/<str:rule_id>/stop/"): frozenset({"finance"}),
    ("post", "card-bids/"): frozenset({"trade"}),
    ("patch", "card-bids/<str:bid_id>/"): frozenset({"trade"}),
    ("post", "card-bids/<str:bid_id>/cancel/"): frozenset({"trade"}),
    **{("post", f"sales/<str:sale_id>/{each}/"): SELLS for each in ("ship", "receive", "evidence", "question-address")},
    **{("post", f"sales/<str:sale_id>/{each}/"): frozenset({"trade"}) for each in ("accept", "dispute", "address")},
    ("post", "sales/<str:sale_id>/resolve/"): frozenset(),
    **{("post", f"export-rules/decisions/<str:decision_id>/{each}/"): frozenset() for each in ("rule", "documents")},
    ("post", "export-rules/firms/<str:firm_id>/names/"): frozenset(),
    ("post", "export-rules/clearances/"): frozenset(),
    ("post", "passports/verify/"): FREE,
    ("post", "capacity-listings/"): frozenset({"trade", "fleet"}),
    ("patch", "capacity-listings/<str:listing_id>/"): frozenset({"trade", "fleet"}),
    ("post", "capacity-listings/<str:listing_id>/<str:action>/"): frozenset({"trade", "fleet"}),
}


def api_routes() -> list[Route]:
    """Every address below /api/v1/ that the resolver knows, without the document itself."""
    return [
        Route(pattern.removeprefix("api/v1/"), methods)
        for pattern, methods in _walk(get_resolver(), "")
        if pattern.startswith("api/v1/") and not pattern.endswith("openapi.json")
    ]


def _walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for each in resolver.url_patterns:
        pattern = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each, pattern)
        else:
            view = getattr(each.callback, "cls", None)
            yield pattern, tuple(method for method in METHODS if hasattr(view, method))
