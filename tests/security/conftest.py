"""One login for each kind of store, on servers of this machine; every secret is a canary."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from azure.storage.blob import generate_container_sas
from azurite import ACCOUNT, KEY as ACCOUNT_KEY, BackDoor, serve_azurite
from canaries import Login, witnessing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from ftp_server import PASSWORD as FTP_PASSWORD, ftp_server
from http_server import WebServer
from sftp_server import PASSWORD as SSH_PASSWORD, USER, SSHInProcess

from crossdock.connectors import layers
from crossdock.testing import EmbeddedGCS, EmbeddedS3

GONE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _state_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Backoff is real and takes no time: what it says is what matters here."""
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 0.0)


@pytest.fixture
def witness():
    with witnessing() as witness:
        yield witness


@pytest.fixture(scope="session")
def s3_server():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server():
    with EmbeddedGCS() as server:
        yield server


@pytest.fixture(scope="session")
def azurite():
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    with SSHInProcess(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def s3(s3_server):
    bucket = f"b-{uuid.uuid4()}"
    s3_server.create_bucket(bucket)
    secrets = {
        "key": "CANARYACCESSKEYID000",
        "secret": "canary/secret+access=key-0123456789",
        "token": "canary-session-token/0123+456789==",
    }
    public = {"region": "us-east-1"}
    return Login(
        url=f"s3://{bucket}/",
        options={"endpoint_url": s3_server.url, **public},
        secrets=secrets,
        hidden=tuple(secrets.values()),
        gone=(f"s3://{bucket}/", {"endpoint_url": GONE, **public}),
        marker=bucket,
    )


def _gcs(server, token, hidden):
    bucket = f"b-{uuid.uuid4()}"
    server.create_bucket(bucket)
    return Login(
        url=f"gs://{bucket}/",
        options={"endpoint_url": server.url},
        secrets={"token": token},
        hidden=hidden,
        gone=(f"gs://{bucket}/", {"endpoint_url": GONE}),
        marker=bucket,
    )


@pytest.fixture
def gcs_token(gcs_server):
    return _gcs(gcs_server, "ya29.canary-access-token-0123456789", ("ya29.canary-access-token-0123456789",))


@pytest.fixture
def gcs_account(gcs_server):
    """A service account, whose key signs for a token that a server here gives."""
    minted = "ya29.canary-minted-token-0123456789"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"access_token": minted, "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        account = {
            "type": "service_account",
            "client_email": "me@p.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "private_key_id": "1",
            "project_id": "the-project",
            "token_uri": f"http://127.0.0.1:{server.server_port}/token",
        }
        lines = pem.decode().splitlines()
        yield _gcs(gcs_server, json.dumps(account), (minted, lines[1], lines[10]))
        server.shutdown()
        thread.join()


def _azure(azurite, secrets, hidden, **options):
    container = azurite.make_container()
    public = {"account_name": ACCOUNT, **options}
    if "connection_string" not in secrets:
        public |= {"endpoint_url": azurite.url}
    return Login(
        url=f"az://{container}/",
        options=public,
        secrets=secrets if "sas_token" not in secrets else {"sas_token": _sas(container)},
        hidden=hidden or _signature(container),
        gone=(f"az://{container}/", public | {"endpoint_url": f"{GONE}/{ACCOUNT}"}),
        marker=container,
    )


_tokens: dict[str, str] = {}


def _sas(container):
    if container not in _tokens:
        expiry = datetime.now(UTC) + timedelta(hours=1)
        _tokens[container] = generate_container_sas(
            ACCOUNT, container, account_key=ACCOUNT_KEY, permission="racwdl", expiry=expiry
        )
    return _tokens[container]


def _signature(container):
    signature = _sas(container).split("sig=")[1].split("&")[0]
    return signature, unquote(signature)


@pytest.fixture
def azure_key(azurite):
    return _azure(azurite, {"account_key": ACCOUNT_KEY}, (ACCOUNT_KEY,))


@pytest.fixture
def azure_string(azurite):
    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={azurite.url}"
    return _azure(azurite, {"connection_string": text}, (ACCOUNT_KEY,))


@pytest.fixture
def azure_sas(azurite):
    return _azure(azurite, {"sas_token": ""}, ())


def _web(server, secrets, hidden, **options):
    return Login(
        url=f"{server.url}/",
        options=options,
        secrets=secrets,
        hidden=hidden,
        gone=(f"{GONE}/", options),
        is_sink=False,
        marker=f"127.0.0.1:{server.port}",
    )


@pytest.fixture
def web():
    with WebServer() as server:
        server.keep("small", b"data")
        yield server


@pytest.fixture
def http_headers(web):
    value = "canary-api-key-0123456789"
    web.manners.needs = ("X-Api-Key", value)
    return _web(web, {"headers": {"X-Api-Key": value}}, (value,))


@pytest.fixture
def http_basic(web):
    value = "canary-password-0123456789"
    return _web(web, {"password": value}, (value, f"me:{value}"), user="me")


@pytest.fixture
def http_token(web):
    value = "canary-bearer-0123456789"
    web.manners.needs = ("Authorization", f"Bearer {value}")
    return _web(web, {"token": value}, (value,))


@pytest.fixture
def sftp(ssh_server, tmp_path):
    root = tmp_path / "remote"
    root.mkdir()
    options = {"host_key": ssh_server.fingerprint, "agent": False}
    return Login(
        url=f"sftp://{USER}@127.0.0.1:{ssh_server.port}{root}/",
        options=options,
        secrets={"password": SSH_PASSWORD, "passphrase": "canary-passphrase-0123456789"},
        hidden=(SSH_PASSWORD, "canary-passphrase-0123456789"),
        gone=(f"sftp://{USER}@127.0.0.1:1{root}/", options),
        marker=f"127.0.0.1:{ssh_server.port}",
    )


@pytest.fixture
def ftp(tmp_path):
    root = tmp_path / "ftp"
    root.mkdir()
    with ftp_server(root) as (url, _):
        yield Login(
            url=f"{url}/",
            secrets={"password": FTP_PASSWORD},
            hidden=(FTP_PASSWORD,),
            gone=("ftp://alice@127.0.0.1:1/", {}),
            marker=url.rpartition(":")[2],
        )


@pytest.fixture
def ftp_nested(ftp):
    """The same by the ways in which fsspec nests options."""
    return Login(
        url=f"dir::{ftp.url}!/",
        secrets={"ftp": {"password": FTP_PASSWORD}},
        hidden=ftp.hidden,
        gone=("dir::ftp://alice@127.0.0.1:1/!/", {}),
        marker=ftp.marker,
    )


LOGINS = (
    "s3",
    "gcs_token",
    "gcs_account",
    "azure_key",
    "azure_string",
    "azure_sas",
    "http_headers",
    "http_basic",
    "http_token",
    "sftp",
    "ftp",
    "ftp_nested",
)


@pytest.fixture(params=LOGINS)
def login(request):
    return request.getfixturevalue(request.param)
