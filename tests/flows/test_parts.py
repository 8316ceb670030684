"""Objects that are cut over workers: begun once, every part once, completed once, whatever is lost or done twice."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flow_kit import Troubled, bucket, contents

import crossdock as xd
from crossdock.connectors.digests import digest_of, multipart_etag
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConnectionLostError, DeniedError
from crossdock.flows.ledger.compacting import compact_ended
from crossdock.flows.ledger.records import RecordState
from crossdock.flows.ledger.writing import read_records
from crossdock.model import Digests

PART, BODY = 1_000, os.urandom(20_500)
COUNT = 21
CUT = TransferOptions(part_size_bytes=PART, split_above_bytes=10_000, part_concurrency=2)
WHOLE = TransferOptions(part_size_bytes=PART)


def _nothing(_number):
    """No trouble."""


class Store(Troubled):
    """A bucket whose uploads can be looked at, and made to fail."""

    def __init__(self):
        super().__init__()
        self.parts = Counter()
        self.on_part = _nothing
        self.on_complete = lambda do: do()
        self.dropped = set()

    @property
    def capabilities(self):
        return replace(super().capabilities, publishes=super().capabilities.publishes - self.dropped)

    def begin(self, key, **kwargs):
        self._note("begin", key)
        return super().begin(key, **kwargs)

    def put_part(self, upload, number, data, **kwargs):
        self.on_part(number)
        self.parts[number] += 1
        return super().put_part(upload, number, data, **kwargs)

    def complete(self, upload, parts, **kwargs):
        self._note("complete", upload.key)
        return self.on_complete(lambda: MemoryStore.complete(self, upload, parts, **kwargs))


class EtagOnly(Troubled):
    """As S3 shows an object that was uploaded in parts: the ETag is all there is, and the sizes of the parts can be asked for."""

    part_bytes = PART
    whole_md5 = False

    def _shown(self, info):
        body = bytes(MemoryStore.read(self, info.key).read_all())
        pieces = [body[start : start + self.part_bytes] for start in range(0, len(body), self.part_bytes)]
        etag = multipart_etag([digest_of(piece, ["md5"]).md5 for piece in pieces])
        digests = digest_of(body, ["md5"]) if self.whole_md5 else Digests(multipart_etag=etag)
        return replace(info, digests=digests)

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield [self._shown(info) for info in page]

    def stat(self, key, **kwargs):
        return self._shown(super().stat(key, **kwargs))

    def part_sizes(self, info, *, every=False):  # noqa: ARG002 - they are always exact
        whole, rest = divmod(info.size, self.part_bytes)
        return (self.part_bytes,) * whole + ((rest,) if rest else ())


@pytest.fixture
def source():
    store = Troubled()
    store.put("big", BODY)
    return store


@pytest.fixture
def sink():
    return Store()


@pytest.fixture
def place():
    return f"memory://{bucket()}/"


def moved(source, sink, place, options=CUT, **more):
    return xd.migrate(source.source(), sink.sink(transfer=options), run_dir=place, **more)


def again(source, sink, place, options=CUT):
    return xd.resume(place, source=source.source(), sink=sink.sink(transfer=options))


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


def receipt_of(report):
    found = [
        record.receipt
        for _, records in read_records(report.directory.files)
        for record in records
        if record.state is RecordState.COPIED
    ]
    return found[-1]


def was_cut(report):
    return any(
        record.state is RecordState.UPLOAD
        for _, records in read_records(report.directory.files)
        for record in records
    )


def open_uploads(store):
    return [upload.key for upload in store.list_uploads("")]


def check_done(report, sink, *, begun=1, completed=1):
    assert numbers(report) == (1, 1, 0, 0, 0)
    assert contents(sink.url) == {"big": BODY}
    assert (begun, completed) == (sink.count("begin"), sink.count("complete"))
    assert open_uploads(sink) == []


def test_a_cut_object_is_begun_once_sent_once_completed_once(source, sink, place):
    report = moved(source, sink, place)

    check_done(report, sink)
    assert was_cut(report)
    assert sink.parts == dict.fromkeys(range(1, COUNT + 1), 1)


@pytest.mark.parametrize("verify", ["auto", "v0", "v1", "v2", "v3"])
@pytest.mark.parametrize("kind", ["digests", "parts", "md5"])
def test_a_cut_object_is_proven_as_far_as_one_that_was_not(kind, verify):
    """The same level for the same words, whatever the source publishes; what only an ordered digest proves is not cut."""
    source = Troubled() if kind == "digests" else EtagOnly()
    source.whole_md5 = kind == "md5"
    source.put("big", BODY)
    found = []
    for options in (CUT, WHOLE):
        sink = Store()
        report = moved(source, sink, f"memory://{bucket()}/", replace(options, verify=verify))
        check_done(report, sink)
        found.append((receipt_of(report), was_cut(report)))

    (cut, was), (whole, _) = found
    assert was == (kind != "md5" or verify in ("v0", "v1"))
    assert (whole.verification, whole.evidence, whole.parts) == (cut.verification, cut.evidence, cut.parts)
    assert whole.method == cut.method == "parts"
    assert cut.digests.crc32c == digest_of(BODY, ["crc32c"]).crc32c or cut.digests == whole.digests


def test_parts_at_the_source_that_are_not_ours_are_not_cut(place):
    """Sizes of the source's parts that cannot be taken over need the bytes in order."""
    source, sink = EtagOnly(), Store()
    source.part_bytes = 30_000  # too large for the budget below
    source.put("big", BODY * 3)

    report = moved(source, sink, place, replace(CUT, max_in_flight_bytes=8_000))

    assert numbers(report) == (1, 1, 0, 0, 0)
    assert not was_cut(report)
    assert report.levels == {"V2": 1}


def test_parts_that_must_come_in_order_are_not_cut(source, place):
    class Ordered(Store):
        @property
        def capabilities(self):
            return replace(super().capabilities, ordered_parts=True)

    sink = Ordered()
    report = moved(source, sink, place)

    check_done(report, sink)
    assert not was_cut(report)
    assert receipt_of(report).method == "stream"


def test_a_failure_keeps_what_was_sent_and_resuming_sends_the_rest(source, sink, place):
    def fail(number):
        if number >= 12:
            raise DeniedError("not now", operation="put part")

    sink.on_part = fail
    first = moved(source, sink, place)
    there, still_open = {*sink.parts}, open_uploads(sink)
    sink.on_part = _nothing
    second = again(source, sink, place)

    assert numbers(first) == (1, 0, 0, 1, 0)
    assert [group.reason for group in first.failures] == ["denied"]
    assert there
    assert not there & {*range(12, COUNT + 1)}
    assert still_open == ["big"]
    check_done(second, sink)
    assert sink.parts == dict.fromkeys(range(1, COUNT + 1), 1)


def test_an_upload_that_vanishes_is_begun_anew(source, sink, place):
    gone = []

    def abort(number):
        if number == 9 and not gone:
            gone.extend(sink.list_uploads(""))
            sink.abort(gone[0])

    sink.on_part = abort
    report = moved(source, sink, place)

    assert gone
    check_done(report, sink, begun=2)
    assert receipt_of(report).resent_bytes == len(BODY)


def test_an_upload_that_always_vanishes_is_a_failure(source, sink, place):
    def abort(number):
        for upload in sink.list_uploads(""):
            sink.abort(upload)

    sink.on_part = abort
    report = moved(source, sink, place)

    assert numbers(report) == (1, 0, 0, 1, 0)
    assert sink.count("begin") == 2 * 3  # the run gives it one more chance at its end
    assert open_uploads(sink) == []


def test_a_source_that_is_replaced_meanwhile_fails_and_leaves_nothing(source, sink, place):
    def replace_it(number):
        if number == 9:
            MemoryStore.put(source, "big", os.urandom(len(BODY)))

    sink.on_part = replace_it
    report = moved(source, sink, place)

    assert numbers(report) == (1, 0, 0, 1, 0)
    assert [group.reason for group in report.failures] == ["source changed"]
    assert (contents(sink.url), open_uploads(sink)) == ({}, [])


def test_a_destination_that_changes_meanwhile_is_left_alone(source, sink, place):
    sink.on_part = lambda number: MemoryStore.put(sink, "big", b"theirs") if number == 9 else None
    report = moved(source, sink, place)

    assert [group.reason for group in report.failures] == ["destination changed"]
    assert (contents(sink.url), open_uploads(sink)) == ({"big": b"theirs"}, [])


def test_a_lost_acknowledgement_of_the_completion_is_resolved_by_looking(source, sink, place):
    lost = []

    def lose(do):
        lost.append(do())
        raise ConnectionLostError("no answer", operation="complete")

    sink.on_complete = lose
    report = moved(source, sink, place)

    assert len(lost) == 1
    check_done(report, sink)


def test_bytes_damaged_on_the_way_in_are_never_committed(source, sink, place):
    """A bit that flips while it is read cannot be told from the part alone: the whole is compared, and read again."""
    flipped = []

    class Flipping(Troubled):
        def read(self, key, byte_range=None, **kwargs):
            reader = super().read(key, byte_range, **kwargs)
            if byte_range is not None and byte_range.start == 5 * PART and not flipped:
                flipped.append(byte_range)
                return Flipped(reader)
            return reader

    class Flipped:
        def __init__(self, reader):
            self.info, self.close = reader.info, reader.close
            self._data = bytearray(reader.read_all())
            self._data[0] ^= 1

        def read_all(self):
            return bytes(self._data)

        def __iter__(self):
            yield bytes(self._data)

    damaged = Flipping()
    damaged.put("big", BODY)
    report = moved(damaged, sink, place)

    assert flipped
    check_done(report, sink, begun=2)
    assert receipt_of(report).verification is xd.Verification.V2


class EveryTwice:
    """A runner that runs each item twice at once, as a cluster does that takes a slow worker for dead."""

    def run(self, function, items, *, name="task"):  # noqa: ARG002 - the port's
        with ThreadPoolExecutor(2) as pool:
            for index, item in enumerate(items):
                first, _ = pool.map(function, [item, item])
                yield index, first

    def close(self):
        pass


def test_every_step_twice_at_once_gives_one_object(source, sink, place):
    report = moved(source, sink, place, runner=EveryTwice())

    assert report.counts.copied == 1
    assert contents(sink.url) == {"big": BODY}
    xd.cleanup(place, sink=sink.sink())
    assert open_uploads(sink) == []


class Losing:
    """A runner that knows nothing of items that become due, one at a time; it loses some of them with their workers."""

    def __init__(self, *lost):
        self.lost, self.seen = lost, 0

    def run(self, function, items, *, name="task"):  # noqa: ARG002 - the port's
        for index, item in enumerate(items):
            self.seen += 1
            result = function(item)
            yield (
                index,
                ConnectionLostError("its worker died", operation="run") if self.seen in self.lost else result,
            )

    def close(self):
        pass


@pytest.mark.parametrize("lost", [(), (1,), (2,), (4, 5), (9,)])
def test_a_step_that_is_lost_is_taken_again_and_no_part_twice(lost, source, sink, place):
    """Opening (1), sending (2 to 8), completion (9): done and lost, on a runner that only iterates."""
    runner = Losing(*lost)
    report = moved(source, sink, place, runner=runner)

    assert runner.seen > max(lost, default=0)
    check_done(report, sink)
    assert sink.parts == dict.fromkeys(range(1, COUNT + 1), 1)


def test_ctrl_c_leaves_the_upload_for_resuming(source, sink, place):
    pressed = []

    def press(number):
        if number == 9 and not pressed:
            pressed.append(number)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    sink.on_part = press
    with pytest.raises(KeyboardInterrupt):
        moved(source, sink, place)
    report = again(source, sink, place)

    assert pressed
    assert numbers(report) == (1, 1, 0, 0, 0)
    assert contents(sink.url) == {"big": BODY}
    assert max(sink.parts.values()) == 1
    assert (sink.count("begin"), open_uploads(sink)) == (1, [])


def test_large_and_small_objects_move_together(source, sink, place):
    """The large ones first; nothing is forgotten while others are under way."""
    small = {f"s{number:03d}": b"x" * number for number in range(200)}
    for key, body in small.items():
        source.put(key, body)
    source.put("larger", BODY * 2)

    report = moved(source, sink, place, runner=xd.LocalRunner(threads=3, window=3))

    assert contents(sink.url) == small | {"big": BODY, "larger": BODY * 2}
    assert numbers(report) == (202, 202, 0, 0, 0)
    assert sorted(key for verb, key in sink.calls if verb == "begin") == ["big", "larger"]
    assert open_uploads(sink) == []


def test_what_a_run_that_was_compacted_had_sent_is_not_sent_again(source, sink, place):
    """Compaction keeps what is needed to go on."""

    def fail(number):
        if number >= 12:
            raise DeniedError("not now", operation="put part")

    sink.on_part = fail
    report = moved(source, sink, place)
    compact_ended(report.directory, at_least=1)
    sink.on_part = _nothing
    check_done(again(source, sink, place), sink)

    assert max(sink.parts.values()) == 1
