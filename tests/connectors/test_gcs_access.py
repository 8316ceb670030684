"""How GCS is reached and as whom: options, credentials, and what the network's failures mean. No service needed."""

from __future__ import annotations

import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3.exceptions as transport
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crossdock.connectors.gcs import GCSOptions, GCSStore
from crossdock.connectors.gcs.credentials import Tokens
from crossdock.connectors.gcs.errors import Place, from_answer, from_network
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StalledError,
    StorageError,
    ThrottledError,
)
from crossdock.options import Secret, parse_options, public_options

PLACE = Place("put", "gs://b", "k")


@pytest.fixture(autouse=True)
def no_google_here(monkeypatch, tmp_path):
    """Neither credentials nor an emulator nor a metadata server of this machine are found."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")


def test_without_an_endpoint_it_is_google_with_default_credentials():
    options = GCSOptions()

    assert (options.root, options.anon, options.token) == ("https://storage.googleapis.com", None, None)


@pytest.mark.parametrize(
    ("given", "root", "anon"),
    [
        ("127.0.0.1:4443", "http://127.0.0.1:4443", True),
        ("http://localhost:4443/", "http://localhost:4443", True),
        ("https://[::1]:4443", "https://[::1]:4443", True),
        ("https://storage.example.com", "https://storage.example.com", None),
    ],
)
def test_only_a_loopback_endpoint_is_anonymous_without_asking(given, root, anon):
    options = parse_options(GCSOptions, {"endpoint_url": given})

    assert (options.root, options.anon) == (root, anon)


def test_the_emulator_of_the_environment_is_anonymous_wherever_it_is(monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "fake-gcs:4443")

    options = parse_options(GCSOptions, {})

    assert (options.root, options.anon) == ("http://fake-gcs:4443", True)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 - our own


def test_a_token_for_an_emulator_is_sent():
    assert Tokens(GCSOptions(endpoint_url="127.0.0.1:1", token="ya29.x"), "gs://b").bearer() == "ya29.x"


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint_url": "ftp://x"},
        {"endpoint_url": "http://x/path"},
        {"endpoint_url": "http://user:pass@x"},
        {"endpoint_url": "http://x:port"},
        {"token": "browser"},
        {"token": ""},
        {"token": "x", "anon": True},
        {"token": "anon", "anon": False},
        {"access": "everything"},
        {"user_project": "a b"},
        {"connect_timeout_s": 0},
        {"endpoint_ulr": "http://x"},
        {"token": "x", "bearer_token": "y"},
    ],
)
def test_options_without_meaning_are_refused(given):
    with pytest.raises(ConfigError):
        parse_options(GCSOptions, given)


@pytest.mark.parametrize("token", ["ya29.canary", '{"private_key": "canary"}', {"private_key": "canary"}])
def test_a_secret_never_shows(token):
    options = parse_options(GCSOptions, {"token": token})

    assert "canary" not in f"{options!r} {public_options(options)} {pickle.dumps(options)!r}"
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 - our own


@pytest.mark.parametrize("token", ["google_default", "cloud", "/etc/key.json", "~/key.json", "key.json"])
def test_words_and_paths_are_no_secrets_and_travel_as_they_are(token, monkeypatch):
    """A worker on another machine understands them: they are not turned into references to this process."""
    options = parse_options(GCSOptions, {"token": token})

    assert pickle.loads(pickle.dumps(options)).token == token  # noqa: S301 - our own


def test_object_stores_names_mean_the_same():
    assert parse_options(GCSOptions, {"google_service_account": "/k.json"}) == GCSOptions(token="/k.json")
    assert parse_options(GCSOptions, {"skip_signature": "true"}) == GCSOptions(anon=True)


def test_missing_credentials_are_told_in_seconds_and_name_what_was_looked_for():
    store = GCSStore("b", GCSOptions())
    began = time.monotonic()

    for verb in (store.check, lambda: store.read("k"), lambda: store.put("k", b"")):
        with pytest.raises(CredentialsError) as caught:
            verb()
        text = str(caught.value)
        assert "GOOGLE_APPLICATION_CREDENTIALS" in text
        assert "gcloud" in text
        assert "metadata server" in text
        assert caught.value.retry is Retry.NEVER

    assert time.monotonic() - began < 30


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"type": "service_account"}'])
@pytest.mark.parametrize("by", ["token", "environment"])
def test_a_credentials_file_that_is_none_is_a_credentials_error(tmp_path, monkeypatch, content, by):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    if by == "environment":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    tokens = Tokens(GCSOptions(token=str(path) if by == "token" else None), "gs://b")

    with pytest.raises(CredentialsError) as caught:
        tokens.bearer()

    assert caught.value.retry is Retry.NEVER


def test_a_variable_only_obstore_knows_is_named_when_it_is_wrong(monkeypatch):
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")

    with pytest.raises(CredentialsError, match="unset GOOGLE_SERVICE_ACCOUNT"):
        GCSStore("b", GCSOptions(endpoint_url="127.0.0.1:1")).read("k")


def test_cloud_without_a_metadata_server_says_so():
    with pytest.raises(CredentialsError, match="metadata server"):
        Tokens(GCSOptions(token="cloud"), "gs://b").bearer()


@pytest.fixture
def token_server():
    """Gives tokens t1, t2, ... that live for ``lifetime_s``, or refuses with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            with self.server.lock:
                self.server.given += 1
                number = self.server.given
            answer = {
                "access_token": f"t{number}",
                "expires_in": self.server.lifetime_s,
                "token_type": "Bearer",
            }
            if self.server.status != 200:
                answer = {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
            body = json.dumps(answer).encode()
            self.send_response(self.server.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.given, server.lifetime_s, server.status, server.lock = 0, 3600, 200, threading.Lock()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def account(token_server, private_key):
    return {
        "type": "service_account",
        "client_email": "me@p.iam.gserviceaccount.com",
        "private_key": private_key,
        "private_key_id": "1",
        "project_id": "the-project",
        "token_uri": f"http://127.0.0.1:{token_server.server_address[1]}/token",
    }


@pytest.mark.parametrize("form", ["dict", "text", "path", "secret file", "environment"])
def test_a_service_account_in_every_form(token_server, account, form, tmp_path, monkeypatch):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account))
    if form == "environment":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    token = {
        "dict": account,
        "text": json.dumps(account),
        "path": str(path),
        "secret file": Secret(f"file:{path}"),
        "environment": None,
    }[form]

    tokens = Tokens(parse_options(GCSOptions, {"token": token, "requester_pays": True}), "gs://b")

    assert tokens.bearer() == tokens.bearer() == "t1"
    assert tokens.billed_project() == "the-project"
    assert tokens.for_obstore()["token"] == "t1"


def test_a_token_is_asked_for_once_by_many_threads(token_server, account):
    tokens = Tokens(GCSOptions(token=account), "gs://b")

    with ThreadPoolExecutor(16) as pool:
        assert {"t1"} == set(pool.map(lambda _: tokens.bearer(), range(100)))


def test_a_token_that_expires_is_renewed_for_both_engines(token_server, account):
    token_server.lifetime_s = 0
    tokens = Tokens(GCSOptions(token=account), "gs://b")

    assert [tokens.bearer(), tokens.bearer()] == ["t1", "t2"]
    assert tokens.for_obstore()["token"] == "t3"


def test_a_fresh_token_that_is_refused_is_final_and_a_replaced_one_is_not(token_server, account):
    tokens = Tokens(GCSOptions(token=account), "gs://b")
    tokens.bearer()

    assert not tokens.refused("t1")
    assert tokens.refused("an older one")


@pytest.mark.parametrize(("status", "retry"), [(400, Retry.NEVER), (401, Retry.NEVER)])
def test_credentials_google_refuses_are_final(token_server, account, status, retry):
    token_server.status = status

    with pytest.raises(CredentialsError, match="account not found") as caught:
        Tokens(GCSOptions(token=account), "gs://b").bearer()

    assert caught.value.retry is retry


def test_a_token_server_that_does_not_answer_is_worth_trying_again(account):
    account["token_uri"] = "http://127.0.0.1:1/token"

    with pytest.raises(ConnectionLostError) as caught:
        Tokens(GCSOptions(token=account), "gs://b").bearer()

    assert caught.value.retry is Retry.LATER


def test_requester_pays_without_a_project_is_a_mistake():
    with pytest.raises(ConfigError):
        Tokens(GCSOptions(anon=True, requester_pays=True), "gs://b").billed_project()


def json_error(status, message="", reason=""):
    return json.dumps(
        {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "error", "retry"),
    [
        (400, json_error(400, 'Provided MD5 hash "x" doesn\'t match calculated MD5 hash "y".'), IntegrityError, "later"),
        (400, b"<?xml version='1.0'?><Error><Code>BadDigest</Code><Message>x</Message></Error>", IntegrityError, "later"),
        (400, json_error(400, "Bucket is a requester pays bucket but no user project provided."), DeniedError, "never"),
        (400, json_error(400, "Invalid argument"), StorageError, "never"),
        (401, json_error(401, "Anonymous caller does not have access"), CredentialsError, "never"),
        (403, json_error(403, "no storage.objects.get access", "forbidden"), DeniedError, "never"),
        (403, json_error(403, "slower", "rateLimitExceeded"), ThrottledError, "later"),
        (404, json_error(404, "The specified bucket does not exist."), NotFoundError, "never"),
        (404, b"<Error><Code>NoSuchUpload</Code></Error>", NotFoundError, "never"),
        (408, b"", ThrottledError, "later"),
        (409, json_error(409, "edited at the same time", "conflict"), StorageError, "later"),
        (410, b"", NotFoundError, "never"),
        (412, json_error(412, "", "conditionNotMet"), PreconditionError, "never"),
        (416, b"", RangeError, "never"),
        (429, b"", ThrottledError, "later"),
        (500, json_error(500, "", "backendError"), ConnectionLostError, "later"),
        (503, b"Service Unavailable", ThrottledError, "later"),
        (504, b"<html>", ConnectionLostError, "later"),
        (302, b"", StorageError, "never"),
        (400, b"{", StorageError, "never"),
        (400, b'{"error": "text"}', StorageError, "never"),
    ],
)  # fmt: skip
def test_the_table_of_answers(status, body, error, retry):
    found = from_answer(PLACE, status, {"retry-after": "3"}, body)

    assert type(found) is error
    assert found.retry is Retry(retry)
    assert (found.operation, found.where) == ("put", "gs://b")
    if error is ThrottledError:
        assert found.retry_after_s == 3.0


def test_a_retry_after_may_be_a_date():
    found = from_answer(PLACE, 503, {"retry-after": "Fri, 01 Jan 2999 00:00:00 GMT"}, b"")

    assert found.retry_after_s
    assert found.retry_after_s > 10**9
    assert from_answer(PLACE, 503, {"retry-after": "soon"}, b"").retry_after_s is None


@pytest.mark.parametrize(
    ("raised", "error", "first", "later"),
    [
        (transport.NameResolutionError("h", None, OSError(-2, "unknown")), ConnectionLostError, "never", "later"),
        (transport.NewConnectionError(None, "refused"), ConnectionLostError, "never", "later"),
        (transport.ConnectTimeoutError(None, "timed out"), StalledError, "later", "later"),
        (transport.ReadTimeoutError(None, "/", "timed out"), StalledError, "later", "later"),
        (transport.ProtocolError("aborted", TimeoutError("send")), StalledError, "later", "later"),
        (transport.ProtocolError("aborted", ConnectionResetError()), ConnectionLostError, "later", "later"),
        (transport.IncompleteRead(1, 2), ConnectionLostError, "later", "later"),
        (transport.SSLError("certificate verify failed"), ConnectionLostError, "never", "never"),
        (transport.SSLError("EOF occurred in violation of protocol"), ConnectionLostError, "later", "later"),
        (transport.ProxyError("x", OSError("refused")), ConnectionLostError, "never", "later"),
    ],
)  # fmt: skip
def test_the_table_of_broken_connections(raised, error, first, later):
    """A name that does not resolve and a port that refuses are final, unless the endpoint answered before."""
    for has_answered, retry in ((False, first), (True, later)):
        found = from_network(PLACE, raised, has_answered=has_answered)
        assert type(found) is error
        assert found.retry is Retry(retry)
