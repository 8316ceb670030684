"""The one writer, over memory stores: ways of writing, digests, lost acknowledgements, nothing left behind."""

from __future__ import annotations

import hashlib
import itertools
import threading
import uuid

import pytest

from crossdock.connectors import ObjectSink, ObjectSource, TransferOptions, layers
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryOptions, MemoryStore
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    PreconditionError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import ABSENT, Condition, Digests, Metadata, ObjectInfo, Verification, Version

METADATA = Metadata(content_type="text/x", cache_control="no-cache", user={"a": "b"})
PART = 64 * 1024


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Backoff is real but short, so that nothing here depends on time."""
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 0.0)


class Faulty(MemoryStore):
    """A memory store that fails on demand and counts that it did."""

    def __init__(self, bucket, options):
        super().__init__(bucket, options)
        self.plan = {}
        self.fired = []
        self.calls = []
        self.lock = threading.Lock()

    @property
    def endpoint(self):
        return f"apart-{id(self)}"  # never a server-side copy

    def _maybe(self, verb, moment):
        with self.lock:
            if moment == "before":
                self.calls.append(verb)
            errors = self.plan.get((verb, moment), [])
            if not errors:
                return
            error = errors.pop(0)
            if error is None:
                return
            self.fired.append((verb, moment))
        raise error

    def put(self, *args, **kwargs):
        self._maybe("put", "before")
        info = super().put(*args, **kwargs)
        self._maybe("put", "after")
        return info

    def put_part(self, *args, **kwargs):
        self._maybe("put_part", "before")
        return super().put_part(*args, **kwargs)

    def complete(self, *args, **kwargs):
        self._maybe("complete", "before")
        info = super().complete(*args, **kwargs)
        self._maybe("complete", "after")
        return info

    def read(self, *args, **kwargs):
        self._maybe("read", "before")
        return super().read(*args, **kwargs)


def lost():
    return ConnectionLostError("connection reset", operation="put")


@pytest.fixture
def ends():
    src = Faulty(f"s-{uuid.uuid4()}", MemoryOptions())
    dst = Faulty(f"d-{uuid.uuid4()}", MemoryOptions())
    source = ObjectSource(layered(src))
    sink = ObjectSink(layered(dst), transfer=TransferOptions(part_size_bytes=PART, part_concurrency=3))
    return src, dst, source, sink


def body(size):
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


def held(store, key):
    return bytes(store.read(key).read_all())


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7])
def test_every_size_arrives_with_metadata_and_proof(ends, size):
    """Zero, one, exactly a part, one less, one more, n parts: bytes and metadata equal, V2."""
    src, dst, source, sink = ends
    src.put("k", body(size), metadata=METADATA)

    receipt = sink(source("k"))

    assert body(size) == held(dst, "k")
    assert dst.stat("k").metadata == METADATA
    assert (size, Verification.V2) == (receipt.size, receipt.verification)
    assert ("put" if size <= PART else "parts") == receipt.method


def test_a_small_object_costs_one_read_and_one_put(ends):
    src, dst, source, sink = ends
    src.put("k", b"x")
    src.calls.clear()

    sink(source("k"))

    assert src.calls == ["read"]
    assert dst.calls == ["put"]


@pytest.mark.parametrize("size", [10, 5 * PART])
def test_a_generator_of_unknown_length_is_streamed(ends, size):
    _, dst, _, sink = ends
    data = body(size)

    receipt = sink((data[i : i + 1000] for i in range(0, size, 1000)), key="g")

    assert data == held(dst, "g")
    assert ("put" if size == 10 else "stream") == receipt.method
    assert receipt.verification == Verification.V1


@pytest.mark.parametrize("size", [10, 5 * PART])
def test_a_generator_that_dies_leaves_the_old_object(ends, size):
    """The destination key is as it was, and no upload is left."""
    _, dst, _, sink = ends
    dst.put("g", b"old")

    def dying():
        for _ in range(size // 10):
            yield b"0123456789"
        raise RuntimeError("source died")

    with pytest.raises(RuntimeError, match="source died"):
        sink(dying(), key="g")

    assert held(dst, "g") == b"old"
    assert list(dst.list_uploads()) == []


def test_a_source_that_fails_for_good_leaves_nothing(ends):
    src, dst, source, sink = ends
    src.put("k", body(5 * PART))
    gone = [None, None, *[lost() for _ in range(50)]]
    src.plan["read", "before"] = gone

    with pytest.raises(ConnectionLostError, match="attempts"):
        sink(source("k", info=src.stat("k")))

    assert ("read", "before") in src.fired
    assert [info for page in dst.list() for info in page] == []
    assert list(dst.list_uploads()) == []


@pytest.mark.parametrize("verb", ["put", "complete"])
@pytest.mark.parametrize("condition", [ABSENT, Condition()])
def test_a_lost_acknowledgement_is_resolved_by_looking(ends, verb, condition):
    """The commit happened, its answer was lost: one object, one success, no blind second write."""
    src, dst, source, sink = ends
    src.put("k", body(10 if verb == "put" else 3 * PART))
    dst.plan[verb, "after"] = [lost()]

    receipt = sink(source("k"), condition=condition)

    assert [(verb, "after")] == dst.fired
    assert dst.calls.count(verb) == 1
    assert receipt.retries >= 1
    assert receipt.verification == Verification.V2


def test_a_lost_acknowledgement_of_somebody_elses_object_is_no_success(ends):
    """Existence is no proof: another object appeared under the key, so the commit fails."""
    src, dst, source, sink = ends
    src.put("k", b"ours")
    dst.plan["put", "before"] = [lost()]
    real = dst.stat

    def intruding(key, **kwargs):
        if not dst.fired[1:]:
            dst.fired.append(("intruder", ""))
            MemoryStore.put(dst, key, b"them")
        return real(key, **kwargs)

    dst.stat = intruding

    with pytest.raises(PreconditionError):
        sink(source("k"), condition=ABSENT)

    assert held(dst, "k") == b"them"


@pytest.mark.parametrize("verb", ["put", "put_part", "complete", "read"])
def test_passing_failures_are_retried(ends, verb):
    src, dst, source, sink = ends
    src.put("k", body(10 if verb == "put" else 3 * PART))
    store = src if verb == "read" else dst
    store.plan[verb, "before"] = [ThrottledError("slow down"), lost()]

    receipt = sink(source("k"))

    assert len(store.fired) == 2
    assert receipt.retries == 2
    assert held(src, "k") == held(dst, "k")


def test_bytes_that_disagree_with_the_source_digest_never_arrive(ends):
    """A digest the source published for other bytes: loud, and nothing at the destination."""
    src, dst, source, sink = ends
    info = src.put("k", b"true")
    lie = ObjectInfo(key="k", size=4, version=info.version, digests=Digests(crc32c=b"\0\0\0\0"))
    src.read = lambda key, byte_range=None, **kw: WithoutDigests(MemoryStore.read(src, key, byte_range, **kw))

    with pytest.raises(IntegrityError):
        sink(source("k", info=lie))

    assert [i for page in dst.list() for i in page] == []


class WithoutDigests:
    def __init__(self, reader):
        from dataclasses import replace

        self.reader, self.info = reader, replace(reader.info, digests=Digests())

    def __iter__(self):
        return iter(self.reader)

    def read_all(self):
        return self.reader.read_all()

    def close(self):
        self.reader.close()


def test_a_source_replaced_since_the_listing_is_loud(ends):
    src, dst, source, sink = ends
    listed = src.put("k", body(3 * PART))
    src.put("k", body(3 * PART)[::-1])

    with pytest.raises(PreconditionError):
        sink(source("k", info=listed))

    assert [i for page in dst.list() for i in page] == []
    assert list(dst.list_uploads()) == []


def test_conditions_protect_the_destination(ends):
    src, dst, source, sink = ends
    src.put("k", b"new")
    dst.put("k", b"old")

    with pytest.raises(PreconditionError):
        sink(source("k"), condition=ABSENT)
    with pytest.raises(PreconditionError):
        sink(source("k"), condition=Condition(version=Version(etag="0" * 32, generation="1")))

    assert held(dst, "k") == b"old"


def test_md5_of_parts_is_hashed_in_order(ends):
    """A source that publishes only an MD5 reaches V2 although its parts are read in parallel."""
    src, dst, source, sink = ends
    data = body(9 * PART + 5)
    info = src.put("k", data)
    only_md5 = ObjectInfo(
        key="k", size=len(data), version=info.version, digests=Digests(md5=hashlib.md5(data).digest())
    )
    src.read = lambda key, byte_range=None, **kw: WithoutDigests(MemoryStore.read(src, key, byte_range, **kw))

    receipt = sink(source("k", info=only_md5))

    assert (receipt.verification, receipt.method) == (Verification.V2, "parts")
    assert hashlib.md5(data).digest() == receipt.digests.md5
    assert data == held(dst, "k")


def test_v3_reads_the_destination_back(ends):
    src, dst, source, sink = ends
    src.put("k", body(3 * PART))
    dst.calls.clear()

    receipt = sink.verifying("v3")(source("k"))

    assert receipt.verification == Verification.V3
    assert "read" in dst.calls


def test_one_service_copies_inside():
    """Source and sink of one service: no byte passes here."""
    store = MemoryStore(f"m-{uuid.uuid4()}", MemoryOptions())
    store.put("k", b"abc", metadata=METADATA)
    target = MemoryStore(f"m-{uuid.uuid4()}", MemoryOptions())

    receipt = ObjectSink(layered(target))(ObjectSource(layered(store))("k"))

    assert receipt.method == "copy"
    assert (held(target, "k"), target.stat("k").metadata) == (b"abc", METADATA)


def test_what_is_not_bytes_is_refused_with_a_hint(ends):
    sink = ends[3]

    with pytest.raises(ConfigError, match="encode"):
        sink("text", key="k")
    with pytest.raises(ConfigError, match="stitch_function"):
        sink({"a": 1}, key="k")
    with pytest.raises(ConfigError, match="key="):
        sink(b"bytes")
    with pytest.raises(ConfigError, match="stitch_function"):
        sink(iter(["text"]), key="k")


def test_parts_grow_with_the_object():
    """No upload passes the destination's count of parts."""
    from crossdock.connectors.strategy import choose_part_size
    from crossdock.model import GIB, MIB
    from crossdock.ports import Capabilities

    for size in (1, 16 * MIB, 160_000 * MIB, 160_000 * MIB + 1, 5 * 1024 * GIB):
        part_size = choose_part_size(size, 16 * MIB, Capabilities())
        assert -(-size // part_size) <= 10_000
        assert part_size >= 5 * MIB


def test_a_key_the_destination_refuses_is_never_sent(ends):
    src, dst, source, sink = ends
    src.put("k", b"x")
    dst.refusal = lambda *_: "no such keys here"

    with pytest.raises(UnsupportedError, match="no such keys here"):
        sink(source("k"))

    assert dst.calls == []
