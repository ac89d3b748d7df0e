"""A passport's page, its sheet and its file: who sees what."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from marketplace.accounts.roles import Role
from marketplace.catalogue.models import GpuModel
from marketplace.storefront.passports import FINDINGS
from nodes.models import Card, IdentityConflict
from nodes.passport_key import passport_key, short_code
from nodes.passports.severity import Code
from nodes.passports.verify import check_file, is_genuine
from tests.factories import NOON, make_firm, make_person
from tests.nodes.passports.measuring import UUID, Measurer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]


@pytest.fixture
def host():
    return Measurer(NOON)


HELD_BACK = "its identity changed, or the host that has it is in quarantine"


def url(name, passport):
    return reverse(f"storefront:{name}", args=[passport.public_id])


def test_everybody_sees_what_it_proves_and_nobody_the_uuid(client, host):
    passport = host.measure(NOON, ("tests.soak.reasons", ["hw_thermal_slowdown"]))
    shown = client.get(url("passport", passport)).content.decode()
    for words in ("F2", "slow down for heat", short_code(UUID), "What it does not prove", "data:image/svg+xml"):
        assert words in shown, words
    assert "fill%3D%27%23fff%27" in shown  # a code on a dark page is read by no camera
    assert UUID not in shown and "temperature max c" not in shown
    client.force_login(make_person(make_firm(), Role.OWNER))
    assert UUID not in client.get(url("passport", passport)).content.decode()


def test_its_owner_sees_the_evidence_and_finds_it_from_the_fleet(client, host):
    passport = host.measure(NOON, ("tests.soak.reasons", ["hw_thermal_slowdown"]))
    client.force_login(make_person(host.node.firm, Role.OWNER))
    shown = client.get(url("passport", passport)).content.decode()
    assert UUID in shown and "temperature max c 71" in shown
    assert url("passport", passport) in client.get(reverse("storefront:fleet")).content.decode()


def test_who_has_the_card_now_does_not_see_how_its_former_owner_calls_his_hosts(client, host):
    passport, buyer = host.measure(NOON), make_firm()
    client.force_login(make_person(host.node.firm, Role.OWNER))
    assert host.node.name in client.get(url("passport", passport)).content.decode()
    Card.objects.update(firm=buyer)
    client.force_login(make_person(buyer, Role.OWNER))
    shown = client.get(url("passport", passport)).content.decode()
    assert UUID in shown and host.node.name not in shown


def test_the_file_is_whole_for_its_owner_and_genuine_for_both(client, host):
    passport = host.measure(NOON)
    key = bytes(passport_key().verify_key)
    public = json.loads(client.get(url("passport-file", passport)).content)
    client.force_login(make_person(host.node.firm, Role.VIEWER))
    whole = json.loads(client.get(url("passport-file", passport)).content)
    assert "body" not in public and whole["body"]["views"]["nvml"]["uuid"] == UUID
    assert all(is_genuine(check_file(file, key, now=NOON)) for file in (public, whole))


def test_the_sheet_is_a_pdf_without_the_uuid(client, host):
    for change in (("tests.gemm", {"skipped": "no ☃ runtime"}), ("role", "seller")):
        answer = client.get(url("passport-pdf", host.measure(NOON, change)))
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
        assert answer.content.startswith(b"%PDF-") and UUID.encode() not in answer.content


@pytest.mark.parametrize("words", ["lang " * 2000, "x" * 10_000, "\u202e\x1b[2J" * 300, "Гарантия ☃ 保证 " * 50])
def test_what_a_host_writes_of_a_test_is_no_advertisement(client, host, words):
    skipped = {name: {"skipped": words} for name in ("memory_truth", "copy_bandwidth", "gemm", "pcie_link", "soak")}
    passport = host.measure(NOON, ("tests", skipped))
    shown = client.get(url("passport", passport)).content.decode()
    assert words.strip() not in shown and "\x1b" not in shown and "\u202e" not in shown
    assert "did not run" in shown
    client.force_login(make_person(host.node.firm, Role.OWNER))
    owners = client.get(url("passport", passport)).content.decode()
    assert "did not run: " in owners and words.strip() not in owners and "\u202e" not in owners
    sheet = client.get(url("passport-pdf", passport)).content
    assert sheet.count(b"/Type /Page\n") == 1


def test_a_long_name_in_another_script_fits_the_sheet(client, host):
    passport = host.measure(NOON)
    GpuModel.objects.filter(pk=passport.card.gpu_model_id).update(marketing_name="Графический процессор 显卡 " * 4)
    answer = client.get(url("passport-pdf", passport))
    assert answer.status_code == 200 and answer.content.count(b"/Type /Page\n") == 1


def test_a_stranger_who_names_its_uuid_leaves_nothing_on_a_passports_page(client, host):
    passport = host.measure(NOON)
    Measurer(NOON)
    assert IdentityConflict.objects.get().card == passport.card
    shown = client.get(url("passport", passport)).content.decode()
    assert HELD_BACK not in shown and "two places" not in shown


def test_old_superseded_and_blocked_passports_say_so(client, host, frozen):
    first, _ = host.measure(NOON), host.measure(NOON)
    assert "measured again since" in client.get(url("passport", first)).content.decode()
    host.report(NOON, serial="1")
    host.report(NOON, serial="2")
    assert Card.objects.get().tier == "declared"
    assert HELD_BACK in client.get(url("passport", first)).content.decode()
    frozen.advance(15 * 24 * 3600)
    assert "has expired" in client.get(url("passport", first)).content.decode()


def test_a_passport_that_there_is_not_is_a_404(client, db):
    for name in ("passport", "passport-pdf", "passport-file"):
        assert client.get(reverse(f"storefront:{name}", args=["pas_0"])).status_code == 404


def test_every_finding_has_its_words():
    assert set(FINDINGS) == set(Code)
