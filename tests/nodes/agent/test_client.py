"""The client against real sockets on loopback."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from nacl.signing import SigningKey, VerifyKey

from nodes.agent.client import Backoff, Client, Refused, Route, Unreachable
from nodes.agent.link import Link, enrol
from nodes.agent.protocol import (
    ENROL_PATH,
    INVENTORY_PATH,
    NODE_HEADER,
    REPORTS_PATH,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    EnrolRequest,
    Inventory,
    ProtocolError,
    decode,
    encode,
    signing_input,
)
from tests.nodes.agent.conftest import NODE, reply

INVENTORY = Inventory(hostname="h", agent_version="1", runtime="none", cards=[])
KEY = SigningKey(b"k" * 32)


@pytest.fixture
def client(server):
    opened = Client(server.url, Route(), timeout=5)
    yield opened
    opened.close()


@pytest.fixture
def link(enrolment):
    opened = Link(enrolment, KEY, Route())
    yield opened
    opened.close()


def test_it_keeps_one_connection(client, server):
    for _ in range(3):
        client.post("/x", b"{}", {})
    assert len(server.connections) == 1


def test_it_opens_another_when_the_server_closed_an_idle_one(client, server):
    server.hang_up_after_answer = True
    for _ in range(3):
        client.post("/x", b"{}", {})
    assert len(server.requests) == len(server.connections) == 3


def test_an_answer_other_than_well_is_refused_with_its_detail(client, server):
    server.answers["/x"] = (429, {"Retry-After": "7"}, b'{"detail": "slow down"}')
    with pytest.raises(Refused, match="slow down") as caught:
        client.post("/x", b"{}", {})
    assert (caught.value.status, caught.value.retry_after, caught.value.is_final) == (429, 7.0, False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("Wed, 21 Oct 2026 07:28:00 GMT", None), ("999999", 600.0), ("-1", None)]
)
def test_nobody_can_send_a_node_to_sleep_for_a_day(client, server, text, seconds):
    server.answers["/x"] = (503, {"Retry-After": text}, b"")
    with pytest.raises(Refused) as caught:
        client.post("/x", b"{}", {})
    assert caught.value.retry_after == seconds


def test_a_server_that_is_not_there_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable):
        Client(f"http://127.0.0.1:{port}", Route(), timeout=2).post("/x", b"", {})


def test_it_asks_a_proxy_to_connect_and_trusts_it_with_nothing():
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer():
            connection, _ = proxy.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        route = Route(proxy_url=f"http://me:secret@127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(Unreachable, match="407"):
            Client("https://fallow.example", route, timeout=5).post("/x", b"body", {"Authorization": "Bearer b"})
        thread.join(5)
    assert heard[0].startswith(b"CONNECT fallow.example:443")
    assert base64.b64encode(b"me:secret") in heard[0]
    assert b"Bearer" not in heard[0]


@pytest.fixture
def private_server(tmp_path, server):
    """The server behind TLS with a certificate that only `ca.pem` vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, ca = tmp_path / "key.pem", tmp_path / "ca.pem"
    make = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *name, "-keyout", str(key), "-out", str(ca)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    server.wrap(context)
    return server.url.replace("http:", "https:"), ca


def test_a_private_authority_is_trusted_when_the_owner_names_it(private_server, server):
    url, ca = private_server
    opened = Client(url, Route(ca_file=ca), timeout=5)
    opened.post("/x", b"body", {})
    opened.close()
    assert server.bodies("/x") == [b"body"]


def test_a_certificate_that_nobody_vouches_for_gets_no_request(private_server, server):
    url, _ = private_server
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        Client(url, Route(), timeout=5).post("/x", b"body", {"Authorization": "Bearer b"})
    assert server.requests == []


def test_the_backoff_grows_with_full_jitter_to_a_minute_and_starts_again():
    limits = []
    backoff = Backoff(lambda low, high: limits.append((low, high)) or high)
    waits = [backoff.failed() for _ in range(6)]
    assert waits == [6, 12, 24, 48, 60, 60]
    assert {low for low, _ in limits} == {3}
    backoff.succeeded()
    assert backoff.failed() == 6
    assert backoff.failed(retry_after=100) == 105


def test_reports_carry_the_bearer_and_no_signature(link, server):
    server.answers[REPORTS_PATH] = reply()
    link.send_reports([])
    ((_, headers, _),) = server.requests
    assert headers["Authorization"] == "Bearer fal_node_x"
    assert SIGNATURE_HEADER not in headers


def test_the_inventory_is_signed_over_method_path_node_time_and_body(link, server):
    link.send_inventory(INVENTORY)
    ((path, headers, body),) = server.requests
    text = signing_input(method="POST", path=path, node=NODE, ts_ms=int(headers[TIMESTAMP_HEADER]), body=body)
    assert (path, headers[NODE_HEADER]) == (INVENTORY_PATH, NODE)
    VerifyKey(bytes(KEY.verify_key)).verify(text, base64.b64decode(headers[SIGNATURE_HEADER]))


def test_enrolment_proves_the_key_over_the_token(server, enrolment):
    server.answers[ENROL_PATH] = (201, {}, encode(enrolment))
    assert enrol(server.url, "fal_enrol_t", KEY, INVENTORY, Route()) == enrolment
    request = decode(EnrolRequest, server.bodies(ENROL_PATH)[0])
    VerifyKey(base64.b64decode(request.public_key)).verify(b"fal_enrol_t", base64.b64decode(request.proof))


def test_a_reply_of_another_shape_is_a_protocol_error(link, server):
    server.answers[REPORTS_PATH] = (202, {}, b"<html>")
    with pytest.raises(ProtocolError):
        link.send_reports([])
