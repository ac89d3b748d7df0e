"""Passports on their way into the log: what is refused, what is recorded, and what anyone can check of it."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from nacl.signing import SigningKey

from marketplace.common.errors import Conflict, DomainError, Invalid, NotAllowed, NotFound, TooMany
from marketplace.events.models import Event
from marketplace.sales.models import Lab
from nodes.agent.passport import BODY_PREFIX, ChallengeRequest, SignedChallenge
from nodes.agent.protocol import CARD_FIELDS, Health
from nodes.models import Card, CardTransfer, Claim, IdentityChange, Node, Passport
from nodes.passport_key import passport_key, passport_public_key, short_code
from nodes.passports.verify import check_file, is_genuine, main
from nodes.selectors import is_blocked, latest_passport
from nodes.serializers import passport_file
from nodes.services.measuring import PASSPORTS_PER_DAY
from nodes.services.passports import issue_challenge, record_passport
from nodes.states import ClaimKind, NodeState
from tests.factories import NOON
from tests.nodes.builders import HEALTHY, heard
from tests.nodes.passports.measuring import UUID, Measurer

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[3]
SOON = NOON + timedelta(minutes=5)


@pytest.fixture
def host():
    return Measurer(NOON - timedelta(days=3))


def refused(host, post, now=SOON):
    with pytest.raises(DomainError) as caught:
        record_passport(node=host.node, post=post, now=now)
    return caught.value.code


def test_an_honest_card_gets_a_grade_a_tier_and_a_chain(host):
    first, second = host.measure(NOON), host.measure(SOON, role="buyer", subject="sale_1")
    assert (first.seq, first.prev_sha256, first.tier, first.function_grade) == (1, "", "measured", "F1")
    assert (second.seq, second.prev_sha256, second.findings) == (2, first.sha256, [])
    card = Card.objects.get()
    assert card.tier == "measured"
    event = Event.objects.filter(type="passport.recorded").last()
    assert (event.firm_id, event.subject) == (host.node.firm_id, second.public_id)
    assert latest_passport(card, now=SOON) == second
    assert latest_passport(card, role="seller", now=SOON) == first
    assert latest_passport(card, role="buyer", subject="sale_2", now=SOON) is None
    assert latest_passport(card, now=SOON + timedelta(days=15)) is None


def test_a_passport_is_good_once(host):
    post = host.answer(host.challenge(NOON))
    passport = record_passport(node=host.node, post=post, now=SOON)
    with pytest.raises(Conflict, match=passport.public_id):
        record_passport(node=host.node, post=post, now=SOON)
    assert refused(host, post) == "passport_replayed"


def test_passports_come_in_the_order_of_their_challenges(host):
    older, newer = host.challenge(NOON), host.challenge(NOON)
    record_passport(node=host.node, post=host.answer(newer), now=SOON)
    assert refused(host, host.answer(older)) == "passport_out_of_order"


def test_a_challenge_expires(host):
    post = host.answer(host.challenge(NOON))
    assert refused(host, post, now=NOON + timedelta(minutes=31)) == "passport_expired"


FORGERIES = [
    "body",
    "signature",
    "challenge",
    "own challenge",
    "other key",
    "other uuid",
    "nonce",
    "seq",
    "role",
    "node",
]


@pytest.mark.parametrize("what", FORGERIES)
def test_what_is_forged_is_refused(host, what):
    challenge = host.challenge(NOON)
    post = host.answer(challenge)
    changes = {
        "other uuid": ("views.nvml.uuid", "GPU-0"),
        "nonce": ("nonce", "00" * 32),
        "seq": ("seq", 2),
        "role": ("role", "lab"),
        "node": ("agent.node", "node_0"),
        "other key": ("agent.public_key", "AAAA"),
    }
    if what in changes:
        post = host.answer(challenge, changes[what])
    elif what == "body":
        post = dataclasses.replace(post, body=post.body.replace('"F', '"f').replace("seller", "seLLer"))
    elif what == "signature":
        other = Measurer(NOON, uuid="GPU-00000000-0000-4000-8000-00000000000a")
        post = dataclasses.replace(post, signature=other.signed(json.loads(post.body), challenge).signature)
    elif what == "challenge":
        payload = challenge.payload.replace('"seq":1', '"seq":2')
        post = dataclasses.replace(post, challenge=SignedChallenge(payload, challenge.signature))
    else:
        signature = SigningKey.generate().sign(challenge.payload.encode()).signature.hex()
        post = dataclasses.replace(post, challenge=SignedChallenge(challenge.payload, signature))
    assert refused(host, post) == "passport_forged"
    assert not Passport.objects.exists()


def test_a_challenge_is_for_the_node_that_asked(host):
    other = Measurer(NOON, uuid="GPU-00000000-0000-4000-8000-00000000000a")
    assert refused(other, other.answer(host.challenge(NOON))) == "passport_forged"
    with pytest.raises(NotFound):
        issue_challenge(node=other.node, request=ChallengeRequest(UUID, "seller"), now=NOON)


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[]", '{"a":1.5}', "x" * 70_000, '{"a":"\\u0000"}'])
def test_what_is_no_canonical_json_is_refused(host, text):
    challenge = host.challenge(NOON)
    post = host.signed({}, challenge)
    signature = base64.b64encode(host.key.sign(BODY_PREFIX + text.encode()).signature).decode()
    assert refused(host, dataclasses.replace(post, body=text, signature=signature)) == "bad_passport"


@pytest.mark.parametrize("role", ["owner", ""])
def test_a_challenge_has_one_of_three_roles(host, role):
    with pytest.raises(Invalid):
        host.challenge(NOON, role)


def test_a_leased_card_is_not_measured(host):
    period = DateTimeTZRange(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    Claim.objects.create(card=Card.objects.get(), period=period, kind=ClaimKind.LEASE, holder="lse_1")
    with pytest.raises(Conflict):
        host.challenge(NOON)


def test_no_renter_works_while_a_card_is_tested(host):
    post = host.answer(host.challenge(NOON))
    period = DateTimeTZRange(NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    Claim.objects.create(card=Card.objects.get(), period=period, kind=ClaimKind.LEASE, holder="lse_1")
    assert refused(host, post) == "card_leased"


def test_only_a_lab_measures_as_a_lab(host):
    with pytest.raises(NotAllowed):
        host.challenge(NOON, "lab", "sale_1")
    lab = Lab.objects.create(firm=host.node.firm, country="DE", address="Halle 1")
    sent = {"to_firm": host.node.firm, "holder": "sale_1", "since_at": NOON}
    transfer = CardTransfer.objects.create(card=Card.objects.get(), **sent)
    assert host.measure(NOON, role="lab", subject="sale_1").function_grade == "F0"
    for subject in ("", "sale_2"):
        with pytest.raises(NotAllowed):  # a card of its own that it would like to sell
            host.challenge(NOON, "lab", subject)
    CardTransfer.objects.filter(pk=transfer.pk).update(ended_at=NOON)
    with pytest.raises(NotAllowed):
        host.challenge(NOON, "lab", "sale_1")
    CardTransfer.objects.filter(pk=transfer.pk).update(ended_at=None)
    lab.is_active = False
    lab.save()
    with pytest.raises(NotAllowed):
        host.challenge(NOON, "lab", "sale_1")


def test_a_card_that_was_taken_out_is_not_measured_where_it_was(host):
    post = host.answer(host.challenge(NOON))
    host.report(NOON, has_card=False)
    assert Card.objects.get().node == host.node
    assert refused(host, post) == "not_found"
    with pytest.raises(NotFound):
        host.challenge(NOON)


def test_a_node_that_nobody_believes_gets_no_passport_and_its_cards_are_not_sold(host):
    post = host.answer(host.challenge(NOON))
    assert not is_blocked(Card.objects.get())
    Node.objects.update(state=NodeState.QUARANTINED)
    host.node.refresh_from_db()
    assert refused(host, post) == "node_quarantined"
    with pytest.raises(Conflict, match="quarantine"):
        host.challenge(NOON)
    assert is_blocked(Card.objects.get())


@pytest.mark.parametrize("uuid", ["GPU-\0", "GPU-\ud800", "", "x" * 5000])
def test_a_uuid_that_none_can_be_is_no_card(host, uuid):
    host.uuid = uuid
    with pytest.raises(NotFound):
        host.challenge(NOON)


def test_a_log_that_is_never_cut_is_not_filled_by_one_host(host):
    for number in range(PASSPORTS_PER_DAY):
        host.measure(NOON + timedelta(minutes=number))
    with pytest.raises(TooMany):
        host.challenge(NOON + timedelta(hours=2))
    assert host.challenge(NOON + timedelta(days=2))


def test_tests_can_not_have_taken_longer_than_the_nonce_was_out(host, settings):
    post = host.answer(host.challenge(NOON), ("tests.soak.elapsed_ms", 300_001))
    assert refused(host, post) == "passport_too_fast"
    settings.SIMULATED_CARDS_COUNT = True
    assert record_passport(node=host.node, post=post, now=SOON)


def test_a_simulator_that_pretends_to_be_an_h100_is_no_card_outside_a_demonstration(settings):
    host = Measurer(NOON, slug="h100-sxm5-80gb")
    h100 = {"pci_device_id": "10de:2330", "memory_total_mib": 81559, "compute_capability": "9.0"}
    host.report(NOON, name="NVIDIA H100 80GB HBM3", **h100)
    passport = host.measure(NOON, ("agent.simulated", True))
    assert (passport.findings[0]["code"], passport.function_grade) == ("simulated", "FX")
    assert Card.objects.get().tier == "declared"
    settings.SIMULATED_CARDS_COUNT = True
    passport = host.measure(SOON, ("agent.simulated", True))
    assert {each["code"]: each["severity"] for each in passport.findings}["simulated"] == "note"
    assert passport.function_grade == "F1"


def test_what_the_inventory_says_is_one_of_the_views(host):
    passport = host.measure(NOON, ("views.nvml.pci_subsystem_id", "1462:5110"), ("views.pci.pci_subsystem_id", None))
    assert passport.findings[0]["code"] == "views_disagree"
    assert passport.findings[0]["evidence"]["inventory"] == "1043:889a"


@pytest.mark.parametrize("listed_mib", [49140, 12282])
def test_the_memory_that_is_for_sale_is_the_memory_that_was_measured(host, listed_mib):
    """A listing shows the inventory's memory, the buyer's card is compared with the passport's."""
    host.report(NOON, memory_total_mib=listed_mib)
    passport = host.measure(NOON)
    found = {each["code"]: each["evidence"] for each in passport.findings}
    assert found["views_disagree"] == {"field": "memory_total_mib", "nvml": 24564, "inventory": listed_mib}
    assert (passport.function_grade, Card.objects.get().tier) == ("FX", "declared")


def test_ecc_that_was_switched_since_the_inventory_is_no_lie(settings):
    host = Measurer(NOON, slug="rtx-a6000")
    a6000 = {"name": "NVIDIA RTX A6000", "pci_device_id": "10de:2230", "compute_capability": "8.6"}
    host.report(NOON, memory_total_mib=49140, ecc_enabled=False, **a6000)
    changes = [("views.nvml.memory_total_mib", 46068), ("views.nvml.ecc_enabled", True),
               ("views.cuda.memory_total_mib", 45700), ("tests.memory_truth.covered_mib", 43000)]  # fmt: skip
    assert "views_disagree" not in {each["code"] for each in host.measure(NOON, *changes).findings}


def test_a_passport_from_before_a_card_changed_sells_it_no_more(host):
    card = Card.objects.get()
    before = host.measure(NOON, role="seller")
    assert latest_passport(card, role="seller", now=SOON) == before
    host.report(SOON, vbios="95.02.18.00.77")
    IdentityChange.objects.update(accepted_at=SOON)
    assert latest_passport(card, role="seller", now=SOON) is None
    assert latest_passport(card, now=SOON) == before
    after = host.measure(SOON + timedelta(minutes=9), ("views.nvml.vbios", "95.02.18.00.77"),
                         ("views.driver.vbios", "95.02.18.00.77"))  # fmt: skip
    assert after.function_grade == "F1"
    assert latest_passport(card, role="seller", now=SOON) == after


def test_a_fault_takes_the_tier_of_a_card_that_was_attested_too(host):
    Card.objects.update(tier="attested")
    host.measure(NOON)
    assert Card.objects.get().tier == "attested"
    host.measure(NOON, ("tests.soak.xids", [79]))
    assert Card.objects.get().tier == "declared"


def test_a_fault_takes_the_tier_away_and_tests_that_did_not_run_do_not(host):
    host.measure(NOON)
    host.measure(NOON, ("tests.gemm", {"skipped": "no CUDA"}))
    assert Card.objects.get().tier == "measured"
    assert host.measure(NOON, ("tests.soak.xids", [79])).function_grade == "F3"
    assert Card.objects.get().tier == "declared"


def test_nobody_changes_or_deletes_a_passport(host):
    host.measure(NOON)
    for statement in (
        "UPDATE nodes_passport SET function_grade = 'F0'",
        "UPDATE nodes_passport SET body = body",
        "DELETE FROM nodes_passport",
        "TRUNCATE nodes_passport CASCADE",
        "UPDATE nodes_conflictevidence SET tier = 'measured'",
        "DELETE FROM nodes_conflictevidence",
        "TRUNCATE nodes_conflictevidence",
    ):
        with pytest.raises((IntegrityError, ProgrammingError)), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_history_is_the_markets_own(host):
    card = Card.objects.get()
    period = DateTimeTZRange(NOON - timedelta(hours=30), NOON - timedelta(hours=5))
    Claim.objects.create(card=card, period=period, kind=ClaimKind.LEASE, holder="lse_1")
    row = dict(zip(CARD_FIELDS, HEALTHY, strict=True))
    hot = row | {"temperature_c": 83.0, "xid": 31.0, "health": float(Health.ROW_REMAP_PENDING)}
    heard(host.node, NOON - timedelta(hours=6), 1, [list(hot.values())])
    heard(host.node, NOON - timedelta(hours=4), 2, [list((row | {"power_w": float("nan")}).values())])
    history = host.measure(NOON).recorded["history"]
    assert (history["leases"], history["hours_leased"], history["reports_seen"]) == (1, 25, 2)
    assert (history["temperature_max_c"], history["xids"]) == (83, [31])
    assert (history["row_remap_pending"], history["row_remap_failed"]) == (True, False)
    later = host.measure(NOON + timedelta(days=20)).recorded["history"]
    assert (later["temperature_max_c"], later["reports_seen"], later["row_remap_pending"]) == (83, 0, True)
    assert later["since"] == history["since"]


def test_the_public_part_names_no_card_and_both_parts_are_genuine(host):
    passport = host.measure(NOON)
    key = bytes(passport_key().verify_key)
    public, whole = passport_file(passport, whole=False), passport_file(passport, whole=True)
    assert UUID not in json.dumps(public) and UUID in json.dumps(whole)
    assert public["record"]["card_code"] == short_code(UUID)
    for file in (public, whole):
        assert is_genuine(check_file(file, key, now=NOON))
    for path, value in (("record.function_grade", "F0"), ("body.views.nvml.memory_total_mib", 49140)):
        forged = json.loads(json.dumps(whole))
        place, name = path.rsplit(".", 1)
        at = forged
        for step in place.split("."):
            at = at[step]
        at[name] = value
        assert not is_genuine(check_file(forged, key, now=NOON))
    assert not is_genuine(check_file(whole, bytes(SigningKey.generate().verify_key), now=NOON))
    assert not is_genuine(check_file({}, key, now=NOON))


def test_anyone_can_check_it_offline(host, tmp_path):
    file = tmp_path / "card.gpupass.json"
    file.write_text(json.dumps(passport_file(host.measure(NOON), whole=True)))
    check = [sys.executable, "-m", "nodes.passports.verify", str(file), "--key"]

    def run(key):
        return subprocess.run([*check, key], cwd=ROOT, capture_output=True, text=True, check=False)

    done = run(passport_public_key())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "genuine: signed by node and market")
    assert "GeForce RTX 4090, 24564 MiB, grade F1, measured as seller" in done.stdout
    assert run("AAAA").returncode == 1
    assert run("*").returncode == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"record": {"expires_at": "\\ud800"}}',
        '{"record": {"seq": 1e400, "name": "\\ud800", "expires_at": "0001-01-01T00:00:00+14:00"}}',
        '{"record": {}, "body": {"nonce": "\\ud800", "tests": {"gemm": {"product_sha256": "\\ud800", "side": 1}}}}',
        "[" * 100_000,
        '{"record":' * 50_000,
        "[]",
        "",
        '{"record": ' + "9" * 5000 + "}",
        "\x1b[2J",
    ],
)
def test_no_file_breaks_the_offline_check(tmp_path, capsys, text):
    file = tmp_path / "card.gpupass.json"
    file.write_text(text)
    assert main([str(file), "--key", passport_public_key()]) in {1, 2}
    said = capsys.readouterr()
    (said.out + said.err).encode()


def test_a_file_that_says_a_thing_twice_is_not_believed(host, tmp_path, capsys):
    whole = passport_file(host.measure(NOON), whole=True)
    forged = json.dumps(whole).replace('"record":', '"record": {"function_grade": "F0"}, "record":', 1)
    file = tmp_path / "card.gpupass.json"
    file.write_text(forged)
    assert json.loads(forged) == whole
    assert main([str(file), "--key", passport_public_key()]) == 2
    assert "twice" in capsys.readouterr().err


def test_what_a_terminal_would_obey_is_not_printed(capsys, tmp_path):
    file = tmp_path / "card.gpupass.json"
    file.write_text(json.dumps({"record": {"expires_at": "\x1b[2J\x1b[32mgenuine", "name": "\x1b[2J"}}))
    assert main([str(file), "--key", passport_public_key()]) == 1
    assert "\x1b" not in capsys.readouterr().out
