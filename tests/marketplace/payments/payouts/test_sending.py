"""From approval over the bank's file to its statement: each payout ends once, and its money is in one place."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from xml.etree import ElementTree

import pytest

from marketplace.accounts.models import Membership, User
from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import StatementLine
from marketplace.payments.payouts.pain001 import NAMESPACE, Party, Transfer, payment_order
from marketplace.payments.payouts.services.asking import cancel_payout, request_payout
from marketplace.payments.payouts.services.sending import (
    approve_payout,
    fail_payout,
    file_bytes,
    order_payouts,
    reject_payout,
)
from marketplace.payments.wire.services.booking import agree, decide_line
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import NOON, make_person
from tests.marketplace.payments.payouts.conftest import earn, name_account
from tests.marketplace.payments.payouts.test_asking import ask, held
from tests.marketplace.payments.wire.statements import EURO, OURS, THEIRS, Paid, camt

TAGS = {"p": NAMESPACE}


def bring(*paid, opening=10_000):
    return import_statement(data=camt(paid, opening=opening * EURO), name="s.xml", now=NOON)


def platform(kind):
    return balance_micros(firm=None, kind=kind, currency="EUR", ref="wire")


def texts(xml, path):
    return [each.text for each in ElementTree.fromstring(xml).iterfind(path, TAGS)]


@pytest.fixture
def payout(alice, details):
    earn(alice, 5000)
    return ask(alice, 60)


@pytest.fixture
def sent(payout, operator):
    approve_payout(operator=operator, payout_id=payout.public_id, now=NOON)
    order_payouts(operator=operator, currency="EUR", key="file", now=NOON)
    payout.refresh_from_db()
    return payout


@pytest.mark.django_db
def test_an_approved_payout_is_in_the_file_and_the_statement_marks_it_paid(alice, sent, operator):
    assert (sent.state, sent.sent_at) == ("sent", NOON)
    xml = file_bytes(operator=operator, file_id=sent.file.public_id, now=NOON)
    assert xml == file_bytes(operator=operator, file_id=sent.file.public_id, now=NOON + timedelta(days=1))
    assert texts(xml, ".//p:EndToEndId") == [sent.reference]
    assert texts(xml, ".//p:CdtrAcct/p:Id/p:IBAN") == [THEIRS]
    with pytest.raises(Conflict, match="is sent"):
        cancel_payout(firm=alice, payout_id=sent.public_id, actor="x", now=NOON)
    bring(Paid(-60 * EURO, end_to_end=sent.reference))
    sent.refresh_from_db()
    assert (sent.state, StatementLine.objects.get().state) == ("paid", "booked")
    assert (held(alice, AccountKind.PAYOUT), held(alice, AccountKind.EARNINGS)) == (0, 4940 * EURO)
    assert (platform(AccountKind.CLEARING), platform(AccountKind.SUSPENSE)) == (60 * EURO, 0)
    trail = Event.objects.filter(subject=sent.public_id, firm_id=alice.pk).order_by("pk").values_list("type", flat=True)
    assert list(trail) == ["payout.created", "payout.sent", "payout.paid"]


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(["out", "back"])), ids="-".join)
def test_a_payout_that_comes_back_is_earnings_again_whatever_the_order(alice, sent, order):
    lines = {"out": Paid(-60 * EURO, end_to_end=sent.reference), "back": Paid(60 * EURO, f"RETURN {sent.reference}")}
    for name in order:
        bring(lines[name], opening={"out": 100, "back": 40}[name])
    sent.refresh_from_db()
    assert (sent.state, sent.reason) == ("failed", "returned_by_bank")
    assert {each.state for each in StatementLine.objects.all()} == {"booked"}
    assert (held(alice, AccountKind.EARNINGS), held(alice, AccountKind.PAYOUT)) == (5000 * EURO, 0)
    assert (platform(AccountKind.CLEARING), platform(AccountKind.SUSPENSE)) == (0, 0)


@pytest.mark.django_db
def test_a_debit_of_another_amount_or_for_a_failed_payout_waits(alice, sent, operator):
    bring(Paid(-61 * EURO, end_to_end=sent.reference))
    line = StatementLine.objects.get()
    assert (line.state, line.match) == ("waiting", "payout")
    sent.refresh_from_db()
    assert sent.state == "sent"
    assert (
        fail_payout(operator=operator, payout_id=sent.public_id, reason="rejected", key="f", now=NOON).state == "done"
    )
    bring(Paid(-60 * EURO, end_to_end=sent.reference))
    assert StatementLine.objects.filter(state="waiting").count() == 2
    assert held(alice, AccountKind.EARNINGS) == 5000 * EURO


@pytest.mark.django_db
def test_above_the_limit_two_operators_approve(alice, details, operator, other_operator):
    earn(alice, 5000)
    payout = ask(alice, 1001)
    approve_payout(operator=operator, payout_id=payout.public_id, now=NOON)
    with pytest.raises(Conflict) as refused:
        approve_payout(operator=operator, payout_id=payout.public_id, now=NOON)
    assert refused.value.code == "second_operator_needed"
    with pytest.raises(Conflict, match="nothing is approved"):
        order_payouts(operator=operator, currency="EUR", key="a", now=NOON)
    approve_payout(operator=other_operator, payout_id=payout.public_id, now=NOON)
    order_payouts(operator=operator, currency="EUR", key="a", now=NOON)
    payout.refresh_from_db()
    assert payout.state == "sent"
    actors = Event.objects.filter(type="payout.approved").order_by("pk").values_list("actor", "firm_id")
    assert list(actors) == [(operator.public_id, None), (other_operator.public_id, None)]


@pytest.mark.django_db
def test_above_the_limit_two_operators_say_that_the_bank_did_not_pay(alice, details, operator, other_operator):
    earn(alice, 5000)
    payout = ask(alice, 2000)
    for each in (operator, other_operator):
        approve_payout(operator=each, payout_id=payout.public_id, now=NOON)
    order_payouts(operator=operator, currency="EUR", key="a", now=NOON)
    booking = fail_payout(operator=operator, payout_id=payout.public_id, reason="refused", key="f", now=NOON)
    assert booking.state == "asked"
    with pytest.raises(Conflict, match="asked already"):
        fail_payout(operator=other_operator, payout_id=payout.public_id, reason="refused", key="g", now=NOON)
    with pytest.raises(NotAllowed):
        agree(operator=operator, booking_id=booking.public_id, now=NOON)
    agree(operator=other_operator, booking_id=booking.public_id, now=NOON)
    payout.refresh_from_db()
    assert (payout.state, payout.reason) == ("failed", "not_made_by_bank")
    assert held(alice, AccountKind.EARNINGS) == 5000 * EURO


@pytest.mark.django_db
def test_a_rejected_payout_gives_the_money_back(alice, payout, operator):
    with pytest.raises(Invalid):
        reject_payout(operator=operator, payout_id=payout.public_id, reason=" ", now=NOON)
    reject_payout(operator=operator, payout_id=payout.public_id, reason="name differs", now=NOON)
    assert held(alice, AccountKind.EARNINGS) == 5000 * EURO
    for act in (approve_payout, reject_payout):
        options = {"reason": "x"} if act is reject_payout else {}
        with pytest.raises(Conflict):
            act(operator=operator, payout_id=payout.public_id, now=NOON, **options)


@pytest.mark.django_db
def test_the_same_key_makes_one_file_and_a_payout_is_in_one(payout, operator):
    approve_payout(operator=operator, payout_id=payout.public_id, now=NOON)
    file = order_payouts(operator=operator, currency="EUR", key="a", now=NOON)
    assert order_payouts(operator=operator, currency="EUR", key="a", now=NOON) == file
    with pytest.raises(Conflict, match="nothing"):
        order_payouts(operator=operator, currency="EUR", key="b", now=NOON)


@pytest.mark.django_db
def test_money_that_goes_back_is_in_the_file_and_its_debit_ends_it(operator):
    bring(Paid(50 * EURO, "for somebody else", name="Stranger & Söhne", account=THEIRS))
    line = StatementLine.objects.get()
    decide_line(operator=operator, line_id=line.public_id, action="return", now=NOON, key="r")
    file = order_payouts(operator=operator, currency="EUR", key="a", now=NOON)
    line.refresh_from_db()
    xml = file_bytes(operator=operator, file_id=file.public_id, now=NOON)
    assert texts(xml, ".//p:EndToEndId") == [line.return_reference]
    assert texts(xml, ".//p:Cdtr/p:Nm") == ["Stranger + Sohne"]
    bring(Paid(-50 * EURO, end_to_end=line.return_reference))
    line.refresh_from_db()
    assert line.state == "returned"
    assert (platform(AccountKind.SUSPENSE), platform(AccountKind.CLEARING)) == (0, 0)


@pytest.mark.django_db
def test_only_operators_approve_order_and_fail(alice, sent):
    member = make_person(alice)
    calls = [
        lambda: approve_payout(operator=member, payout_id=sent.public_id, now=NOON),
        lambda: reject_payout(operator=member, payout_id=sent.public_id, reason="x", now=NOON),
        lambda: order_payouts(operator=member, currency="EUR", key="z", now=NOON),
        lambda: file_bytes(operator=member, file_id=sent.file.public_id, now=NOON),
        lambda: fail_payout(operator=member, payout_id=sent.public_id, reason="x", key="z", now=NOON),
    ]
    for call in calls:
        with pytest.raises(NotAllowed):
            call()


@pytest.mark.django_db
def test_a_payout_keeps_the_account_that_it_was_asked_for(alice, owner, payout, operator):
    name_account(alice, owner, account=OURS, at=NOON)
    approve_payout(operator=operator, payout_id=payout.public_id, now=NOON + timedelta(days=5))
    file = order_payouts(operator=operator, currency="EUR", key="a", now=NOON + timedelta(days=5))
    xml = file_bytes(operator=operator, file_id=file.public_id, now=NOON)
    assert texts(xml, ".//p:CdtrAcct/p:Id/p:IBAN") == [THEIRS]


def order(*transfers, currency="EUR"):
    return payment_order(
        message_id="pfl_1", made_at=NOON, execute_on=NOON.date(), sender=Party("Fallow GmbH", OURS, "COBADEFFXXX"),
        currency=currency, transfers=transfers,
    )  # fmt: skip


# The order of elements in pain.001.001.09; what is optional and not written is left out.
SEQUENCES = {
    "CstmrCdtTrfInitn": ["GrpHdr", "PmtInf"],
    "GrpHdr": ["MsgId", "CreDtTm", "NbOfTxs", "CtrlSum", "InitgPty"],
    "PmtInf": [
        "PmtInfId", "PmtMtd", "BtchBookg", "NbOfTxs", "CtrlSum", "PmtTpInf", "ReqdExctnDt", "Dbtr", "DbtrAcct",
        "DbtrAgt", "ChrgBr", "CdtTrfTxInf",
    ],
    "CdtTrfTxInf": ["PmtId", "Amt", "CdtrAgt", "Cdtr", "CdtrAcct", "RmtInf"],
    "PmtId": ["InstrId", "EndToEndId"],
    "DbtrAcct": ["Id", "Ccy"],
}  # fmt: skip


def test_the_order_to_the_bank_follows_the_standard():
    transfers = [
        Transfer("RF1", 1_230_000, Party("A_" + "ü" * 90, THEIRS), "t" * 200),
        Transfer("RF2", 2_000_000, Party("B", "0012345678", "CHASUS33"), "t"),
    ]
    xml = order(*transfers)
    root = ElementTree.fromstring(xml)
    assert root.tag == f"{{{NAMESPACE}}}Document"
    for parent, children in SEQUENCES.items():
        for found in root.iter(f"{{{NAMESPACE}}}{parent}"):
            names = [each.tag.rpartition("}")[2] for each in found]
            assert names == sorted(names, key=children.index), parent
            once = [name for name in names if name not in {"PmtInf", "CdtTrfTxInf"}]
            assert len(once) == len(set(once))
    assert texts(xml, ".//p:GrpHdr/p:NbOfTxs") == ["2"]
    assert texts(xml, ".//p:GrpHdr/p:CtrlSum") == ["3.23"]
    assert texts(xml, ".//p:PmtInf/p:CtrlSum") == ["1.23", "2.00"]
    assert texts(xml, ".//p:SvcLvl/p:Cd") == ["SEPA"]
    assert texts(xml, ".//p:ChrgBr") == ["SLEV", "SHAR"]
    assert texts(xml, ".//p:CdtrAcct/p:Id/p:Othr/p:Id") == ["0012345678"]
    assert texts(xml, ".//p:CdtrAgt/p:FinInstnId/p:BICFI") == ["CHASUS33"]
    assert all(len(name) <= 70 and name.isascii() for name in texts(xml, ".//p:Nm"))
    assert all(len(text) <= 140 for text in texts(xml, ".//p:Ustrd"))
    assert {each.get("Ccy") for each in root.iter(f"{{{NAMESPACE}}}InstdAmt")} == {"EUR"}


def test_what_is_no_euro_is_no_sepa_payment():
    assert texts(order(Transfer("RF1", 10_000, Party("A", THEIRS), "x"), currency="USD"), ".//p:SvcLvl/p:Cd") == []


def test_names_can_not_break_the_file():
    xml = order(Transfer("RF1", 10_000, Party("</Nm><Evil>&", THEIRS), "\x01 <x>"))
    assert texts(xml, ".//p:Cdtr/p:Nm") == ["./Nm..Evil.+"]


@pytest.mark.django_db
def test_an_operator_approves_no_payout_of_a_firm_of_their_own(alice, payout):
    insider = make_person(alice, "viewer", is_operator=True)
    with pytest.raises(NotAllowed) as refused:
        approve_payout(operator=insider, payout_id=payout.public_id, now=NOON)
    assert refused.value.code == "own_firm"


@pytest.mark.django_db
def test_who_asked_for_a_payout_or_named_its_account_does_not_approve_it_after_they_left(alice, operator):
    insider = make_person(alice, "owner", is_operator=True)
    name_account(alice, insider)
    earn(alice, 5000)
    theirs = ask(alice, 60)
    Membership.objects.filter(user=insider).delete()
    name_account(alice, make_person(alice), at=NOON - timedelta(days=5))
    asked, _ = request_payout(
        firm=alice, currency="EUR", amount_micros=70 * EURO, idempotency_key="b", now=NOON, actor=insider.public_id
    )
    for each in (theirs, asked):
        with pytest.raises(NotAllowed) as refused:
            approve_payout(operator=insider, payout_id=each.public_id, now=NOON)
        assert refused.value.code == "own_payout"
        approve_payout(operator=operator, payout_id=each.public_id, now=NOON)


@pytest.mark.django_db
def test_an_operator_rejects_no_payout_of_a_firm_of_their_own(alice, payout):
    insider = make_person(alice, "viewer", is_operator=True)
    with pytest.raises(NotAllowed):
        reject_payout(operator=insider, payout_id=payout.public_id, reason="x", now=NOON)


@pytest.mark.django_db
@pytest.mark.parametrize("gone", ["is_operator", "is_active"])
def test_the_word_of_somebody_who_is_no_operator_any_more_does_not_count(
    alice, details, operator, other_operator, gone
):
    earn(alice, 5000)
    payout = ask(alice, 2000)
    for each in (operator, other_operator):
        approve_payout(operator=each, payout_id=payout.public_id, now=NOON)
    User.objects.filter(pk=other_operator.pk).update(**{gone: False})
    with pytest.raises(Conflict, match="nothing is approved"):
        order_payouts(operator=operator, currency="EUR", key="a", now=NOON)


@pytest.mark.django_db
def test_a_file_is_not_given_out_once_a_payment_of_it_has_failed(sent, operator):
    fail_payout(operator=operator, payout_id=sent.public_id, reason="lost", key="f", now=NOON)
    with pytest.raises(Conflict, match="may not go to the bank"):
        file_bytes(operator=operator, file_id=sent.file.public_id, now=NOON)


def test_coins_are_written_as_the_currency_has_them():
    xml = order(Transfer("RF1", 500_000_000, Party("A", THEIRS), "x"), currency="JPY")
    assert texts(xml, ".//p:InstdAmt") == ["500"]
    assert texts(xml, ".//p:GrpHdr/p:CtrlSum") == ["500"]


def test_letters_that_no_accent_comes_off_of_are_written_as_banks_do():
    xml = order(Transfer("RF1", 10_000, Party("Łódź Søren Æß", THEIRS), "x"))
    assert texts(xml, ".//p:Cdtr/p:Nm") == ["Lodz Soren AEss"]


def made_after_all(operator, key="m"):
    line = StatementLine.objects.latest("pk")
    return decide_line(operator=operator, line_id=line.public_id, action="payout_made", now=NOON, key=key)


@pytest.mark.django_db
def test_a_payout_that_the_bank_made_after_its_money_was_given_back_leaves_the_earnings_again(alice, sent, operator):
    fail_payout(operator=operator, payout_id=sent.public_id, reason="rejected", key="f", now=NOON)
    bring(Paid(-60 * EURO, end_to_end=sent.reference))
    assert held(alice, AccountKind.EARNINGS) == 5000 * EURO
    assert made_after_all(operator).state == "done"
    assert (held(alice, AccountKind.EARNINGS), platform(AccountKind.SUSPENSE)) == (4940 * EURO, 0)
    assert StatementLine.objects.get().state == "booked"
    assert Event.objects.filter(firm_id=alice.pk, type="payout.made_after_all", subject=sent.public_id).count() == 1
    with pytest.raises(Conflict):
        made_after_all(operator, "again")


@pytest.mark.django_db
def test_what_a_bank_took_beside_a_payout_is_the_platforms_cost(alice, sent, operator):
    bring(Paid(-61 * EURO - 500_000, end_to_end=sent.reference))
    made_after_all(operator)
    sent.refresh_from_db()
    assert sent.state == "paid"
    assert (held(alice, AccountKind.EARNINGS), held(alice, AccountKind.PAYOUT)) == (4940 * EURO, 0)
    assert (platform(AccountKind.GATEWAY_FEE), platform(AccountKind.SUSPENSE)) == (-1_500_000, 0)


@pytest.mark.django_db
def test_only_what_is_a_payout_of_ours_is_one(alice, sent, operator):
    bring(Paid(-5 * EURO, "fee"))
    with pytest.raises(Invalid, match="no payout"):
        made_after_all(operator)
    bring(Paid(-61 * EURO, end_to_end=sent.reference, reference="2"))
    with pytest.raises(NotAllowed):
        made_after_all(make_person(alice, "viewer", is_operator=True))
    assert {each.state for each in StatementLine.objects.all()} == {"waiting"}


@pytest.mark.django_db
def test_what_a_firm_has_not_got_any_more_is_not_taken(alice, sent, operator):
    fail_payout(operator=operator, payout_id=sent.public_id, reason="rejected", key="f", now=NOON)
    for number in range(2):
        ask(alice, 2500, key=f"all-{number}")
    bring(Paid(-60 * EURO, end_to_end=sent.reference))
    with pytest.raises(Conflict, match="not enough money"):
        made_after_all(operator)
    assert StatementLine.objects.get().state == "waiting"
