"""The memory store keeps the whole specification, and is what its docstrings say beyond it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import uuid

import pytest

from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.connectors.memory_bucket import bucket_named
from crossdock.errors import ConfigError, IntegrityError, NotFoundError, UnsupportedError
from crossdock.model import NO_VERSION, Metadata
from crossdock.testing.store_suite import StoreSuite


@pytest.fixture
def store():
    return MemoryStore(uuid.uuid4().hex)


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self):
        return MemoryStore(uuid.uuid4().hex)

    def back_door(self, store, key):
        try:
            return bucket_named(store.bucket).find("peek", key, NO_VERSION).data
        except NotFoundError:
            return None


class TestMemoryStoreWithLimits(TestMemoryStore):
    """The specification holds with small pages and larger parts, too."""

    @pytest.fixture
    def store(self):
        return MemoryStore(
            uuid.uuid4().hex, MemoryOptions(min_part_size_bytes=4_096, max_parts=20, page_size=7)
        )


def test_every_capability_is_claimed(store):
    can = store.capabilities

    assert all(
        (
            can.ranged_reads,
            can.pinned_reads,
            can.create_if_absent,
            can.replace_if_match,
            can.multipart,
            can.server_side_copy,
            can.listing_has_metadata,
        )
    )
    assert {
        "md5",
        "crc32c",
        "crc64nvme",
    } <= can.put_checks & can.part_checks & can.complete_checks & can.publishes


def test_two_stores_of_one_name_share_their_objects_and_other_names_do_not(store):
    store.put("key", b"data")

    assert MemoryStore(store.bucket).read("key").read_all() == b"data"
    assert [*MemoryStore(uuid.uuid4().hex).list()] == []


def test_another_process_sees_an_empty_store(store):
    store.put("key", b"data")
    script = "import pickle, sys; print(list(pickle.loads(sys.stdin.buffer.read()).list()))"
    seen = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(store), capture_output=True, check=True
    )

    assert seen.stdout.decode().strip() == "[]"


def test_equal_bytes_put_twice_are_two_versions(store):
    """The md5 alone would not tell them apart; the generation does."""
    first, second = store.put("key", b"data").version, store.put("key", b"data").version

    assert first.etag == second.etag
    assert first.generation != second.generation


def test_a_stale_acknowledgement_is_refused(store):
    """The parts named at completion must be the ones held: another part under the same number is not."""
    upload = store.begin("key", part_size_bytes=4)
    stale = store.put_part(upload, 1, b"old!")
    store.put_part(upload, 1, b"new!")

    with pytest.raises(IntegrityError):
        store.complete(upload, [stale], size=4)
    assert [*store.list()] == []


def test_metadata_is_not_shared_with_the_caller(store):
    user = {"a": "1"}
    store.put("key", b"data", metadata=Metadata(user=user))
    user["a"] = "2"

    assert store.stat("key").metadata == Metadata(user={"a": "1"})


def test_limits_are_kept():
    small = MemoryStore(uuid.uuid4().hex, MemoryOptions(min_part_size_bytes=10, max_parts=2))

    with pytest.raises(UnsupportedError):
        small.begin("key", part_size_bytes=9)
    upload = small.begin("key", part_size_bytes=10)
    with pytest.raises(UnsupportedError):
        small.put_part(upload, 3, b"0123456789")
    with pytest.raises(UnsupportedError):
        small.put_part(upload, 0, b"0123456789")
    with pytest.raises(UnsupportedError):
        small.put_part(upload, 1, b"0123456789+")


@pytest.mark.parametrize(
    "wrong", [{"page_size": 1_001}, {"page_size": 0}, {"max_parts": 0}, {"min_part_size_bytes": 0}]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        MemoryOptions(**wrong)


def test_an_object_larger_than_the_limit_is_refused_in_words(store):
    assert "over the limit" in store.refusal("key", store.capabilities.max_object_size + 1)
    assert store.refusal("key", store.capabilities.max_object_size) is None
