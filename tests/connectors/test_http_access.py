"""Who an HTTP source talks to, and who sees what: credentials, redirects, proxies, TLS."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import pickle
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_server import WebServer

import crossdock as xd
from crossdock.connectors.http import HTTPOptions, HTTPStore, addresses, client
from crossdock.connectors.http.addresses import is_private, redirected, target_of
from crossdock.errors import (
    ConnectionLostError,
    CredentialsError,
    UnsupportedError,
)
from crossdock.model import ByteRange
from crossdock.options import Secret
from crossdock.testing.suite.base import content


@pytest.fixture
def server():
    with WebServer() as server:
        yield server


@pytest.fixture
def store(server):
    return HTTPStore(server.url)


class TestCredentials:
    @pytest.mark.parametrize(
        ("options", "header"),
        [
            ({"token": "canary"}, "Bearer canary"),
            ({"user": "me", "password": "canary"}, "Basic " + base64.b64encode(b"me:canary").decode()),
            ({"headers": {"Authorization": "canary"}}, "canary"),
            ({"headers": '{"Authorization": "canary"}'}, "canary"),
        ],
    )
    def test_they_are_sent_and_do_not_show(self, server, options, header):
        server.keep("k", b"data")
        server.manners.needs = ("Authorization", header)
        source = xd.source(f"{server.url}/", **options)

        assert source("k").read() == b"data"
        assert b"canary" not in pickle.dumps(source)
        assert "canary" not in repr(source) + repr(source.store.inner.inner.options)
        assert pickle.loads(pickle.dumps(source))("k").read() == b"data"  # noqa: S301 - our own bytes

    def test_renewed_once_when_they_are_refused(self, server, tmp_path):
        """A token that was replaced meanwhile is read again, once."""
        server.keep("k", b"data")
        place = tmp_path / "token"
        place.write_text("old")
        store = HTTPStore(server.url, HTTPOptions(token=Secret(f"file:{place}")))
        server.manners.needs = ("Authorization", "Bearer old")
        store.stat("k")
        place.write_text("new")
        server.manners.needs = ("Authorization", "Bearer new")

        assert store.stat("k").size == 4
        server.manners.needs = ("Authorization", "Bearer other")
        before = len(server.seen)
        with pytest.raises(CredentialsError):
            store.read("k")
        assert len(server.seen) == before + 1

    def test_another_origin_never_sees_them(self, server):
        """Headers of the user stay with the URL's origin; ours (Range, If-Match) go along."""
        with WebServer() as other:
            other.keep("k", content(100))
            server.manners.redirects["/k"] = (302, f"{other.url}/k")
            options = HTTPOptions(token=Secret("canary"), headers={"Cookie": "canary", "X-Key": "canary"})
            read = bytes(HTTPStore(server.url, options).read("k", ByteRange(3, 9)).read_all())

            assert content(100)[3:9] == read
            assert server.seen[0][2]["authorization"] == "Bearer canary"
            assert other.seen[0][2]["range"] == "bytes=3-8"
            assert "canary" not in str(other.seen)
            assert other.seen[0][2]["user-agent"].startswith("crossdock/")
            assert other.seen[0][2]["host"] == f"127.0.0.1:{other.port}"


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_followed(self, server, store, status):
        server.keep("there?x=%2f", b"data")
        server.manners.redirects["/here"] = (status, "/there?x=%2f")

        assert store.stat("here").size == 4
        assert bytes(store.read("here").read_all()) == b"data"

    def test_not_for_ever(self, server, store):
        server.manners.redirects["/here"] = (302, "/here")

        with pytest.raises(UnsupportedError, match="more than 10 times"):
            store.read("here")
        assert len(server.seen) == 11

    def test_a_private_address_is_refused_to_a_public_server(self, server, store, monkeypatch):
        """Judged by addresses: here 127.0.0.1 counts as public, and ::1 does not. Nothing is sent there."""
        monkeypatch.setattr(client, "is_private", lambda address: address == "::1")
        server.manners.redirects["/here"] = (302, f"http://[::1]:{server.port}/secret")

        with pytest.raises(UnsupportedError, match=r"a private address; .*allow_private_redirects"):
            store.read("here")
        assert [target for _, target, _ in server.seen] == ["/here"]

    def test_a_private_server_may_redirect_to_private_ones(self, server, store):
        with WebServer() as other:
            other.keep("there", b"data")
            server.manners.redirects["/here"] = (302, f"{other.url}/there")

            assert bytes(store.read("here").read_all()) == b"data"

    def test_allowed_if_asked_for(self, server, monkeypatch):
        """The look-up says public first; the option makes the judgement of the second hop moot."""
        monkeypatch.setattr(client, "is_private", lambda _: pytest.fail("nothing is to be judged"))
        with WebServer() as other:
            other.keep("there", b"data")
            server.manners.redirects["/here"] = (302, f"{other.url}/there")
            store = HTTPStore(server.url, HTTPOptions(allow_private_redirects=True))

            assert bytes(store.read("here").read_all()) == b"data"

    def test_the_address_that_was_judged_is_the_one_connected_to(self, server, store, monkeypatch):
        """A name that answers otherwise the second time gains nothing: it is looked up once."""
        answers = ["127.0.0.1", "0.0.0.0"]  # noqa: S104 - never bound, never reached
        asked = []
        inner = addresses.socket.getaddrinfo

        def lying(host, port, *args, **kwargs):
            if host != "rebind.test":
                return inner(host, port, *args, **kwargs)
            asked.append(host)
            return inner(answers[min(len(asked), 2) - 1], port, *args, **kwargs)

        monkeypatch.setattr(addresses.socket, "getaddrinfo", lying)
        server.keep("there", b"data")
        server.manners.redirects["/here"] = (302, f"http://rebind.test:{server.port}/there")

        assert bytes(store.read("here").read_all()) == b"data"
        assert asked == ["rebind.test"]
        assert server.seen[-1][2]["host"] == f"rebind.test:{server.port}"

    @pytest.mark.parametrize(
        ("now", "location", "then"),
        [
            ("https://a/x/y?q", "/z%2f/w?r=%2f", "https://a/z%2f/w?r=%2f"),
            ("https://a/x/y?q", "https://B:8443/p#frag", "https://b:8443/p"),
            ("http://a/x", "//b/p", "http://b/p"),
            ("http://a/x", "https://b", "https://b/"),
            ("http://a/x", "https://b?q", "https://b/?q"),
            ("http://a/x", "/\u00e4 b", "http://a/%E4%20b"),
        ],
    )
    def test_where_it_leads(self, now, location, then):
        origin, _, path = now.partition("://")[2].partition("/")
        scheme = now.partition("://")[0]

        assert redirected(target_of(f"{scheme}://{origin}", f"/{path}"), location).url == then

    @pytest.mark.parametrize(
        "location",
        ["http://a/x", "ftp://a/x", "file:///etc/passwd", "https://me:pw@b/", "https://", None, ""],
    )
    def test_where_it_does_not_lead(self, location):
        with pytest.raises(UnsupportedError):
            redirected(target_of("https://a", "/x"), location)

    @pytest.mark.parametrize(
        ("address", "private"),
        [
            ("8.8.8.8", False),
            ("2606:4700::1", False),
            ("127.0.0.1", True),
            ("10.1.2.3", True),
            ("172.16.0.1", True),
            ("192.168.1.1", True),
            ("169.254.169.254", True),
            ("100.64.0.1", True),
            ("0.0.0.0", True),  # noqa: S104 - judged, not bound
            ("224.0.0.1", True),
            ("::1", True),
            ("::", True),
            ("fe80::1", True),
            ("fd00::1", True),
            ("::ffff:127.0.0.1", True),
            ("::ffff:8.8.8.8", False),
            ("64:ff9b::7f00:1", True),
            ("64:ff9b::808:808", False),
            ("2002:7f00:1::", True),
        ],
    )
    def test_what_is_private(self, address, private):
        assert private == is_private(address)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001"])
    def test_odd_spellings_of_loopback_are_seen_through(self, host):
        assert all(is_private(address) for address in addresses.resolve(host, 80))


class TestProxies:
    @pytest.fixture
    def proxied(self, server, monkeypatch):
        """The server as the environment's proxy for plain http; hosts behind it need not exist."""
        for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", server.url)
        return HTTPStore("http://public.test")

    def test_it_is_asked_for_the_whole_url(self, server, proxied):
        server.keep("a%2fb", b"data")

        assert bytes(proxied.read("a%2fb").read_all()) == b"data"
        assert server.seen[-1][2]["host"] == "public.test"

    @pytest.mark.parametrize("host", ["169.254.169.254", "localhost", "db.internal", "[::1]"])
    def test_it_is_not_asked_for_what_is_private_as_written(self, server, proxied, host):
        server.manners.redirects["/here"] = (302, f"http://{host}/secret")

        with pytest.raises(UnsupportedError, match="a private address"):
            proxied.read("here")
        assert len(server.seen) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, signed by itself; no other name, no address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def tls_server(certificate):
    """Answers 4 bytes to everything, over TLS."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"data")

        def log_message(self, *_):
            """Say nothing."""

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that refuses the certificate is what is tested."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Quiet(("127.0.0.1", 0), Answer) as served:
        served.socket = context.wrap_socket(served.socket, server_side=True)
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served.server_port
        finally:
            served.shutdown()
            thread.join()


class TestTLS:
    def test_a_certificate_nobody_trusts_is_refused(self, certificate):
        with tls_server(certificate) as port, pytest.raises(ConnectionLostError, match="TLS") as raised:
            HTTPStore(f"https://localhost:{port}").read("k")
        assert raised.value.retry is xd.errors.Retry.NEVER

    def test_trusted_and_for_this_name(self, certificate):
        """Connected to by address, checked by name: the right name passes, the bare address does not."""
        options = HTTPOptions(ca_bundle=str(certificate))
        with tls_server(certificate) as port:
            assert bytes(HTTPStore(f"https://localhost:{port}", options).read("k").read_all()) == b"data"
            with pytest.raises(ConnectionLostError, match="TLS"):
                HTTPStore(f"https://127.0.0.1:{port}", options).read("k")

    def test_a_host_is_looked_up_once(self, certificate, monkeypatch):
        """The address that was judged is the one connected to, with TLS as without."""
        asked, inner = [], addresses.socket.getaddrinfo

        def counted(host, *args, **kwargs):
            asked.append(host)
            return inner(host, *args, **kwargs)

        with tls_server(certificate) as port:
            monkeypatch.setattr(addresses.socket, "getaddrinfo", counted)
            HTTPStore(f"https://localhost:{port}", HTTPOptions(ca_bundle=str(certificate))).check()

        assert asked.count("localhost") == 1

    def test_a_redirect_back_to_plain_http_is_refused(self):
        with pytest.raises(UnsupportedError, match="from https to http"):
            redirected(target_of("https://a", "/x"), "http://a/x")
