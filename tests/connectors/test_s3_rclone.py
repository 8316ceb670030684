"""The S3 store on ``rclone serve s3``: no conditional writes, ranges answered with 200, keys that are file names."""

from __future__ import annotations

import shutil

import pytest
from rclone_server import KEY_ID, SECRET, serve_s3

from crossdock.connectors.s3 import S3Options, S3Store
from crossdock.model import ByteRange, Metadata, Version
from crossdock.errors import PreconditionError
from crossdock.options import Secret
from crossdock.testing.hostile import HOSTILE_KEYS
from crossdock.testing.store_suite import StoreSuite

_NO_FILE_NAME = "rclone maps keys to file names: empty, . and .. segments, markers and long names are not to be had"


def _is_file_name(key: str) -> bool:
    segments = key.split("/")
    return all(s not in ("", ".", "..") and len(s.encode()) <= 255 for s in segments) and key.isprintable()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("rclone")
    with serve_s3(root) as url:
        yield url, root


def make_store(served, bucket: str) -> S3Store:
    url, root = served
    (root / bucket).mkdir(exist_ok=True)
    options = S3Options(
        endpoint_url=url,
        key=Secret(KEY_ID),
        secret=Secret(SECRET),
        region="us-east-1",
        conditional_writes=False,
    )
    return S3Store(bucket, options)


class TestS3OnRclone(StoreSuite):
    left_out_keys = {key: _NO_FILE_NAME for key in HOSTILE_KEYS if not _is_file_name(key)}
    nested_keys = False
    secrets = (SECRET,)

    @pytest.fixture
    def store(self, served):
        self.root = served[1] / "bucket"
        shutil.rmtree(self.root, ignore_errors=True)  # one bucket, emptied: one connection for all tests
        return make_store(served, "bucket")

    def back_door(self, store, key):
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def supports_key(self, key):
        return 0 < len(key.encode()) <= 1024

    def missing_store(self, store):
        return S3Store("missing-bucket", store._options)
