"""Every store there is, each on a real server or directory, as source and as sink."""

from __future__ import annotations

import uuid

import pytest
from http_server import WebServer
from sftp_server import PASSWORD, USER, SSHInProcess

import crossdock as xd
from crossdock.testing import EmbeddedGCS, EmbeddedS3

S3_CREDENTIALS = {"key": "access-key-of-a-test", "secret": "secret-key-of-a-test", "region": "us-east-1"}


@pytest.fixture(scope="session")
def s3_server():
    with EmbeddedS3() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server():
    with EmbeddedGCS() as server:
        yield server


@pytest.fixture
def s3(s3_server):
    bucket = f"b-{uuid.uuid4()}"
    s3_server.create_bucket(bucket)
    yield f"s3://{bucket}/", {"endpoint_url": s3_server.url, **S3_CREDENTIALS}, s3_server, bucket
    s3_server.faults.clear()


@pytest.fixture
def gcs(gcs_server):
    bucket = f"b-{uuid.uuid4()}"
    gcs_server.create_bucket(bucket)
    yield f"gs://{bucket}/", {"endpoint_url": gcs_server.url, "token": "anon"}, gcs_server, bucket
    gcs_server.faults.clear()


@pytest.fixture
def local(tmp_path):
    root = tmp_path / "objects"
    root.mkdir()
    return f"file://{root}/", {}, None, str(root)


@pytest.fixture
def memory():
    name = f"m-{uuid.uuid4()}"
    return f"memory://{name}/", {}, None, name


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    with SSHInProcess(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def sftp(ssh_server, tmp_path):
    root = tmp_path / "remote"
    root.mkdir()
    options = {"password": PASSWORD, "host_key": ssh_server.fingerprint}
    return f"sftp://{USER}@127.0.0.1:{ssh_server.port}{root}/", options, ssh_server, str(root)


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def end(request):
    """The named store: url, options, server (if any), bucket."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def other_end(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def open_source():
    return lambda end: xd.source(end[0], **end[1])


@pytest.fixture
def open_sink():
    return lambda end, **more: xd.sink(end[0], **end[1], **more)
