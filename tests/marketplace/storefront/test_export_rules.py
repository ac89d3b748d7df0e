"""What the export rules hold is decided on the operator's page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from marketplace.catalogue.models import GpuModel
from marketplace.compliance.inquiry import Stage
from marketplace.compliance.models import SkuClearance
from marketplace.compliance.services import decide_sale, item_of
from tests.compliance import fresh_list
from tests.factories import make_firm, make_person

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture
def operator(client, frozen):
    fresh_list(frozen.now())
    client.force_login(make_person(is_operator=True))
    return client


def decide(frozen, buyer, slug="rtx-3090", *, is_modified=False):
    model = GpuModel.objects.get(slug=slug)
    memory = 49_140 if is_modified else model.memory_mib
    item = item_of(model, memory_mib=memory, is_modified=is_modified, as_rebuilt_for_datacentre=False)
    return decide_sale(
        seller=make_firm("Alice", "NL"), buyer=buyer, item=item, ships_from="NL", ships_to="DE",
        stage=Stage.ORDER, subject="sale_1", now=frozen.now(),
    )  # fmt: skip


def test_a_similar_name_waits_and_a_person_tells_them_apart(operator, frozen):
    buyer = make_firm("Grimshaw Tradings", "DE")
    assert decide(frozen, buyer).outcome == "hold"
    page = operator.get(url("export-rules")).content.decode()
    assert "GRIMSHAW TRADING FZE" in page and "similar-name" in page
    assert b"1 held" in operator.get(url("operator")).content
    body = {"entry": "SDN:90001", "same": "no", "reason": "a bakery in Kent"}
    operator.post(url("match-rule", buyer.public_id), body)
    assert decide(frozen, buyer).outcome == "allow"


def test_the_modified_card_of_the_story_is_held_until_its_sku_is_cleared(operator, frozen):
    buyer = make_firm("Bob", "DE")
    assert decide(frozen, buyer, "rtx-4090-d", is_modified=True).outcome == "hold"
    model = GpuModel.objects.get(slug="rtx-4090-d")
    body = {
        "gpu_model": model.pk, "memory_gib": 48, "is_modified": "on", "item_class": "p",
        "reference": "letter of 2026-11-01", "reason": "not for datacentres", "days": 180,
    }  # fmt: skip
    wrong = operator.post(url("sku-clear"), body | {"days": 0})
    assert wrong.status_code == 400
    assert "item-class-unknown" in wrong.content.decode()  # a slip in the form hides no case
    assert not SkuClearance.objects.exists()
    operator.post(url("sku-clear"), body)
    assert decide(frozen, buyer, "rtx-4090-d", is_modified=True).outcome == "allow"
    assert b"letter of 2026-11-01" in operator.get(url("export-rules")).content


def test_a_ruling_needs_a_reason_and_what_it_can_lift(operator, frozen):
    decision = decide(frozen, make_firm("Grimshaw Tradings", "DE"))
    path = url("hold-rule", decision.public_id)
    said = operator.post(path, {"outcome": "block", "reason": " "}, follow=True).content.decode()
    assert "1 to 1000 characters" in said
    operator.post(path, {"outcome": "block", "reason": "it is them"})
    assert "No case waits" in operator.get(url("export-rules")).content.decode()


def test_nobody_else_sees_it(client, frozen):
    client.force_login(make_person(make_firm()))
    assert client.get(url("export-rules")).status_code == 404
    assert client.post(url("sku-clear"), {}).status_code == 404
