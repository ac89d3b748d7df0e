"""The facts in the database, cards in the catalogue, and its API."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from marketplace.catalogue import services
from marketplace.catalogue.models import GpuAlias, GpuModel
from marketplace.catalogue.recognition import Kind, Reason
from marketplace.catalogue.selectors import listed_models, slugs_for
from marketplace.catalogue.services import load_facts, recognise

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Card:
    name: str
    memory_total_mib: int
    pci_device_id: str | None = None


def test_a_second_load_changes_nothing() -> None:
    before = list(GpuModel.objects.order_by("pk").values_list()), list(GpuAlias.objects.order_by("pk").values_list())
    again = load_facts()
    after = list(GpuModel.objects.order_by("pk").values_list()), list(GpuAlias.objects.order_by("pk").values_list())
    assert (again.created, again.changed, again.withdrawn) == (0, 0, 0)
    assert again.models >= 120
    assert before == after


def test_a_load_mends_a_row_that_differs_and_withdraws_one_that_left() -> None:
    GpuModel.objects.filter(slug="rtx-4090").update(tdp_w=1, is_listed=False)
    GpuModel.objects.create(slug="gone", name="Gone", marketing_name="Gone", vendor="NVIDIA", memory_mib=1)
    GpuAlias.objects.filter(alias="A100").delete()
    loaded = load_facts()
    assert (loaded.changed, loaded.withdrawn) == (1, 1)
    model = GpuModel.objects.get(slug="rtx-4090")
    assert (model.tdp_w, model.is_listed) == (450, True)
    assert not GpuModel.objects.get(slug="gone").is_listed
    assert slugs_for("A100")[0] == "a100-sxm4-80gb"


def test_a_malformed_facts_file_changes_nothing_and_says_which_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (services.FACTS / "gpus.csv").read_text()
    (tmp_path / "gpus.csv").write_text(text.replace("10de:2684", "10de:26zz"))
    (tmp_path / "aliases.csv").write_text((services.FACTS / "aliases.csv").read_text())
    monkeypatch.setattr(services, "FACTS", tmp_path)
    with pytest.raises(CommandError, match=r"nothing was changed: line 33: .*10de:26zz"):
        call_command("load_catalogue")
    assert GpuModel.objects.get(slug="rtx-4090").pci_device_ids == ["10de:2684"]


def test_the_command_says_what_it_loaded() -> None:
    GpuAlias.objects.all().delete()
    GpuModel.objects.filter(slug="rtx-4090").delete()
    out = io.StringIO()
    call_command("load_catalogue", stdout=out)
    assert "153 models (1 new, 0 changed, 0 withdrawn)" in out.getvalue()


def test_a_rebuilt_card_has_the_row_of_its_base() -> None:
    model, found = recognise(Card("NVIDIA GeForce RTX 4090 D", 49140, "10de:2685"))
    assert (model.slug, found.kind) == ("rtx-4090-d", Kind.MODIFIED)
    assert found.reasons == (Reason.MEMORY_ABOVE_FACTORY,)


def test_another_name_of_a_driver_is_known() -> None:
    model, found = recognise(Card("NVIDIA GH200 120GB", 97871))
    assert (model.slug, found.kind) == ("gh200-96gb", Kind.FACTORY)


def test_an_unknown_card_gets_one_unlisted_row_however_often_it_comes() -> None:
    card = Card("NVIDIA GeForce GTX 1660 SUPER", 6144, "10de:21c4")
    first, found = recognise(card)
    second, _ = recognise(card)
    assert first == second
    assert (first.slug, first.vendor, first.memory_mib) == (
        "unlisted-nvidia-geforce-gtx-1660-super-6gb",
        "NVIDIA",
        6144,
    )
    assert found.kind is Kind.UNLISTED
    assert not listed_models({"slug": first.slug}).exists()
    assert load_facts().withdrawn == 0
    assert recognise(card)[0] == first


@pytest.mark.parametrize("name", ["", "\x00\x1b[31m", "x" * 5000, "\ud800", "显卡"])
@pytest.mark.parametrize("memory", [-5, 0, 2**62])
def test_no_name_and_no_size_of_a_host_is_an_error(name: str, memory: int) -> None:
    model, found = recognise(Card(name, memory, "zzzz"))
    assert model.slug.startswith("unlisted-")
    assert found.kind is Kind.UNLISTED


@pytest.mark.parametrize(
    ("text", "slugs"),
    [
        ("rtx-4090", ["rtx-4090"]),
        ("4090", ["rtx-4090"]),
        ("RTX 4090 D", ["rtx-4090-d"]),
        ("nvidia geforce rtx 4090", ["rtx-4090"]),
        ("rtx 3080", ["rtx-3080-10gb", "rtx-3080-12gb"]),
        ("V100M32", ["v100-sxm2-32gb"]),
        ("T4", ["t4"]),
        ("G2", []),
        ("", []),
    ],
)
def test_what_buyers_and_clusters_say_stands_for_slugs(text: str, slugs: list[str]) -> None:
    assert slugs_for(text) == slugs


def test_the_list_is_public_and_comes_in_pages(client: Client) -> None:
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        reply = client.get("/api/v1/gpu-models/", {"limit": 60} | ({"cursor": cursor} if cursor else {}))
        assert reply.status_code == 200
        seen += [row["slug"] for row in reply.json()["data"]]
        cursor = reply.json()["next_cursor"]
    assert len(seen) == len(set(seen)) == 153


def test_filters_narrow_the_list(client: Client) -> None:
    def slugs(**query: str | int) -> set[str]:
        return {row["slug"] for row in client.get("/api/v1/gpu-models/", {"limit": 200} | query).json()["data"]}

    assert slugs(vendor="amd", architecture="cdna3", memory_mib__gte=200_000) == {"mi325x-256gb"}
    assert slugs(q="H100 SXM") == {"h100-sxm5-80gb"}
    assert slugs(q="abacus") == set()
    assert "v100-sxm3-32gb" in slugs(form_factor="sxm3")


@pytest.mark.parametrize("query", [{"colour": "green"}, {"memory_mib__gte": "much"}, {"limit": 0}, {"cursor": "!"}])
def test_a_wrong_filter_is_a_problem(client: Client, query: dict[str, str]) -> None:
    reply = client.get("/api/v1/gpu-models/", query)
    assert reply.status_code == 400
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_one_model_shows_its_facts_and_leaves_the_unknown_empty(client: Client) -> None:
    shown = client.get("/api/v1/gpu-models/rtx-4090-d/").json()
    assert (shown["id"], shown["memory_mib"], shown["tpp"]) == ("rtx-4090-d", 24576, 4707)
    assert shown["fp16_dense_tflops"] == "294.20"
    assert client.get("/api/v1/gpu-models/mi350p/").json()["memory_mib"] is None


def test_an_unknown_model_is_not_found(client: Client) -> None:
    reply = client.get("/api/v1/gpu-models/rtx-9090/")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
