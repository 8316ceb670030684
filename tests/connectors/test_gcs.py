"""The GCS store against the embedded GCS, over real connections."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import pickle
import random
import socket
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.connectors.digests import combine_parts, digest_of
from crossdock.connectors.gcs import GCSOptions, GCSStore
from crossdock.connectors.gcs.temporary import new_temporary, parse_temporary
from crossdock.errors import (
    ConnectionLostError,
    CredentialsError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StalledError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ABSENT, MIB, ByteRange, Condition, Digests, Metadata, Version
from crossdock.testing import EmbeddedGCS, Rule
from crossdock.testing.store_suite import StoreSuite

PART = 5 * MIB
DATA = random.Random(7).randbytes(2 * PART + 12345)
FULL = Metadata(
    content_type="text/csv; charset=utf-8",
    cache_control="no-cache",
    content_disposition='attachment; filename="a.csv"',
    content_encoding="identity",
    content_language="de",
    user={"Mixed-Case": "zwei  Leerzeichen ", "ümlaut": "größe ✓", "empty": ""},
)
HOSTILE = [
    "a//b", "/a", "a/", "a/./b", "a/../b", " a ", "a%2Fb", "a%252Fb", "a+b", "a#b?c=d&e", "*[x]{y}", "x", "x/y",
    "😀/é", unicodedata.normalize("NFD", "é"), unicodedata.normalize("NFC", "é"), "Case", "case", "tab\there",
    "nul\x00", "del\x7f", "c1\x85\u2028", "quote\"'<&>;\\", "k" * 1024, "ä" * 512, "..a", "a/..", "./a", "...",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with EmbeddedGCS(buckets=(), rewrite_bytes_per_call=MIB) as gcs:
        yield gcs


numbers = itertools.count()


@pytest.fixture
def bucket(server):
    """A bucket of one's own, and no fault left over from another test."""
    server.faults.clear()
    name = f"bucket-{next(numbers)}"
    server.create_bucket(name)
    yield name
    server.faults.clear()


@pytest.fixture
def store(server, bucket):
    return GCSStore(bucket, GCSOptions(endpoint_url=server.url))


def fails(server, rule):
    """Add a fault; returns how to ask whether it fired."""
    name = server.faults.add(rule)
    before = server.faults.fired.get(name, 0)
    return lambda: server.faults.fired.get(name, 0) - before


class TestGCS(StoreSuite):
    """The specification of every store; what is GCS's own comes below."""

    @pytest.fixture
    def store(self, server, bucket):
        self.server = server
        return GCSStore(bucket, GCSOptions(endpoint_url=server.url))

    def back_door(self, store, key):
        found = self.server.objects(store.bucket).get(key)
        return None if found is None else found.data

    def supports_key(self, key):
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            return False
        forbidden = key in (".", "..") or key.startswith(".well-known/acme-challenge/")
        return 1 <= size <= 1024 and not forbidden and "\r" not in key and "\n" not in key

    def missing_store(self, store):
        return GCSStore("missing", store.options)


def upload_all(store, key, data=DATA, **begin):
    upload = store.begin(key, part_size_bytes=PART, **begin)
    ranges = ByteRange(0, len(data)).split(PART)
    parts = [store.put_part(upload, n, data[r.start : r.end]) for n, r in enumerate(ranges, 1)]
    return upload, parts


def test_a_store_is_a_recipe_that_opens_nothing():
    store = GCSStore("b", GCSOptions(endpoint_url="http://127.0.0.1:1"))

    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own

    assert (again.url, again.endpoint, again.options) == ("gs://b", "gcs+http://127.0.0.1:1", store.options)


def test_an_object_and_all_its_metadata_arrive_exactly(server, store, bucket):
    info = store.put("k", b"hello", metadata=FULL, digests=digest_of(b"hello", ("crc32c", "md5")))

    stored = server.objects(bucket)["k"]
    assert (b"hello", "text/csv; charset=utf-8", dict(FULL.user)) == (
        stored.data,
        stored.metadata.content_type,
        stored.metadata.custom,
    )
    assert store.stat("k") == info
    assert info.metadata == FULL
    assert hashlib.md5(b"hello").digest() == info.digests.md5


@pytest.mark.parametrize("metadata", [Metadata(), Metadata(user={"a": "b"})])
def test_an_absent_content_type_stays_absent(server, store, bucket, metadata):
    store.put("k", b"hello", metadata=metadata)
    upload, parts = upload_all(store, "large", metadata=metadata)
    store.complete(upload, parts, size=len(DATA))
    store.copy(store.url, "k", "copied", info=store.stat("k"), metadata=metadata)

    assert {None} == {stored.metadata.content_type for stored in server.objects(bucket).values()}
    assert metadata == store.stat("k").metadata == store.stat("large").metadata


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(user={"a": "b\r\nc"}),
        Metadata(user={"a\n": "b"}),
        Metadata(content_type="text/plain\r\nx: y"),
        Metadata(user={"a": "x" * 8192}),
    ],
)
def test_metadata_gcs_cannot_hold_is_refused(server, store, bucket, metadata):
    with pytest.raises(UnsupportedError):
        store.put("k", b"", metadata=metadata)
    with pytest.raises(UnsupportedError):
        store.begin("k", part_size_bytes=PART, metadata=metadata)

    assert server.objects(bucket) == {}


def test_hostile_keys_arrive_exactly_and_read_back(server, store, bucket):
    bodies = {key: f"{number} {key}".encode() for number, key in enumerate(HOSTILE)}
    for key, body in bodies.items():
        assert store.refusal(key) is None
        store.put(key, body)

    assert bodies == {key: stored.data for key, stored in server.objects(bucket).items()}
    assert sorted(bodies) == [info.key for page in store.list() for info in page]
    for key, body in bodies.items():
        info = store.stat(key)
        assert body == bytes(store.read(key, version=info.version).read_all())
        assert body[1:2] == b"".join(store.read(key, ByteRange(1, 2), version=info.version))
        upload, parts = upload_all(store, key, b"new")
        assert [key] == [u.key for u in store.list_uploads(key)]
        store.complete(upload, parts, size=3, condition=Condition(version=info.version))
        store.copy(store.url, key, f"copy-{len(key)}", info=store.stat(key))
        store.delete(key)
    assert all(key.startswith("copy-") for key in server.objects(bucket))
    assert server.open_uploads(bucket) == {}


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "a\nb",
        "a\r",
        "k" * 1025,
        ".well-known/acme-challenge/x",
        "\ud800",
        ".crossdock/uploads/x",
    ],
)
def test_keys_gcs_forbids_are_refused_by_name_and_by_use(store, key):
    assert store.refusal(key)
    with pytest.raises(UnsupportedError):
        store.put(key, b"")
    with pytest.raises(UnsupportedError):
        store.stat(key)


def test_an_object_over_five_tebibytes_is_refused(store):
    assert store.refusal("k", 5 * 1024**4) is None
    assert store.refusal("k", 5 * 1024**4 + 1)


def test_a_conditional_put_creates_or_replaces_only_what_was_observed(server, store, bucket):
    first = store.put("k", b"1", condition=ABSENT)
    with pytest.raises(PreconditionError):
        store.put("k", b"2", condition=ABSENT)
    second = store.put("k", b"3", condition=Condition(version=first.version))
    with pytest.raises(PreconditionError):
        store.put("k", b"4", condition=Condition(version=first.version))

    assert server.objects(bucket)["k"].data == b"3"
    with pytest.raises(PreconditionError):
        store.stat("k", version=first.version)
    with pytest.raises(PreconditionError):
        store.delete("k", version=first.version)
    store.delete("k", version=second.version)
    assert server.objects(bucket) == {}


@pytest.mark.parametrize("name", ["crc32c", "md5"])
def test_the_service_refuses_bytes_that_are_not_their_digest(server, store, bucket, name):
    wrong = digest_of(b"other", (name,))

    with pytest.raises(IntegrityError):
        store.put("k", b"hello", digests=wrong)
    upload = store.begin("k", part_size_bytes=PART)
    with pytest.raises(IntegrityError):
        store.put_part(upload, 1, b"hello", digests=wrong)

    assert server.objects(bucket) == {}


@pytest.mark.parametrize("size", [5000, 200_000])
def test_a_bit_flipped_on_the_way_leaves_nothing(server, store, bucket, size):
    data = random.Random(size).randbytes(size)
    fired = fails(server, Rule(operation="object.insert", flip_upload_bit=8 * 3000, first=1))

    with pytest.raises(IntegrityError):
        store.put("k", data)

    assert fired() == 1
    assert server.objects(bucket) == {}


def test_payload_may_contain_anything_multipart(server, store, bucket):
    data = b"\r\n--boundary--\r\nContent-Type: text/plain\r\n\r\n--==0==--" * 3

    store.put("k", memoryview(bytearray(data)))

    assert data == server.objects(bucket)["k"].data


@pytest.mark.parametrize("key", ["plain", "slash/"])
@pytest.mark.parametrize("encoding", ["gzip", None])
def test_stored_bytes_are_read_as_stored_on_both_routes(store, key, encoding):
    """``Content-Encoding: gzip`` is neither decoded by us nor by the service, whichever engine reads."""
    data = gzip.compress(b"x" * 10_000)
    info = store.put(key, data, metadata=Metadata(content_encoding=encoding))

    reader = store.read(key, version=info.version)
    part = store.read(key, ByteRange(3, 11), version=info.version)
    beyond = store.read(key, ByteRange(5, 10**9))

    assert (data, data[3:11], data[5:]) == (
        bytes(reader.read_all()),
        b"".join(bytes(chunk) for chunk in part),
        bytes(beyond.read_all()),
    )
    for answer in (reader, part, beyond):
        assert (len(data), info.version, None) == (
            answer.info.size,
            answer.info.version,
            answer.info.metadata,
        )
        answer.close()
        answer.close()


@pytest.mark.parametrize("key", ["plain", "slash/"])
def test_a_pinned_read_is_of_that_version_or_raises(store, key):
    old = store.put(key, b"old" * 1000).version
    store.put(key, b"new" * 1000)

    with pytest.raises(PreconditionError):
        store.read(key, version=old)
    with pytest.raises(PreconditionError):
        store.read(key, ByteRange(0, 5), version=old)
    store.delete(key)
    with pytest.raises(NotFoundError):
        store.read(key, version=old)
    with pytest.raises(NotFoundError):
        store.read(key)


def test_a_version_without_generation_pins_nothing_here(store):
    store.put("k", b"")
    with pytest.raises(UnsupportedError):
        store.read("k", version=Version(etag="abc"))


@pytest.mark.parametrize("key", ["plain", "slash/"])
def test_a_range_after_the_last_byte_is_an_error(store, key):
    store.put(key, b"12345")
    with pytest.raises(RangeError):
        store.read(key, ByteRange(5, 9)).read_all()


@pytest.mark.parametrize("key", ["plain", "slash/"])
@pytest.mark.parametrize("cut_with", ["fin", "rst"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_breaks_off_is_never_a_short_object(server, store, key, cut_with, whole):
    store.put(key, bytes(300_000))
    fired = fails(server, Rule(operation="object.get", cut_at=100_000, cut_with=cut_with, first=1))

    reader = store.read(key)
    with pytest.raises(ConnectionLostError) as caught:
        reader.read_all() if whole else list(reader)

    assert fired() == 1
    assert caught.value.retry is Retry.LATER


def test_a_server_that_ignores_the_range_is_noticed(server, store):
    store.put("slash/", b"0123456789")
    fired = fails(server, Rule(operation="object.get", ignore_range=True))

    with pytest.raises(ConnectionLostError):
        store.read("slash/", ByteRange(3, 5))

    assert fired() == 1
    assert store.read("slash/", ByteRange(0, 10)).read_all() == b"0123456789"


def test_no_progress_is_an_error_and_a_trickle_is_not(server, bucket):
    options = GCSOptions(endpoint_url=server.url, no_progress_timeout_s=0.5)
    store = GCSStore(bucket, options)
    for key in ("plain", "slash/"):
        store.put(key, bytes(3000))
    fired = fails(server, Rule(operation="object.get", delay_s=3.0, first=2, name="stall"))
    for key in ("plain", "slash/"):
        with pytest.raises(StalledError):
            store.read(key)
    assert fired() == 2
    server.faults.clear()
    fired = fails(server, Rule(operation="object.get", rate_bytes_per_s=2500, name="trickle"))
    for key in ("plain", "slash/"):
        assert bytes(3000) == bytes(store.read(key).read_all())
    assert fired() == 2


def test_listing_2500_keys_in_pages_with_everything_known(server, store, bucket):
    keys = [f"p/{number:05d}" for number in range(2500)]
    for key in keys:
        store.put(key, key.encode(), metadata=Metadata(content_type="text/x"))
    store.put("q", b"")
    before = sum(server.faults.requests.values())

    pages = list(store.list("p/"))

    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert sum(server.faults.requests.values()) - before == 3
    infos = [info for page in pages for info in page]
    assert keys == [info.key for info in infos]
    assert infos[7] == store.stat(keys[7])
    assert keys[1234:] == [i.key for page in store.list("p/", start_after=keys[1233]) for i in page]
    assert keys[1001:] == [i.key for page in store.list("p/", start_after=f"{keys[1000]}-") for i in page]
    assert list(store.list("p/", start_after=keys[-1])) == []
    assert list(store.list("none")) == []


@pytest.mark.parametrize(
    "second_page",
    [
        '{"items": [], "nextPageToken": "%TOKEN%"}',
        '{"items": [{"name": "a", "size": "0", "generation": "1"}]}',
        '{"items": [{"name": "other", "size": "0", "generation": "1"}]}',
        '{"items": [{"name": "a", "size":',
        "<html>sorry</html>",
    ],
    ids=["loops", "repeats", "leaves the prefix", "is cut", "is not JSON"],
)
def test_a_listing_is_never_silently_short_or_wrong(server, store, second_page):
    for number in range(1001):
        store.put(f"a{number:04d}", b"")
    pages = store.list("a")
    next(pages)
    # The token is what the first page gave: the answer to the second request gives it again.
    token = "QQ"
    fired = fails(
        server,
        Rule(operation="object.list", status=200, body=second_page.replace("%TOKEN%", token)),
    )

    with pytest.raises(ConnectionLostError):
        list(pages)

    assert fired() >= 1


def test_a_listing_page_that_breaks_off_raises(server, store):
    store.put("a", b"")
    fired = fails(server, Rule(operation="object.list", cut_at=20, first=1))

    with pytest.raises(ConnectionLostError):
        list(store.list())

    assert fired() == 1


def test_a_large_object_is_published_whole_and_proven(server, store, bucket):
    upload, parts = upload_all(store, "k", metadata=FULL)
    assert server.objects(bucket) == {}
    upload = pickle.loads(pickle.dumps(upload))  # noqa: S301 - our own

    info = store.complete(upload, parts, size=len(DATA), digests=combine_parts(parts), condition=ABSENT)

    assert list(server.objects(bucket)) == ["k"]
    assert server.objects(bucket)["k"].data == DATA
    assert (FULL, len(DATA)) == (info.metadata, info.size)
    assert digest_of(DATA, ("crc32c",)).crc32c == info.digests.crc32c
    assert list(store.list_uploads()) == []
    with pytest.raises(NotFoundError):
        store.complete(upload, parts, size=len(DATA))


def test_parts_in_any_order_and_again(server, store, bucket):
    upload = store.begin("k", part_size_bytes=PART)
    last = store.put_part(upload, 2, b"tail")
    store.put_part(upload, 1, bytes(PART))
    first = store.put_part(upload, 1, DATA[:PART])

    store.complete(upload, [first, last], size=PART + 4)

    assert DATA[:PART] + b"tail" == server.objects(bucket)["k"].data


def test_an_upload_without_parts_is_the_empty_object(server, store, bucket):
    upload = store.begin("k", part_size_bytes=PART, metadata=FULL)

    info = store.complete(upload, [], size=0, condition=ABSENT)

    assert server.objects(bucket)["k"].data == b""
    assert info.metadata == FULL
    assert server.open_uploads(bucket) == {}


@pytest.mark.parametrize("wrong", ["size", "digest", "part"])
def test_a_whole_that_is_not_what_was_promised_leaves_nothing(server, store, bucket, wrong):
    store.put("k", b"what was there")
    upload, parts = upload_all(store, "k")
    size = len(DATA) + (wrong == "size")
    digests = combine_parts(parts) if wrong != "digest" else Digests(crc32c=b"abcd")
    if wrong == "part":
        parts = parts[:2]

    with pytest.raises(IntegrityError):
        store.complete(upload, parts, size=size, digests=digests)

    assert {key: o.data for key, o in server.objects(bucket).items()} == {"k": b"what was there"}
    assert server.open_uploads(bucket) == {}


def test_a_conditional_complete_that_loses_changes_nothing(server, store, bucket):
    upload, parts = upload_all(store, "k")
    store.put("k", b"somebody else's")

    with pytest.raises(PreconditionError):
        store.complete(upload, parts, size=len(DATA), digests=combine_parts(parts), condition=ABSENT)

    assert {key: o.data for key, o in server.objects(bucket).items()} == {"k": b"somebody else's"}
    assert server.open_uploads(bucket) == {}


@pytest.mark.parametrize("operation", ["upload.complete", "object.stat", "object.compose", "object.delete"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}, {"lose_ack": True}])
@pytest.mark.parametrize("condition", [ABSENT, Condition()])
def test_complete_goes_on_after_a_passing_failure(server, store, bucket, operation, fault, condition):
    """Whatever step fails, and whether or not it was done: calling again gives the one object and leaves nothing."""
    upload, parts = upload_all(store, "k", metadata=FULL)
    fired = fails(server, Rule(operation=operation, first=1, **fault))

    def complete():
        return store.complete(
            upload, parts, size=len(DATA), digests=combine_parts(parts), condition=condition
        )

    try:
        info = complete()
    except (ConnectionLostError, ThrottledError):
        info = complete()

    assert fired() == 1
    assert info == store.stat("k")
    assert {key: o.data for key, o in server.objects(bucket).items()} == {"k": DATA}
    assert server.open_uploads(bucket) == {}


def test_a_temporary_object_that_cannot_be_removed_is_left_and_found(server, store, bucket):
    """The commit stands; three attempts are made, and the rest is the cleanup's."""
    upload, parts = upload_all(store, "k")
    fired = fails(server, Rule(operation="object.delete", status=503))
    store.complete(upload, parts, size=len(DATA))
    server.faults.clear()

    [left] = store.list_uploads()

    assert (fired(), left.key, left.id) == (3, "k", "")
    store.abort(left)
    assert {key: o.data for key, o in server.objects(bucket).items()} == {"k": DATA}


def test_abort_leaves_nothing_and_may_be_repeated(server, store, bucket):
    upload, parts = upload_all(store, "k")
    store.abort(upload)
    store.abort(upload)

    assert (server.objects(bucket), server.open_uploads(bucket)) == ({}, {})
    with pytest.raises(NotFoundError):
        store.put_part(upload, 1, b"late")
    with pytest.raises(NotFoundError):
        store.complete(upload, parts, size=len(DATA))


def test_what_a_crash_leaves_is_found_by_key_and_removed(server, store, bucket):
    open_one = store.begin("logs/a", part_size_bytes=PART)
    store.begin("other", part_size_bytes=PART)
    dead, parts = upload_all(store, "logs/b")
    fired = fails(server, Rule(operation="object.compose", status=500, first=1))
    with pytest.raises(ConnectionLostError):
        store.complete(dead, parts, size=len(DATA))
    assert fired() == 1

    found = {upload.key: upload for upload in store.list_uploads("logs/")}

    assert {"logs/a", "logs/b"} == set(found)
    assert open_one.id == found["logs/a"].id
    assert found["logs/a"].part_size_bytes == PART
    assert list(store.list()) == []  # a temporary object is nobody's source
    for upload in store.list_uploads():
        store.abort(upload)
    assert (server.objects(bucket), server.open_uploads(bucket)) == ({}, {})


@pytest.mark.parametrize("key", ["a", "/a//b/", "😀" * 100, "k" * 700, "k" * 1024, "é" * 512])
def test_a_temporary_key_fits_and_says_what_it_is_for(key):
    temporary = new_temporary(key, 5 * 1024 * MIB)

    assert temporary == parse_temporary(temporary.name)
    assert len(temporary.name.encode()) <= 1024
    assert temporary.final_key == (key if len(key.encode()) <= 700 else None)
    assert temporary.part_size_bytes == 5 * 1024 * MIB
    assert temporary.name != new_temporary(key, PART).name


@pytest.mark.parametrize("stops", ["upload.begin", "object.compose", "object.delete"])
def test_a_key_too_long_for_a_temporary_name_is_known_after_a_crash(server, store, bucket, stops):
    key = "long/" + "k" * 1019
    times = 3 if stops == "object.delete" else 1  # that one is tried again
    fired = fails(server, Rule(operation=stops, status=500, first=times))
    try:
        upload, parts = upload_all(store, key)
        store.complete(upload, parts, size=len(DATA))
    except ConnectionLostError:
        assert stops != "object.delete"
    assert fired() == times

    [found] = store.list_uploads("long/")

    assert found.key == key
    assert list(store.list_uploads("other/")) == []
    store.abort(found)
    assert set(server.objects(bucket)) == ({key} if stops == "object.delete" else set())


def test_only_names_of_our_form_are_hidden(server, store, bucket):
    """Objects of somebody else under our prefix are listed: nothing is lost from a listing by its name alone."""
    from crossdock.testing.gcs import Content, Metadata as Stored

    for key in (".crossdock/uploads/readme", ".crossdock/uploads/", new_temporary("k", PART).name):
        server._store.put(bucket, key, Content.of([b"x"]), Stored())

    assert [i.key for p in store.list() for i in p] == [".crossdock/uploads/", ".crossdock/uploads/readme"]


def test_a_copy_is_pinned_conditional_and_carries_the_metadata(server, store, bucket):
    server.create_bucket(other := f"{bucket}-other")
    target = GCSStore(other, store.options)
    info = store.put("a b/ü", DATA, metadata=FULL)  # larger than the server rewrites in one call

    copied = target.copy(store.url, "a b/ü", "k", info=info, metadata=FULL, condition=ABSENT)

    assert server.objects(other)["k"].data == DATA
    assert (FULL, info.digests) == (copied.metadata, copied.digests)
    with pytest.raises(PreconditionError):
        target.copy(store.url, "a b/ü", "k", info=info, condition=ABSENT)
    bare = target.copy(store.url, "a b/ü", "k", info=info, condition=Condition(version=copied.version))
    assert Metadata() == bare.metadata == target.stat("k").metadata
    store.put("a b/ü", b"replaced")
    with pytest.raises(PreconditionError):
        target.copy(store.url, "a b/ü", "k2", info=info)
    with pytest.raises(UnsupportedError):
        target.copy("s3://bucket", "k", "k", info=info)
    assert list(server.objects(other)) == ["k"]


def test_deleting_what_is_not_there_is_fine(store):
    store.delete("nothing")


@pytest.mark.parametrize("fault", [{"lose_ack": True}, {"reset": True}])
def test_a_lost_acknowledgement_is_an_unknown_outcome(server, store, bucket, fault):
    fired = fails(server, Rule(operation="object.insert", first=1, **fault))

    with pytest.raises(ConnectionLostError) as caught:
        store.put("k", b"hello")

    assert fired() == 1
    assert caught.value.retry is Retry.LATER
    assert ("k" in server.objects(bucket)) == ("lose_ack" in fault)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ThrottledError), (503, ThrottledError), (500, ConnectionLostError), (502, ConnectionLostError)],
)
@pytest.mark.parametrize(
    ("operation", "verb"),
    [
        ("object.insert", lambda s: s.put("new", b"")),
        ("object.stat", lambda s: s.stat("k")),
        ("object.get", lambda s: s.read("k")),
        ("object.get", lambda s: s.read("slash/")),
        ("object.list", lambda s: list(s.list())),
        ("object.delete", lambda s: s.delete("k")),
        ("upload.begin", lambda s: s.begin("new", part_size_bytes=PART)),
    ],
)
def test_a_busy_or_broken_service_is_worth_trying_again(server, store, status, error, operation, verb):
    store.put("k", b"hello")
    store.put("slash/", b"hello")
    fired = fails(server, Rule(operation=operation, status=status, first=1))

    with pytest.raises(error) as caught:
        verb(store)

    assert fired() == 1
    assert caught.value.retry is Retry.LATER


def test_the_wish_of_a_throttling_service_is_known(server, store):
    fired = fails(server, Rule(operation="object.insert", status=503, first=1, retry_after_s=7))

    with pytest.raises(ThrottledError) as caught:
        store.put("k", b"")

    assert fired() == 1
    assert caught.value.retry_after_s == 7.0


def test_a_missing_bucket_is_named_by_every_verb(server):
    store = GCSStore("missing", GCSOptions(endpoint_url=server.url))
    for verb in (
        store.check,
        lambda: list(store.list()),
        lambda: store.stat("k"),
        lambda: store.read("k"),
        lambda: store.read("k/"),
        lambda: store.put("k", b""),
        lambda: store.delete("k"),
        lambda: store.begin("k", part_size_bytes=PART),
        lambda: list(store.list_uploads()),
    ):
        with pytest.raises(NotFoundError) as caught:
            verb()
        assert "gs://missing" in str(caught.value)
        assert caught.value.retry is Retry.NEVER


def test_check_passes_on_a_bucket_that_is_there(store):
    store.check()


def test_a_refused_connection_is_told_in_seconds_and_not_tried_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = GCSStore("b", GCSOptions(endpoint_url=f"http://127.0.0.1:{port}"))
    began = time.monotonic()

    for verb in (store.check, lambda: store.put("k", b"")):
        with pytest.raises(ConnectionLostError) as caught:
            verb()
        assert caught.value.retry is Retry.NEVER
        assert "endpoint_url" in caught.value.hint

    assert time.monotonic() - began < 5


def test_a_server_that_went_away_is_worth_trying_again():
    with EmbeddedGCS(buckets=("b",)) as gcs:
        store = GCSStore("b", GCSOptions(endpoint_url=gcs.url))
        store.check()

    with pytest.raises(ConnectionLostError) as caught:
        store.check()

    assert caught.value.retry is Retry.LATER


def test_tls_that_is_none_is_refused_for_good():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_in_clear():
            for _ in range(2):
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
                connection.close()

        thread = threading.Thread(target=answer_in_clear)
        thread.start()
        store = GCSStore("b", GCSOptions(endpoint_url=f"https://127.0.0.1:{listener.getsockname()[1]}"))
        for verb in (store.check, lambda: store.read("k")):
            with pytest.raises(ConnectionLostError) as caught:
                verb()
            assert "TLS" in str(caught.value)
            assert caught.value.retry is Retry.NEVER
        thread.join()


@pytest.mark.parametrize("key", ["k", "slash/"])
def test_a_token_the_service_refuses_is_a_credentials_error(server, bucket, key):
    store = GCSStore(bucket, GCSOptions(endpoint_url=server.url, token="ya29.canary-secret"))
    fired = fails(server, Rule(operation="object.*", status=401))

    for verb in (store.check, lambda: store.read(key)):
        with pytest.raises(CredentialsError) as caught:
            verb()
        assert caught.value.retry is Retry.NEVER
        assert "canary" not in f"{caught.value!r} {caught.value} {store!r} {pickle.dumps(store)!r}"
    assert fired() == 2


def test_sixteen_threads_over_one_store(store):
    def work(number):
        key = f"t/{number}"
        store.put(key, key.encode())
        return bytes(store.read(key).read_all())

    with ThreadPoolExecutor(16) as pool:
        assert {f"t/{n}".encode() for n in range(200)} == set(pool.map(work, range(200)))
