"""Every end there is, each on a real server or directory: fixtures that return a function which makes a fresh one.

For the suites of sources, sinks and pairs. Servers are one of each a session; whoever runs a suite takes the fixtures over
with ``from ends import *``.
"""

from __future__ import annotations

import itertools
import threading
import uuid
import zipfile

import boto3
import fsspec_filesystems
import pytest
from azurite import KEY as AZURE_KEY, BackDoor, serve_azurite
from ftp_server import PASSWORD as FTP_PASSWORD, ftp_server
from http_server import WebServer
from rclone_server import KEY_ID as RCLONE_KEY, SECRET as RCLONE_SECRET, serve_s3
from sftp_server import PASSWORD as SSH_PASSWORD, USER, SSHInProcess

from crossdock.connectors import native
from crossdock.connectors.gcs import GCSOptions, GCSStore
from crossdock.connectors.memory_bucket import bucket_named
from crossdock.errors import NotFoundError
from crossdock.model import NO_METADATA, NO_VERSION
from crossdock.testing import EmbeddedGCS, EmbeddedS3, End
from crossdock.testing.hostile import HOSTILE_KEYS

SINKS = ("memory", "local", "s3", "s3_on_rclone", "gcs", "gcs_json", "azure", "sftp", "fsspec_disk", "ftp")
SOURCES_ONLY = ("http", "archive")
_SERVERS = ("s3_server", "rclone_s3", "gcs_server", "azurite", "ssh_server", "ftp_root", "web_server")

__all__ = ["SINKS", "SOURCES_ONLY", *SINKS, *SOURCES_ONLY, *_SERVERS]  # noqa: PLE0604 - all are names

S3_SECRET = "canary-secret-key-of-a-test"
S3_OPTIONS = {"key": "access-key-of-a-test", "secret": S3_SECRET, "region": "us-east-1"}
_count = itertools.count()


def files_end(root, **fields):
    """An end whose objects are files of this machine, whatever serves them."""

    def held(key):
        path = root / key
        return path.read_bytes() if path.is_file() else None

    def names():
        return [str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()]

    return End(**{"back_door": held, "everything": names, "nested_keys": False, **fields})


@pytest.fixture
def memory():
    def make():
        name = uuid.uuid4().hex

        def held(key):
            try:
                return bucket_named(name).find("peek", key, NO_VERSION).data
            except NotFoundError:
                return None

        return End(url=f"memory://{name}/", back_door=held)

    return make


@pytest.fixture
def local(tmp_path):
    def make():
        root = tmp_path / uuid.uuid4().hex
        root.mkdir()
        return files_end(root, url=f"file://{root}/")

    return make


@pytest.fixture(scope="module")  # what it holds is let go with it
def s3_server():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture
def s3(s3_server):
    def make():
        bucket = f"b-{uuid.uuid4()}"
        s3_server.create_bucket(bucket)

        def held(key):
            found = s3_server.objects(bucket).get(key)
            return None if found is None else found.data

        def names():
            return [
                *s3_server.objects(bucket),
                *(f"upload of {k}" for k in s3_server.open_uploads(bucket).values()),
            ]

        return End(
            url=f"s3://{bucket}/",
            options={"endpoint_url": s3_server.url, **S3_OPTIONS},
            back_door=held,
            everything=names,
            secrets=(S3_SECRET,),
        )

    return make


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory):
    """``rclone serve s3``: its URL, where its files are, and a client for what the connector does not do."""
    root = tmp_path_factory.mktemp("rclone-s3")
    with serve_s3(root) as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=RCLONE_KEY,
            aws_secret_access_key=RCLONE_SECRET,
            region_name="us-east-1",
        )
        yield url, root, client
        client.close()


_NO_FILE_NAME = "rclone maps keys to file names, and lists no markers"

_NOT_ON_RCLONE = {
    "test_nothing_half_is_ever_seen": "rclone removes an object for a moment when it completes parts over it",
}


def _is_file_name(key):
    segments = key.split("/")
    return all(s not in ("", ".", "..") and len(s.encode()) <= 255 for s in segments) and key.isprintable()


@pytest.fixture
def s3_on_rclone(rclone_s3):
    url, root, client = rclone_s3

    def make():
        bucket = f"b-{next(_count)}"
        client.create_bucket(Bucket=bucket)  # through the server, which keeps its directories in mind
        return files_end(
            root / bucket,
            url=f"s3://{bucket}/",
            options={
                "endpoint_url": url,
                "key": RCLONE_KEY,
                "secret": RCLONE_SECRET,
                "region": "us-east-1",
                "conditional_writes": False,
            },
            left_out_checks=_NOT_ON_RCLONE,
            left_out_keys={k: _NO_FILE_NAME for k in HOSTILE_KEYS if not _is_file_name(k)},
            secrets=(RCLONE_SECRET,),
        )

    return make


@pytest.fixture(scope="module")  # what it holds is let go with it
def gcs_server():
    with EmbeddedGCS(buckets=()) as server:
        yield server


class JsonGCSStore(GCSStore):
    """Every read over the JSON API, as those of keys that the engine for the XML API cannot address."""

    def __reduce__(self):
        return JsonGCSStore, (self.bucket, self.options)

    def _read_native(self, *_):
        raise native.EngineRefusedError("left out")


def _gcs_end(server, bucket, **fields):
    server.create_bucket(bucket)

    def held(key):
        found = server.objects(bucket).get(key)
        return None if found is None else found.data

    def names():
        return [
            *server.objects(bucket),
            *(f"upload of {key}" for key in server.open_uploads(bucket).values()),
        ]

    return End(back_door=held, everything=names, **fields)


@pytest.fixture
def gcs(gcs_server):
    """Reads over the XML API, writes of large objects too; the rest over the JSON API."""

    def make():
        bucket = f"bucket-{next(_count)}"
        options = {"endpoint_url": gcs_server.url, "token": "anon"}
        return _gcs_end(gcs_server, bucket, url=f"gs://{bucket}/", options=options)

    return make


@pytest.fixture
def gcs_json(gcs_server):
    """Reads over the JSON API."""

    def make():
        bucket = f"bucket-{next(_count)}"
        store = JsonGCSStore(bucket, GCSOptions(endpoint_url=gcs_server.url, token="anon"))
        return _gcs_end(gcs_server, bucket, store=store)

    return make


@pytest.fixture(scope="session")
def azurite():
    """Azurite, through the plain SDK."""
    with serve_azurite() as url:
        door = BackDoor(url)
        yield door
        door.close()


@pytest.fixture
def azure(azurite):
    def make():
        name = azurite.make_container()
        store = End(url=f"az://{name}/", options={"endpoint_url": azurite.url, "account_key": AZURE_KEY})

        def held(key):
            return azurite.read(name, key) if store.refusal(key) is None else None

        # With blobs that are only staged; but those stay where an upload was given up: Azure has no request that removes
        # them alone (docs/decisions/0008), so records of uploads are what must be gone.
        return End(
            url=store.url,
            options=store.options,
            back_door=held,
            everything=lambda: azurite.keys(name),
            secrets=(AZURE_KEY,),
        )

    return make


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    with SSHInProcess(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def sftp(ssh_server, tmp_path):
    def make():
        root = tmp_path / uuid.uuid4().hex
        root.mkdir()
        return files_end(
            root,
            url=f"sftp://{USER}@127.0.0.1:{ssh_server.port}{root}/",
            options={"password": SSH_PASSWORD, "host_key": ssh_server.fingerprint},
            secrets=(SSH_PASSWORD,),
        )

    return make


@pytest.fixture
def fsspec_disk(tmp_path):
    """The bridge over a filesystem of fsspec's that we have no connector for."""

    def make():
        root = tmp_path / uuid.uuid4().hex
        root.mkdir()
        return files_end(root, url=f"{fsspec_filesystems.OtherLocal.protocol}://{root}/")

    return make


@pytest.fixture(scope="session")
def ftp_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ftp")
    with ftp_server(root) as (url, _):
        yield url, root


@pytest.fixture
def ftp(ftp_root):
    """The bridge over FTP."""
    url, root = ftp_root

    def make():
        name = uuid.uuid4().hex
        (root / name).mkdir()
        return files_end(
            root / name, url=f"{url}/{name}/", options={"password": FTP_PASSWORD}, secrets=(FTP_PASSWORD,)
        )

    return make


@pytest.fixture(scope="session")
def web_server():
    with WebServer() as server:
        yield server


@pytest.fixture
def http(web_server):
    """A web server to read from; every end is a directory of it."""

    def make():
        name = uuid.uuid4().hex

        def seed(key, data, metadata=NO_METADATA):
            web_server.keep(f"{name}/{key}", data, metadata=metadata)

        def held(key):
            page = web_server.pages.get(f"/{name}/{key}")
            return None if page is None else page.data

        return End(
            url=f"{web_server.url}/{name}/",
            seed=seed,
            unseed=lambda key: web_server.pages.pop(f"/{name}/{key}"),
            back_door=held,
            everything=lambda: [p[len(name) + 2 :] for p in web_server.pages if p.startswith(f"/{name}/")],
        )

    return make


@pytest.fixture
def archive(tmp_path):
    """A zip archive to read from, through the bridge; made anew for every object, as their makers do."""

    def make():
        path, objects, one = tmp_path / f"{uuid.uuid4().hex}.zip", {}, threading.Lock()

        def write():
            fresh = path.with_suffix(".new")
            with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as file:
                for key, data in objects.items():
                    file.writestr(key, data)
            fresh.rename(path)

        def seed(key, data, metadata=NO_METADATA):
            with one:
                objects[key] = data
                write()

        def unseed(key):
            del objects[key]
            write()

        write()
        return End(
            url=f"zip::{fsspec_filesystems.OtherLocal.protocol}://{path}!/",
            seed=seed,
            unseed=unseed,
            back_door=objects.get,
            everything=lambda: [*objects],
            nested_keys=False,
        )

    return make
