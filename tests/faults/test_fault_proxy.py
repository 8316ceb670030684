"""``FaultProxy`` before servers that are not ours: the same rules, honest counters, and a copy that survives them."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import urllib.request
from urllib.parse import urlsplit

import pytest
from azurite import KEY, BackDoor, serve_azurite
from certificates import self_signed
from fault_kit import LARGE, MEDIUM, PART, SMALL, body_of
from rclone_server import KEY_ID, SECRET, serve_s3

import crossdock as xd
from crossdock.testing import EmbeddedGCS, FaultProxy, Rule


@pytest.fixture(scope="module")
def rclone(tmp_path_factory):
    """An S3 that checks signatures, so that a proxy that changed a request would be refused."""
    root = tmp_path_factory.mktemp("rclone")
    for bucket in ("from", "to"):
        (root / bucket).mkdir()
    with serve_s3(root) as url:
        yield url, root


@pytest.fixture(scope="module")
def azurite():
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()


@pytest.fixture
def gcs():
    with EmbeddedGCS() as server:
        yield server


def call(url, method, target, body=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        is_chunked = "Transfer-Encoding" in (headers or {})
        connection.request(method, target, body, headers or {}, encode_chunked=is_chunked)
        response = connection.getresponse()
        response.body = response.read()
        return response
    finally:
        connection.close()


def test_without_rules_everything_passes_as_it_is(gcs):
    """Raw targets, headers, empty and chunked bodies, HEAD."""
    key = "a//b%2Fc%20d"
    with FaultProxy(gcs.url, speaks="gcs") as proxy:
        call(proxy.url, "PUT", f"/b/{key}", b"12345", {"x-goog-meta-a": "b", "Content-Type": "text/x"})
        call(proxy.url, "PUT", "/b/chunked", iter([b"1", b"23"]), {"Transfer-Encoding": "chunked"})
        call(proxy.url, "PUT", "/b/empty", b"")
        direct, through = (call(url, "GET", f"/b/{key}") for url in (gcs.url, proxy.url))
        head = call(proxy.url, "HEAD", f"/b/{key}")

    assert {name: stored.data for name, stored in gcs.objects("b").items()} == {
        "a//b/c d": b"12345",
        "chunked": b"123",
        "empty": b"",
    }
    unlike = {"Date"}
    assert [pair for pair in direct.headers.items() if pair[0] not in unlike] == [
        pair for pair in through.headers.items() if pair[0] not in unlike
    ]
    assert (through.body, head.headers["Content-Length"], head.body) == (b"12345", "5", b"")
    assert proxy.faults.requests == {"object.insert": 3, "object.get": 1, "object.stat": 1}


RULES = {
    "status": (Rule(operation="object.get", status=503, name="x"), lambda answer: answer.status == 503),
    "truncate": (Rule(operation="object.get", truncate_at=3, name="x"), lambda answer: answer.body == b"012"),
    "flip": (Rule(operation="object.get", flip_bit=0, name="x"), lambda answer: answer.body == b"1123456789"),
    "range": (Rule(operation="object.get", ignore_range=True, name="x"), lambda answer: answer.status == 200),
    "header": (
        Rule(operation="object.get", answer_headers=(("Content-Range", "bytes 1-2/3"),), name="x"),
        lambda answer: answer.headers["Content-Range"] == "bytes 1-2/3",
    ),
}


@pytest.mark.parametrize("what", RULES)
def test_a_rule_means_the_same_in_the_server_and_before_it(gcs, what):
    """One vocabulary, applied in one place."""
    rule, shows = RULES[what]
    call(gcs.url, "PUT", "/b/x", b"0123456789")
    asked = {"Range": "bytes=0-9"}
    with FaultProxy(gcs.url, speaks="gcs") as proxy:
        proxy.faults.add(rule)
        before = call(proxy.url, "GET", "/b/x", headers=asked)
    gcs.faults.add(rule)
    within = call(gcs.url, "GET", "/b/x", headers=asked)

    assert shows(before)
    assert (within.status, within.body) == (before.status, before.body)
    assert proxy.faults.fired == gcs.faults.fired == {"x": 1}


def test_signed_requests_pass_and_a_transfer_survives_what_goes_wrong(rclone):
    """rclone's S3 at both ends: cut, stalled, thrown away, delivered twice, answered and not heard of."""
    url, root = rclone
    bodies = {"small": body_of(SMALL), "large": body_of(LARGE)}
    for key, body in bodies.items():
        (root / "from" / key).write_bytes(body)
    options = {"key": KEY_ID, "secret": SECRET, "region": "us-east-1", "no_progress_timeout_s": 2.0}
    rules = (
        Rule(operation="object.get", first=1, cut_at=-1, cut_with="rst", name="cut"),
        Rule(operation="object.get", skip=2, first=1, stall_at=1000, name="stall"),
        Rule(operation="object.list", first=1, status=503, name="busy"),
        Rule(operation="part.put", first=1, twice=True, name="twice"),
        Rule(operation="part.put", skip=1, first=1, cut_upload_at=-1, name="cut upload"),
        Rule(operation="object.insert", first=1, lose_ack=True, name="lost"),
    )
    with FaultProxy(url, speaks="s3") as proxy:
        for rule in rules:
            proxy.faults.add(rule)
        ends = {**options, "endpoint_url": proxy.url}
        for key in bodies:
            xd.copy(
                f"s3://from/{key}",
                f"s3://to/{key}",
                verify="v2",
                source_options=ends,
                sink_options={**ends, "part_size_bytes": PART},
            )
        listed = [info.key for page in xd.source("s3://from/", **ends).store.list() for info in page]

    assert proxy.faults.fired == dict.fromkeys((rule.name for rule in rules), 1)
    assert sorted(bodies) == listed
    assert bodies == {key: (root / "to" / key).read_bytes() for key in bodies}


def test_azurite_through_the_proxy(azurite):
    """Blocks that are lost, refused and flipped on their way."""
    container, body = azurite.make_container(), body_of(MEDIUM)
    place = urlsplit(azurite.url)
    rules = (
        Rule(operation="part.put", first=1, flip_upload_bit=99, name="flip"),
        Rule(operation="part.put", skip=2, first=1, lose_ack=True, name="lost part"),
        Rule(operation="upload.complete", first=1, lose_ack=True, name="lost"),
        Rule(operation="object.insert", first=1, status=503, name="busy"),
    )
    with FaultProxy(f"http://{place.netloc}", speaks="azure") as proxy:
        for rule in rules:
            proxy.faults.add(rule)
        sink = xd.sink(
            f"az://{container}/",
            account_name="devstoreaccount1",
            account_key=KEY,
            endpoint_url=f"{proxy.url}{place.path}",
            part_size_bytes=2**20,
            part_concurrency=1,
        )
        sink(body, key="large")
        sink(b"small", key="small")

    assert proxy.faults.fired == dict.fromkeys((rule.name for rule in rules), 1)
    assert (azurite.read(container, "large"), azurite.read(container, "small")) == (body, b"small")


def test_a_closed_port_opens_again_at_the_same_address(gcs):
    with FaultProxy(gcs.url, speaks="gcs") as proxy:
        url = proxy.url
        with proxy.refusing(), pytest.raises(ConnectionRefusedError):
            call(url, "GET", "/b")

        assert call(url, "GET", "/b").status == 200
        assert proxy.url == url


def test_an_unreachable_address_neither_accepts_nor_refuses(gcs):
    with FaultProxy(gcs.url) as proxy, proxy.unreachable() as url:
        place = urlsplit(url)
        with pytest.raises(TimeoutError):
            socket.create_connection((place.hostname, place.port), timeout=0.3)


def test_an_upstream_that_is_gone_is_a_bad_gateway():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with FaultProxy(f"http://127.0.0.1:{holder.getsockname()[1]}") as proxy:
            assert call(proxy.url, "GET", "/").status == 502


def test_tls_of_its_own(gcs, tmp_path):
    """Bodies pass in both directions once the certificate is trusted; a handshake broken off is counted."""
    tls, bundle = self_signed(tmp_path)
    body = os.urandom(MEDIUM)
    with FaultProxy(gcs.url, speaks="gcs", tls=tls) as proxy:
        trusting = ssl.create_default_context(cafile=bundle)
        asked = urllib.request.Request(f"{proxy.url}/b/x", data=body, method="PUT")
        urllib.request.urlopen(asked, timeout=10, context=trusting).close()
        with urllib.request.urlopen(f"{proxy.url}/b/x", timeout=10, context=trusting) as answer:
            read = answer.read()
        with pytest.raises(OSError, match="certificate verify failed"):
            urllib.request.urlopen(f"{proxy.url}/b/x", timeout=10)

    assert body == read == gcs.objects("b")["x"].data
    assert proxy.faults.fired == {"TLS refused": 1}


@pytest.mark.parametrize(
    "given",
    [
        {"upstream": "https://h"},
        {"upstream": "h:1"},
        {"upstream": "http://h:1/path"},
        {"upstream": "http://h", "speaks": "ftp"},
    ],
)
def test_what_it_cannot_stand_before_is_refused(given):
    with pytest.raises(ValueError, match=r"plain HTTP server|speaks is one of"):
        FaultProxy(**given)
