"""Protections that stand behind another one, each alone: where two would catch a fault, removing one must be noticed too.

``make bench ARGS="mutation"`` removes each protection of the transfer engine in turn and runs the tests that guard it.
"""

from __future__ import annotations

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import crossdock as xd
from crossdock.connectors import ObjectSink, ObjectSource, TransferOptions, layers
from crossdock.connectors.budget import Budget
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConnectionLostError, IntegrityError, PreconditionError
from crossdock.model import MIB, NO_DIGESTS, NO_VERSION
from crossdock.testing import EmbeddedGCS, EmbeddedS3, Rule

PART = 64 * 1024
CREDENTIALS = {"key": "access-key-of-a-test", "secret": "secret-key-of-a-test", "region": "us-east-1"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(layers, "backoff_s", lambda *_: 0.0)
    monkeypatch.setattr("crossdock.connectors.commits.backoff_s", lambda *_: 0.0)


class Silent(MemoryStore):
    """A source that publishes no digest, so that only lengths and pins protect; ``spoil`` does what it likes to a reader."""

    def __init__(self):
        super().__init__(f"silent-{uuid.uuid4()}")
        self.spoil = lambda reader, **_: reader
        self.reads = []

    @property
    def capabilities(self):
        return replace(super().capabilities, publishes=frozenset())

    @property
    def endpoint(self):
        return f"apart-{id(self)}"

    def stat(self, key, *, version=NO_VERSION):
        return replace(super().stat(key, version=version), digests=NO_DIGESTS)

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield [replace(info, digests=NO_DIGESTS) for info in page]

    def read(self, key, byte_range=None, *, version=NO_VERSION):
        self.reads.append((key, byte_range, version))
        reader = super().read(key, byte_range, version=version)
        reader.info = replace(reader.info, digests=NO_DIGESTS)
        return self.spoil(reader, number=len(self.reads))


def short(reader):
    reader._view = reader._view[:-1]
    return reader


@pytest.fixture
def silent():
    return Silent()


@pytest.fixture
def sink():
    return ObjectSink(
        layered(MemoryStore(f"to-{uuid.uuid4()}")),
        transfer=TransferOptions(part_size_bytes=PART, part_concurrency=1),
    )


def listed(store, key):
    return next(info for page in store.list() for info in page if info.key == key)


def nothing_is_there(sink):
    return [*sink.store.list()] == [] and [*sink.store.list_uploads()] == []


@pytest.mark.parametrize("size", [PART - 1, 3 * PART], ids=["whole", "parts"])
def test_an_answer_that_is_short_and_says_it_is_whole(silent, sink, size):
    """No digest tells: the length alone does. Asked for again, then loud."""
    silent.put("k", random.Random(1).randbytes(size))
    silent.spoil = lambda reader, **_: short(reader)

    with pytest.raises(IntegrityError, match="arrived"):
        sink(ObjectSource(layered(silent))("k", info=listed(silent, "k")))

    assert nothing_is_there(sink)


def test_a_short_answer_is_asked_for_again(silent, sink):
    body = random.Random(2).randbytes(PART - 1)
    silent.put("k", body)
    silent.spoil = lambda reader, number: short(reader) if number == 1 else reader

    receipt = sink(ObjectSource(layered(silent))("k", info=listed(silent, "k")))

    assert bytes(sink.store.read("k").read_all()) == body
    assert receipt.retries == 1


@pytest.mark.parametrize("size", [PART - 1, 3 * PART], ids=["whole", "parts"])
def test_a_source_replaced_meanwhile_without_a_digest_to_tell(silent, sink, size):
    """The pin alone protects: whether before the first read or between two of them."""
    silent.put("k", bytes(size))
    info = listed(silent, "k")

    def replaced(reader, number):
        if number == 1 and size > PART:
            MemoryStore(silent.bucket).put("k", b"\1" * size)
        return reader

    if size <= PART:
        silent.put("k", b"\1" * size)
    silent.spoil = replaced

    with pytest.raises(PreconditionError):
        sink(ObjectSource(layered(silent))("k", info=info))

    assert nothing_is_there(sink)


def test_a_read_that_goes_on_is_pinned_to_where_it_began(silent):
    """Half of one version and half of another would have the right length."""
    silent.put("k", bytes(1000))

    def broken(reader, number):
        if number > 1:
            return reader
        whole = reader._view

        class Breaks(type(reader)):
            def __iter__(self):
                yield bytes(whole[:500])
                MemoryStore(silent.bucket).put("k", b"\1" * 1000)
                raise ConnectionLostError("the connection broke", operation="read")

        reader.__class__ = Breaks
        return reader

    silent.spoil = broken

    with pytest.raises(PreconditionError):
        b"".join(map(bytes, layered(silent).read("k")))

    assert len(silent.reads) == 2


@pytest.fixture(scope="module", params=["s3", "gcs"])
def service(request):
    with (EmbeddedS3 if request.param == "s3" else EmbeddedGCS)(buckets=("bucket",)) as server:
        options = CREDENTIALS if request.param == "s3" else {"token": "anon"}
        url = "s3://bucket/" if request.param == "s3" else "gs://bucket/"
        yield server, url, {**options, "endpoint_url": server.url}


def test_a_damaged_part_is_refused_by_itself(service):
    """Each part carries its digest: one part is sent again, not the object."""
    server, url, options = service
    body = random.Random(3).randbytes(11 * MIB)
    server.faults.reset_counters()
    server.faults.add(Rule(operation="part.put", skip=1, first=1, flip_upload_bit=80_021, name=f"flip {url}"))
    source = MemoryStore(f"from-{uuid.uuid4()}")
    source.put("k", body)

    xd.sink(url, part_size_bytes=5 * MIB, **options)(ObjectSource(layered(source))("k"))

    assert server.faults.fired[f"flip {url}"] == 1
    assert server.faults.requests["part.put"] == 3 + 1
    assert bytes(server.objects("bucket")["k"].data) == body


def test_what_the_service_says_of_a_part_is_compared(service):
    """A service that checks nothing stores a damaged part and says so: it is sent again, not the object."""
    server, url, options = service
    body = random.Random(4).randbytes(11 * MIB)
    server.faults.reset_counters()
    name = f"flip unseen {url}"
    unseen = ("content-md5", "x-amz-checksum-*", "x-goog-hash")
    server.faults.add(
        Rule(operation="part.put", skip=1, first=1, flip_upload_bit=80_021, hide_headers=unseen, name=name)
    )
    source = MemoryStore(f"from-{uuid.uuid4()}")
    source.put("k3", body)

    xd.sink(url, part_size_bytes=5 * MIB, **options)(ObjectSource(layered(source))("k3"))

    assert server.faults.fired[name] == 1
    assert server.faults.requests["part.put"] == 3 + 1
    assert bytes(server.objects("bucket")["k3"].data) == body


def test_each_part_carries_its_digest(service):
    """What the answer says is compared, too; here it is what was sent that counts."""
    server, url, options = service
    name = "x-amz-checksum-crc64nvme" if url.startswith("s3:") else "x-goog-hash"
    source = MemoryStore(f"from-{uuid.uuid4()}")
    source.put("k2", bytes(11 * MIB))
    server.faults.reset_counters()
    server.faults.add(Rule(operation="part.put", header=f"^{name}: ", delay_s=0, name=f"digest {url}"))

    xd.sink(url, part_size_bytes=5 * MIB, **options)(ObjectSource(layered(source))("k2"))

    assert server.faults.fired[f"digest {url}"] == server.faults.requests["part.put"] == 3


def test_nothing_is_taken_of_the_budget_that_is_not_there():
    """Deterministic: the second waits until the first has given back, however the threads are scheduled."""
    budget, got = Budget(10), threading.Event()
    taken = budget.acquire(8)

    def second():
        budget.acquire(3)
        got.set()

    thread = threading.Thread(target=second)
    thread.start()

    assert not got.wait(0.2)
    budget.release(taken)
    assert got.wait(10)
    thread.join()


class Counting(MemoryStore):
    """Knows how many answers were open at a time, read or not."""

    def __init__(self):
        super().__init__(f"counting-{uuid.uuid4()}")
        self.lock = threading.Lock()
        self.now = self.most = 0

    @property
    def endpoint(self):
        return f"apart-{id(self)}"

    def read(self, key, byte_range=None, *, version=NO_VERSION):
        reader = super().read(key, byte_range, version=version)
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        plain, closed = reader.close, threading.Event()

        def close():
            if not closed.is_set():
                closed.set()
                with self.lock:
                    self.now -= 1
            plain()

        reader.close = close
        return reader


def test_an_answer_that_waits_for_its_turn_counts_against_the_budget():
    """A large object's first answer is open before its parts move, and buffers; many objects may be at that point."""
    source, sink = Counting(), layered(MemoryStore(f"to-{uuid.uuid4()}"))
    for number in range(16):
        source.put(str(number), bytes(3 * PART))
    options = TransferOptions(part_size_bytes=PART, part_concurrency=1, max_in_flight_bytes=3 * PART)
    objects = ObjectSink(sink, transfer=options)
    stored = ObjectSource(layered(source))

    with ThreadPoolExecutor(16) as pool:
        done = [
            pool.submit(lambda n=n: objects(stored(str(n), info=listed(source, str(n))))) for n in range(16)
        ]
        assert {future.result(30).parts for future in done} == {3}

    assert 0 < source.most <= 3
