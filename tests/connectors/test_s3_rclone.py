"""The S3 store on ``rclone serve s3``: no conditional writes, ranges answered with 200, keys that are file names."""

from __future__ import annotations

from typing import ClassVar

import pytest
from rclone_server import KEY_ID, SECRET, serve_s3

from crossdock.connectors.s3 import S3Options, S3Store
from crossdock.errors import UnsupportedError
from crossdock.model import Metadata
from crossdock.options import Secret
from crossdock.testing.hostile import HOSTILE_KEYS
from crossdock.testing.store_suite import StoreSuite
from crossdock.testing.suite.base import keys_in

_NO_FILE_NAME = (
    "rclone maps keys to file names: empty, . and .. segments, markers and long names are not to be had"
)


def _is_file_name(key: str) -> bool:
    segments = key.split("/")
    return all(s not in ("", ".", "..") and len(s.encode()) <= 255 for s in segments) and key.isprintable()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("rclone")
    with serve_s3(root) as url:
        first = make_store((url, root), "bucket")
        first.put("a", b"x", metadata=Metadata(user={"old": "kept against orders"}))
        with pytest.raises(UnsupportedError, match="does not replace metadata"):
            first.copy(first.url, "a", "b", info=first.stat("a"))
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
    left_out_keys: ClassVar = {key: _NO_FILE_NAME for key in HOSTILE_KEYS if not _is_file_name(key)}
    nested_keys = False
    secrets = (SECRET,)
    machine_metadata = False  # see below

    @pytest.fixture
    def store(self, served):
        self.root = served[1] / "bucket"
        store = make_store(served, "bucket")
        for key in keys_in(store):  # one bucket, emptied through the server, which caches its directories
            store.delete(key)
        for upload in store.list_uploads():
            store.abort(upload)
        return store

    # rclone leaves half a file where a key is also a directory, and cannot delete it any more; it lists no markers.
    test_a_key_beside_what_would_be_its_directory = None
    test_order_is_that_of_utf8_bytes = None
    # It streams parts to disk as they come: none can be replaced or left out, and a refused one ends the upload.
    test_a_part_sent_again_replaces_itself = None
    test_only_the_named_parts_count = None
    test_a_wrong_digest_of_a_part_is_refused = None
    # It guesses a Content-Type where there is none.
    test_put_replaces_the_whole_object = None
    test_absent_metadata_stays_absent = None
    test_one_metadata_field_alone = None
    test_hostile_metadata_is_kept_or_refused = None

    def back_door(self, store, key):  # noqa: ARG002 - the suite says so
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def supports_key(self, key):
        return 0 < len(key.encode()) <= 1024

    def missing_store(self, store):
        return S3Store("missing-bucket", store.options)
