"""The operator's bank account, through its pages."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.wire.models import BankFile, ManualBooking, StatementLine
from tests.factories import make_person
from tests.marketplace.payments.wire.statements import EURO, OURS, Paid, camt

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture(autouse=True)
def _bank(settings):
    settings.WIRE_IBAN, settings.TWO_PERSON_LIMITS = OURS, {"USD": 1000 * EURO}


@pytest.fixture
def operator(client, scene):
    client.force_login(scene.operator)
    return client


def upload(client, data, name="nov.xml"):
    return client.post(url("statement-import"), {"file": SimpleUploadedFile(name, data)}, follow=True).content.decode()


def usd(*paid, **options):
    return camt(paid, currency="USD", **options)


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def test_a_file_is_uploaded_and_what_is_exact_is_in_the_wallet(operator, scene):
    before = in_wallet(scene.market.bob)
    data = usd(Paid(250 * EURO, scene.deposit.reference), Paid(40 * EURO, "unnamed", name="Stranger Ltd"))
    assert "nov.xml: 2 entries, 2 of them new." in upload(operator, data)
    assert "imported before" in upload(operator, data)
    assert in_wallet(scene.market.bob) - before == 250 * EURO
    shown = operator.get(url("operator-bank")).content.decode()
    assert "bank and ledger both say" in shown
    assert "Stranger Ltd" in shown
    assert "1 waiting" in operator.get(url("operator")).content.decode()


def test_a_bad_file_says_which_entry(operator):
    assert "entry 1" in upload(operator, usd(Paid(EURO), Paid(2 * EURO)).replace(b">1.00<", b">one<"))
    assert "at most 5 MiB" in upload(operator, b"<" + b" " * (5 * 1024 * 1024 + 1))
    assert "Choose a file" in operator.post(url("statement-import"), follow=True).content.decode()
    assert not BankFile.objects.exists()


def test_a_line_is_decided_on_its_page(operator, scene):
    upload(operator, usd(Paid(40 * EURO, "unnamed")))
    page = url("bank-line", StatementLine.objects.get().public_id)
    before = in_wallet(scene.market.bob)
    assert operator.post(page, {"key": "a", "action": "deposit", "deposit_reference": "RF00"}).status_code == 422
    assert operator.post(page, {"key": "a", "action": "difference"}).status_code == 422
    answer = operator.post(page, {"key": "b", "action": "firm", "firm_id": scene.market.bob.public_id})
    assert answer.url == url("operator-bank")
    assert in_wallet(scene.market.bob) - before == 40 * EURO
    assert "Say what it is" not in operator.get(page).content.decode()


def test_the_page_is_red_while_bank_and_ledger_differ_and_two_operators_settle_it(operator, client, scene):
    upload(operator, usd(Paid(EURO, "x"), opening=5000 * EURO))
    shown = operator.get(url("operator-bank")).content.decode()
    assert "do not say the same" in shown
    assert "do not say the same" in operator.get(url("operator")).content.decode()
    answer = {"currency": "USD", "reason": "opening", "key": "k"}
    stale = operator.post(url("difference-book"), answer | {"micros": "1"}, follow=True).content.decode()
    assert "another one by now" in stale
    operator.post(url("difference-book"), answer | {"micros": str(5000 * EURO)})
    booking = ManualBooking.objects.get()
    decide = url("booking-decide", booking.public_id)
    own = operator.post(decide, {"answer": "agree"}, follow=True).content.decode()
    assert "Another operator must agree" in own
    client.force_login(make_person(is_operator=True))
    client.post(decide, {"answer": "agree"})
    assert "bank and ledger both say" in client.get(url("operator-bank")).content.decode()


def test_the_banks_pages_exist_for_operators_alone(client, scene, operator):
    upload(operator, usd(Paid(5000 * EURO, "x")))
    line = StatementLine.objects.get().public_id
    operator.post(url("bank-line", line), {"key": "a", "action": "own"})
    booking = ManualBooking.objects.get().public_id
    client.force_login(scene.seller)
    posts = [url("statement-import"), url("difference-book"), url("booking-decide", booking), url("bank-line", line)]
    assert {client.post(path).status_code for path in posts} == {404}
    assert {client.get(path).status_code for path in (url("operator-bank"), url("bank-line", line))} == {404}
    assert ManualBooking.objects.get().state == "asked"
    for name in ("bank-line", "booking-decide"):
        client.force_login(scene.operator)
        assert client.post(url(name, "none")).status_code in {302, 404}


def test_money_that_goes_back_can_be_kept(operator):
    upload(operator, usd(Paid(40 * EURO, "unnamed")))
    line = StatementLine.objects.get().public_id
    operator.post(url("bank-line", line), {"key": "a", "action": "return"})
    assert "Keep it after all" in operator.get(url("bank-line", line)).content.decode()
    operator.post(url("bank-line-keep", line))
    assert StatementLine.objects.get().state == "waiting"


def test_what_can_not_be_stored_is_refused_in_words(operator, scene):
    bad = "a\0b"
    calls = [
        lambda: operator.post(url("payouts-order"), {"currency": "U\0", "key": "k"}),
        lambda: operator.post(url("payouts-order"), {"currency": "USD", "key": bad}),
        lambda: operator.post(url("seller-refund"), {"deposit": "d", "seller": bad, "amount": "1", "key": "k"}),
        lambda: operator.get(url("bank-line", bad)),
        lambda: operator.post(url("payout-file", bad)),
        lambda: operator.post(url("evidence-send", bad), {"words": bad, "key": "k"}),
    ]
    for number, call in enumerate(calls):
        answer = call()
        assert answer.status_code in {302, 400, 404}, number


def test_a_statement_of_no_currency_is_empty(client, scene):
    client.force_login(scene.buyer)
    assert client.get(url("statement"), {"currency": "U\0D"}).status_code == 400


def test_a_debit_that_names_a_payout_may_be_one_all_the_same(operator):
    upload(operator, usd(Paid(-5 * EURO, "fee"), opening=5 * EURO))
    page = url("bank-line", StatementLine.objects.get().public_id)
    assert "made all the same" not in operator.get(page).content.decode()
    StatementLine.objects.update(match="payout")
    assert "made all the same" in operator.get(page).content.decode()
    assert operator.post(page, {"key": "a", "action": "payout_made"}).status_code == 422


def test_a_payout_of_stripes_is_offered_where_there_is_stripe(operator, settings):
    upload(operator, usd(Paid(40 * EURO, "unnamed")))
    page = url("bank-line", StatementLine.objects.get().public_id)
    assert "A payout of Stripe" not in operator.get(page).content.decode()
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    assert "A payout of Stripe" in operator.get(page).content.decode()
