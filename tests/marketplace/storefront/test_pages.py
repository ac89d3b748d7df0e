"""Every page answers to whom it should, and to nobody else."""

import pytest
from django.urls import reverse

from nodes.models import Node

pytestmark = pytest.mark.django_db

PUBLIC = ("home", "offers", "cards", "sign-in", "sign-up")
OF_A_FIRM = (
    "orders", "leases", "fleet", "enrol", "listings", "listing-new", "wallet", "statement", "members", "keys",
    "sales", "card-bids", "card-listings", "card-listing-new", "advisor",
    "invitations", "password",
)  # fmt: skip


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture
def buyer(client, scene):
    client.force_login(scene.buyer)
    return client


@pytest.fixture
def seller(client, scene):
    client.force_login(scene.seller)
    return client


@pytest.mark.parametrize("name", PUBLIC)
def test_anybody_sees_the_public_pages(client, scene, name):
    response = client.get(url(name))
    assert response.status_code == 200
    assert b"<h1" in response.content


@pytest.mark.parametrize("name", OF_A_FIRM)
def test_the_pages_of_a_firm_ask_strangers_to_sign_in(client, name):
    response = client.get(url(name))
    assert response.status_code == 302
    assert response["Location"].startswith(url("sign-in"))


@pytest.mark.parametrize("name", OF_A_FIRM)
@pytest.mark.parametrize("who", ["buyer", "seller"])
def test_members_see_the_pages_of_their_firm(client, scene, who, name):
    client.force_login(getattr(scene, who))
    assert client.get(url(name)).status_code == 200


def test_the_style_page_is_for_those_who_work_on_the_pages(client, settings):
    assert client.get(url("style")).status_code == 404
    settings.DEBUG = True
    assert client.get(url("style"), {"name": ""}).status_code == 200


def test_an_unknown_page_is_a_page_and_carries_the_policy(client, db):
    response = client.get("/there/is/nothing/")
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()
    assert "script-src 'self'" in response["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("basis_points", "shown"),
    [(None, b"no record yet"), (10_000, b">100 % of leases"), (9_857, b"98.5 %"), (9_801, b">98 %")],
)
def test_offers_say_how_many_leases_their_host_kept(client, scene, basis_points, shown):
    Node.objects.update(reliability_basis_points=basis_points)
    assert shown in client.get(url("offers")).content
    kept = client.get(url("offers") + "?kept=99").content
    assert (b"Without the leases kept" in kept) == (basis_points != 10_000)


class Unread:
    """A body that nobody may look into."""

    def read(self, *_):
        raise AssertionError("the body was read")

    readline = read


@pytest.mark.parametrize("is_form", [True, False])
def test_a_page_refuses_what_is_too_long_before_it_reads_it(buyer, is_form):
    kind = "multipart/form-data; boundary=x" if is_form else "application/x-www-form-urlencoded"
    said = {"wsgi.input": Unread(), "CONTENT_LENGTH": str((16 if is_form else 1) * 2**20 + 1)}
    answer = buyer.generic("POST", url("wallet"), b"", content_type=kind, **said)
    assert answer.status_code == 413
    assert b"can&#x27;t be sent in one go" in answer.content or b"can't be sent in one go" in answer.content
    assert "Content-Security-Policy" in answer.headers
