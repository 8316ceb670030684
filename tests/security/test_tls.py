"""TLS is always verified: a certificate nobody vouches for, of another host or expired is refused, at once and in one line."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from azurite import ACCOUNT, KEY as ACCOUNT_KEY
from click.testing import CliRunner
from http_server import WebServer
from tls_front import DAY, NOW, certificate, tls_front

import crossdock as xd
from crossdock.cli.main import cli
from crossdock.connectors import layers
from crossdock.errors import CrossdockError, Retry
from crossdock.testing import EmbeddedGCS, EmbeddedS3, EmbeddedWebhook

CERTIFICATES = ("self-signed", "another host", "expired")


def made(kind, folder):
    """A certificate's files; that of another host and that which is expired are vouched for, to be refused for that alone."""
    folder.mkdir()
    if kind == "another host":
        return certificate(folder, host="elsewhere.example")
    return certificate(folder, until=NOW - DAY) if kind == "expired" else certificate(folder)


@dataclass
class Endpoint:
    """A store behind TLS: by which options it is reached at a URL."""

    place: str
    port: int
    options: dict
    path: str = ""
    prefix: str = ""

    def at(self, root):
        if self.place.startswith("https"):
            return f"{root}/", self.options
        return self.place, {**self.options, "endpoint_url": f"{root}{self.path}"}


@pytest.fixture
def s3():
    with EmbeddedS3(buckets=("bucket",)) as server:
        options = {"key": "access-key", "secret": "secret-key", "region": "us-east-1"}
        yield Endpoint("s3://bucket/", urlsplit(server.url).port, options)


@pytest.fixture
def gcs():
    with EmbeddedGCS(buckets=("bucket",)) as server:
        yield Endpoint("gs://bucket/", urlsplit(server.url).port, {"token": "a-token"})


@pytest.fixture
def azure(azurite):
    options = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY}
    port = urlsplit(azurite.url).port
    return Endpoint(f"az://{azurite.make_container()}/", port, options, path=f"/{ACCOUNT}")


@pytest.fixture
def http():
    with WebServer() as server:
        for key in ("plain", "odd//key"):
            server.keep(key, b"data")
        yield Endpoint("https", server.port, {"token": "canary-token-never-sent"})


@pytest.fixture(params=["s3", "gcs", "azure", "http"])
def endpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def trusting(files, monkeypatch):
    """Let everything in this process that asks the system trust a certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(files[0]))


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_wrong_certificate_is_refused_by_every_route(endpoint, kind, tmp_path, monkeypatch):
    """Small keys take another engine than odd ones; reads, writes and listings too. Nothing is sent, nothing retried."""
    files = made(kind, tmp_path / "tls")
    if kind != "self-signed":
        trusting(files, monkeypatch)
    with tls_front(endpoint.port, files) as front:
        url, options = endpoint.at(front.url)
        store = xd.source(url, **options).store
        acts = [
            lambda: store.read("plain"),
            lambda: store.read("odd//key"),
            lambda: store.stat("plain"),
            store.check,
        ]
        if store.capabilities.writable:
            acts += [
                lambda: store.put("plain", b"x"),
                lambda: store.put("odd//key", b"x"),
                lambda: store.begin("odd//key", part_size_bytes=5 << 20),
                lambda: [*store.list()],
                lambda: [*store.list_uploads()],
            ]
        errors = []
        for act in acts:
            with pytest.raises(CrossdockError) as raised:
                act()
            errors.append(raised.value)

    assert front.received == []
    assert len(acts) <= front.connections <= 2 * len(acts)  # not tried again
    assert {Retry.NEVER} == {error.retry for error in errors}
    for error in errors:
        assert "certificate" in str(error), str(error)
        assert len(str(error).splitlines()) == 1


def test_the_same_endpoint_is_used_once_its_certificate_is_trusted(endpoint, tmp_path, monkeypatch):
    """So that it was the certificate that was refused above, and not the server."""
    files = made("self-signed", tmp_path / "tls")
    trusting(files, monkeypatch)
    with tls_front(endpoint.port, files) as front:
        url, options = endpoint.at(front.url)
        store = xd.source(url, **options).store
        for key in ("plain", "odd//key"):
            if store.capabilities.writable:
                store.put(key, b"data")
            assert bytes(store.read(key).read_all()) == b"data"

    assert front.received


def test_the_command_line_says_so_in_one_line(endpoint, tmp_path):
    with tls_front(endpoint.port, made("self-signed", tmp_path / "tls")) as front:
        url, options = endpoint.at(front.url)
        words = ["cp", f"{url}plain", str(tmp_path / "out")]
        for name, value in options.items():
            words += ["--source-option", f"{name}={value}"]
        done = CliRunner().invoke(cli, words)

    assert done.exit_code not in (0, 1)
    assert len(done.stderr.splitlines()) == 1
    assert "certificate" in done.stderr
    assert front.received == []
    assert 1 <= front.connections <= 2


@contextlib.contextmanager
def ftp_over_tls(files, *, implicit):
    """As much of an FTP server as a login takes; yields its port and the commands that it was given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    listener = socket.create_server(("127.0.0.1", 0))
    commands, kept = [], []

    def serve(control):
        kept.append(control)
        control.settimeout(30)
        with contextlib.suppress(OSError):
            if implicit:
                control = context.wrap_socket(control, server_side=True)
                kept.append(control)
            control.sendall(b"220 ready\r\n")
            while line := _line(control):
                commands.append(line)
                word = line.partition(" ")[0]
                if word == "AUTH":
                    control.sendall(b"234 go on\r\n")
                    control = context.wrap_socket(control, server_side=True)
                    kept.append(control)
                    continue
                code = {"USER": b"331", "PASS": b"230", "MLST": b"550"}.get(word, b"200")
                control.sendall(code + b" so be it\r\n")
        control.close()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                serve(listener.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1], commands
    finally:
        for each in (listener, *kept):  # clients keep connections alive
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        listener.close()
        thread.join(30)


def _line(control):
    line = b""
    while not line.endswith(b"\n"):
        byte = control.recv(1)
        if not byte:
            return ""
        line += byte
    return line.decode().strip()


@pytest.mark.parametrize(
    "url", ["ftp://me@127.0.0.1:{port}/", "zip::ftp://me@127.0.0.1:{port}/x.zip!/"], ids=["ftp", "zip"]
)
@pytest.mark.parametrize("tls", [True, "tls"], ids=["explicit", "implicit"])
@pytest.mark.parametrize("kind", [*CERTIFICATES, "trusted"])
def test_ftp_over_tls_sends_no_password_to_a_wrong_certificate(url, tls, kind, tmp_path, monkeypatch):
    """ftplib verifies nothing unless it is told to; a trusted server is logged in to, which shows that the refusal was no accident."""
    files = certificate(tmp_path) if kind == "trusted" else made(kind, tmp_path / "tls")
    if kind != "self-signed":
        trusting(files, monkeypatch)
    with ftp_over_tls(files, implicit=tls == "tls") as (port, commands):
        options = {"tls": tls, "password": "canary", "timeout": 10}
        if url.startswith("zip"):
            options = {"ftp": options}
        elif tls == "tls":  # flat it is a bool
            options = {"password": "canary", "timeout": 10, "storage_options": {"tls": tls}}
        store = xd.source(url.format(port=port), **options).store
        with pytest.raises(CrossdockError) as raised:
            store.stat("absent")

    if kind == "trusted":
        assert {"USER me", "PASS canary", "PROT P"} <= {*commands}
        return
    assert "certificate is not trusted" in str(raised.value)
    assert [line for line in commands if not line.startswith("AUTH")] == []
    assert raised.value.retry is Retry.NEVER


def test_a_webhook_with_a_wrong_certificate_is_told_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    with (
        EmbeddedWebhook() as hook,
        tls_front(urlsplit(hook.url).port, made("self-signed", tmp_path / "tls")) as front,
    ):
        monkeypatch.setenv("HOOK", f"{front.url}/canary-path")
        xd.sink("memory://tls-from/")(b"1", key="a")
        with caplog.at_level(logging.WARNING, "crossdock.notify"):
            report = xd.migrate(
                "memory://tls-from/",
                "memory://tls-to/",
                run_dir=f"{tmp_path}/run",
                notify=xd.webhook("env:HOOK"),
            )

    assert (report.notifications_failed, hook.posted, front.received) == (1, [], [])
    assert "certificate" in caplog.text
    assert "canary-path" not in caplog.text


def test_no_source_file_turns_verification_off():
    """The words for that in every library we use do not occur in ours."""
    words = (
        "CERT_NONE",
        "verify=False",
        "check_hostname = False",
        "_create_unverified",
        "allow_invalid",
        "disable_warnings",
    )
    package = Path(xd.__file__).parent
    found = [
        f"{path.relative_to(package)}: {word}"
        for path in sorted(package.rglob("*.py"))
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]

    assert found == []
