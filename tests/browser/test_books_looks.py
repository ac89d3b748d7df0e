"""The books with something in them, on every page, light and dark, on a desk and on a phone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from marketplace.books.issuing import issue_month
from marketplace.books.models import Document
from marketplace.books.months import last_month, month_of
from marketplace.books.services import close_books, issue_credit_note
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.periods import ask_to_reopen
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from tests.browser.visitor import Visitor
from tests.factories import make_person
from tests.storefront import Scene

pytestmark = pytest.mark.browser
LONG = "half an hour was slow and the container could not be reached from outside for most of it"


@dataclass
class Books:
    """A fee invoice, a purchase invoice and the credit note about the first; a month that is asked for again."""

    scene: Scene
    fee: Document
    purchase: Document
    note: Document


@pytest.fixture
def books(scene) -> Books:
    now = scene.market.clock.now()
    _charge(scene, 123_457, now)
    issue_month(since=month_of(now), now=now)
    fee, purchase = Document.objects.order_by("kind")
    note = issue_credit_note(
        operator=scene.operator, document_id=fee.public_id, amount_micros=fee.total_micros // 3, reason=LONG, key="k",
        now=now,
    )  # fmt: skip
    closed = last_month(month_of(now))
    close_books(operator=scene.operator, until=closed, now=now)
    ask_to_reopen(operator=make_person(is_operator=True), until=last_month(closed), reason=LONG, now=now)
    return Books(scene, fee, purchase, note)


def _charge(scene, micros, now):
    """An hour of the scene's lease, with a fee of 5 %."""
    lease, fee = scene.lease, micros // 20
    escrow = account_for(firm=lease.buyer, kind=AccountKind.ESCROW, currency="USD", ref=lease.order.public_id)
    earnings = account_for(firm=lease.seller, kind=AccountKind.EARNINGS, currency="USD")
    platform = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD")
    legs = [Leg(escrow, -micros), Leg(earnings, micros - fee), Leg(platform, fee)]
    for part in range(3):
        post(ref=f"looks:{part}", code=Code.SETTLEMENT, legs=legs, subject=lease.public_id, now=now)


def pages_of(books):
    """Who → name → path."""
    line = f"/books/line/?code=settlement&subject={books.scene.lease.public_id}&currency=USD"
    documents = {"fee": books.fee, "purchase": books.purchase, "note": books.note}
    operators = {name: f"/operator/books/documents/{each.public_id}/" for name, each in documents.items()}
    own = {name: f"/books/documents/{each.public_id}/" for name, each in documents.items()}
    everybodys = {
        "books": "/books/",
        "books-by-day": "/books/?fold=day",
        "line": line,
        "documents": "/books/documents/",
    }
    return {
        "alice": everybodys | own,
        "bob": everybodys | {"purchase": own["purchase"]},
        "operator": {"operator-books": "/operator/books/"} | operators,
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_books_are_clean_and_accessible(chromium, live_server, books, axe_source, theme, width):
    wrong = []
    for who, pages in pages_of(books).items():
        visitor = Visitor(chromium, live_server.url, theme=theme, width=width)
        visitor.sign_in(f"{who}@fallow.example")
        for name, path in pages.items():
            visitor.open(path)
            visitor.picture(f"{who}-{name}")
            wrong += [f"{who} {name}: {each}" for each in visitor.accessibility(axe_source)]
            wrong += [f"{who} {name}: cut off: {each}" for each in visitor.cut_off()]
            if visitor.overflow() > 0:
                wrong.append(f"{who} {name}: {visitor.overflow()} px too wide")
        wrong += visitor.troubles
        visitor.close()
    assert wrong == []
