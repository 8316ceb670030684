"""``xd.check``: what is the same, what is not, by which evidence, and that half a listing is never an answer."""

from __future__ import annotations

import itertools
import os
import uuid

import pytest
from flow_kit import HOSTILE, Troubled, bucket, filled

import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.errors import ConfigError, IntegrityError, NotFoundError, StorageError
from crossdock.flows.checking import _judged
from crossdock.flows.planning.comparing import Checked, Comparison, How, Sign, first_difference
from crossdock.flows.planning.merging import Pair, side_by_side
from crossdock.model import MIB, ObjectInfo
from crossdock.testing import EmbeddedS3, Rule


@pytest.fixture(scope="module")
def server():
    with EmbeddedS3() as s3:
        yield s3


@pytest.fixture
def s3(server):
    """A bucket of its own: the server, its name, and the options that lead there."""
    name = f"check-{uuid.uuid4().hex[:8]}"
    server.create_bucket(name)
    server.faults.clear()
    server.faults.reset_counters()
    yield name
    server.faults.clear()


def options_of(server):
    return {"endpoint_url": server.url, "key": "AKIDEXAMPLE", "secret": "a-secret", "region": "us-east-1"}


def s3_store(server, name):
    return xd.source(f"s3://{name}/", **options_of(server)).store


def in_parts(store, key, body, part_size):
    """An object of which nothing but the MD5s of its parts is known."""
    upload = store.begin(key, part_size_bytes=part_size)
    pieces = [body[start : start + part_size] for start in range(0, len(body), part_size)]
    parts = [store.put_part(upload, number, piece) for number, piece in enumerate(pieces, 1)]
    store.complete(upload, parts, size=len(body))


def told(source, sink, **how):
    """The report, and every verdict by name."""
    verdicts = []
    report = xd.check(source, sink, each=verdicts.append, **how)
    assert [each.name for each in verdicts] == sorted((each.name for each in verdicts), key=str.encode)
    return report, {each.name: each for each in verdicts}


def signs(verdicts):
    return {name: each.sign.value for name, each in verdicts.items()}


def test_one_planted_corruption_of_the_same_size_is_found_among_ten_thousand_objects():
    source, sink = MemoryStore(bucket()), MemoryStore(bucket())
    for number in range(10_000):
        body = number.to_bytes(4, "big")
        source.put(f"in/{number:05d}", body)
        sink.put(f"out/{number:05d}", body if number != 7_777 else b"\xff" + body[1:])

    report = xd.check(f"{source.url}/in/", f"{sink.url}/out/")

    assert (report.checked, report.matched, report.differing, report.exit_code) == (10_000, 9_999, 1, 6)
    assert [(e.name, e.sign, e.how) for e in report.examples] == [("07777", Sign.DIFFERS, How.DIGEST)]
    assert report.by_digest == 9_999


def test_every_sign_in_the_order_of_names_and_the_numbers_add_up():
    source = filled({"in/same": b"1", "in/lost": b"2", "in/wrong": b"3", "in/short": b"44"})
    sink = filled({"out/same": b"1", "out/extra": b"2", "out/wrong": b"0", "out/short": b"4"})

    report, verdicts = told(f"{source}/in", f"{sink}/out")

    assert signs(verdicts) == {"extra": "-", "lost": "+", "same": "=", "short": "*", "wrong": "*"}
    assert (
        report.checked,
        report.matched,
        report.differing,
        report.missing_on_dst,
        report.missing_on_src,
        report.errors,
    ) == (5, 1, 2, 1, 1, 0)
    assert verdicts["short"].reason == "2 bytes at the source, 1 at the destination"
    assert report.to_dict()["exit_code"] == 6
    with pytest.raises(IntegrityError, match=r"2 of 5 objects differ, 1 are missing .* first 'extra'"):
        report.raise_for_differences()


def test_one_way_does_not_look_for_what_is_only_at_the_destination():
    source, sink = filled({"a": b"1"}), filled({"a": b"1", "b": b"2"})

    report = xd.check(source, sink, one_way=True)

    assert (report.checked, report.missing_on_src, report.exit_code) == (1, 0, 0)
    report.raise_for_differences()


def test_filters_hold_for_both_ends():
    source = filled({"a.csv": b"1", "b.tmp": b"1"})
    sink = filled({"a.csv": b"1", "c.tmp": b"1", "d.csv": b"1"})

    report, verdicts = told(source, sink, exclude="*.tmp")

    assert signs(verdicts) == {"a.csv": "=", "d.csv": "-"}
    assert report.excluded == 2
    assert signs(told(f"{source}/*.csv", sink)[1]) == {"a.csv": "=", "d.csv": "-"}


def test_hostile_keys_are_told_exactly():
    objects = {f"in/{key}": key.encode() for key in HOSTILE}
    source, sink = filled(objects), filled({f"out/{key[3:]}": body for key, body in objects.items()})

    report, verdicts = told(f"{source}/in/", f"{sink}/out/")

    assert set(HOSTILE) == set(verdicts)
    assert report.ok


def test_the_marker_of_a_prefix_itself_is_no_difference():
    source, sink = filled({"in/": b"", "in/a": b"1"}), filled({"a": b"1"})

    assert xd.check(f"{source}/in/", f"{sink}/").ok


def test_one_object_is_compared_with_one():
    source, sink = filled({"d/a": b"1"}), filled({"e": b"1", "f/a": b"2"})

    assert xd.check(f"{source}/d/a", f"{sink}/e").matched == 1
    assert xd.check(f"{source}/d/a", f"{sink}/f/").differing == 1
    assert xd.check(f"{source}/d/a", f"{sink}/g").missing_on_dst == 1


def test_nothing_at_either_end_is_an_error_and_not_a_match():
    with pytest.raises(NotFoundError, match="nothing to compare"):
        xd.check(filled({}), filled({}))
    with pytest.raises(NotFoundError, match="the filters leave nothing"):
        xd.check(filled({"a": b"1"}), filled({"a": b"1"}), include="b")


def test_a_wrong_argument_is_refused_before_a_request():
    with pytest.raises(ConfigError, match="concurrency"):
        xd.check(filled({"a": b""}), filled({"a": b""}), concurrency=0)
    with pytest.raises(ConfigError, match="same place"):
        xd.check(url := filled({"a": b""}), url)


class Rotten(MemoryStore):
    """Its digests are those of what was written, and its disk gives other bytes."""

    rotten = "b"

    def read(self, key, *args, **kwargs):
        if key == self.rotten:
            return MemoryStore(self.bucket).read("rot")
        return super().read(key, *args, **kwargs)


def test_download_compares_the_bytes_whatever_digests_say():
    source, sink = Troubled(), Rotten(bucket())
    for key in ("a", "b", "c"):
        source.put(key, key.encode() * 100)
        sink.put(key, key.encode() * 100)
    sink.put("rot", b"b" * 99 + b"x")
    ends = source.source(), ObjectSink(layered(sink), "")

    believed, read = xd.check(*ends, one_way=True), xd.check(*ends, one_way=True, download=True)

    assert (believed.by_digest, source.count("read") - 3) == (3, 0)
    assert (read.matched, read.differing, read.by_bytes) == (2, 1, 2)
    assert read.examples[0].reason == "the bytes differ, first at 99"


def test_files_are_read_and_compared_with_what_s3_publishes(tmp_path, server, s3):
    store = s3_store(server, s3)
    for key, body in {"a": b"1", "d/b": b"22", "c": b"3"}.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(body)
        store.put(key, body if key != "c" else b"0")

    report, verdicts = told(str(tmp_path), f"s3://{s3}/", sink_options=options_of(server))

    assert signs(verdicts) == {"a": "=", "d/b": "=", "c": "*"}
    assert {How.DIGEST} == {each.how for each in verdicts.values()}
    assert report.by_size == 0


def test_a_file_is_compared_with_the_md5s_of_unequal_parts(tmp_path, server, s3):
    """Nothing else is known of the object in the bucket: its parts' sizes are asked for, and cut out of the file."""
    body = os.urandom(11 * MIB)
    store = s3_store(server, s3)
    for key in ("same", "wrong"):
        in_parts(store, key, body, 5 * MIB)
        (tmp_path / key).write_bytes(body if key == "same" else body[:-1] + bytes([body[-1] ^ 1]))
    server.faults.add(Rule(operation="object.stat", answer_headers=NO_CRC, name="only the ETag"))

    report, verdicts = told(str(tmp_path), f"s3://{s3}/", sink_options=options_of(server))

    assert signs(verdicts) == {"same": "=", "wrong": "*"}
    assert {How.MULTIPART_ETAG} == {each.how for each in verdicts.values()}
    assert report.by_multipart_etag == 1
    assert server.faults.fired["only the ETag"] >= 2


NO_CRC = tuple((f"x-amz-checksum-{name}", "") for name in ("crc32", "crc32c", "crc64nvme", "type"))


def test_multipart_etags_of_equal_parts_decide_and_of_unequal_parts_do_not(server, s3):
    """Two buckets that publish nothing else: the part sizes tell whether unequal ETags mean unequal bytes."""
    body, other = os.urandom(6 * MIB), os.urandom(6 * MIB)
    store = s3_store(server, s3)
    for key, here, there, size in (
        ("differ", body, other, 5 * MIB),
        ("equal", body, body, 5 * MIB),
        ("unequal-parts", body, body, 5 * MIB + 1),
    ):
        in_parts(store, f"in/{key}", here, 5 * MIB)
        in_parts(store, f"out/{key}", there, size)
    server.faults.add(Rule(operation="object.stat", answer_headers=NO_CRC, name="only the ETag"))
    ends = (f"s3://{s3}/in/", f"s3://{s3}/out/")
    options = {"source_options": options_of(server), "sink_options": options_of(server)}

    report, verdicts = told(*ends, **options)
    strict = told(*ends, **options, require_digest=True)
    read = told(*ends, **options, download=True)

    assert signs(verdicts) == {"differ": "*", "equal": "=", "unequal-parts": "="}
    assert tuple(v.how for v in verdicts.values()) == (How.MULTIPART_ETAG, How.MULTIPART_ETAG, How.SIZE)
    assert (report.by_multipart_etag, report.by_size, report.exit_code) == (1, 1, 6)
    assert signs(strict[1]) == {"differ": "*", "equal": "=", "unequal-parts": "!"}
    assert (strict[0].errors, strict[0].exit_code) == (1, 6)
    assert signs(read[1]) == {"differ": "*", "equal": "=", "unequal-parts": "="}
    assert (read[0].by_bytes, read[0].by_size) == (2, 0)
    assert server.faults.fired["only the ETag"] >= 4


def test_an_error_alone_is_exit_code_5(server, s3):
    """One object that answers 403 fails alone, and is neither the same nor different."""
    store = s3_store(server, s3)
    for key in ("in/a", "in/b", "out/a", "out/b"):
        store.put(key, b"1")
    server.faults.add(Rule(operation="object.get", key="^in/b$", status=403, name="denied"))

    report = xd.check(
        f"s3://{s3}/in/",
        f"s3://{s3}/out/",
        download=True,
        source_options=options_of(server),
        sink_options=options_of(server),
    )

    assert (report.matched, report.errors, report.exit_code) == (1, 1, 5)
    assert [(each.name, each.sign.value) for each in report.examples] == [("b", "!")]
    assert server.faults.fired["denied"] >= 1


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_listing_page_that_fails_is_fatal(server, s3, monkeypatch, side):
    """The second page of either side: no report, because half a comparison would look like a whole one."""
    monkeypatch.setattr("crossdock.connectors.s3.listing._PAGE", 3)
    store = s3_store(server, s3)
    for number in range(5):
        store.put(f"in/{number}", b"1")
        store.put(f"out/{number}", b"1")
    server.faults.add(
        Rule(operation="object.list", path=f"prefix={side}", skip=1, status=500, name="second page")
    )

    with pytest.raises(StorageError):
        xd.check(
            f"s3://{s3}/in/",
            f"s3://{s3}/out/",
            source_options=options_of(server),
            sink_options=options_of(server),
        )
    assert server.faults.fired["second page"] >= 1


def test_what_is_replaced_or_deleted_meanwhile_is_an_error_of_its_own():
    source, sink = Troubled(), MemoryStore(bucket())
    for key in ("gone", "new", "same"):
        source.put(key, b"1")
        sink.put(key, b"1")
    bare = MemoryStore(source.bucket)

    def meddle(verb, key):
        if verb == "read" and key == "gone":
            bare.delete("gone")
        if verb == "read" and key == "new":
            bare.put("new", b"2")

    source.before = meddle

    report, verdicts = told(source.source(), ObjectSink(layered(sink), ""), download=True)

    assert signs(verdicts) == {"gone": "!", "new": "!", "same": "="}
    assert verdicts["gone"].reason.startswith("deleted since it was listed")
    assert verdicts["new"].reason.startswith("replaced since it was listed")
    assert report.exit_code == 5


def test_verdicts_come_while_the_listing_goes_on():
    """A pair decided by the listing is told before the next page is pulled: memory does not grow with the listing."""
    endless = (Pair(f"{number:09d}", ObjectInfo(key="k", size=1), None) for number in itertools.count())
    verdicts = _judged(endless, Comparison(None, None), 1, read_all=False)

    first = list(itertools.islice(verdicts, 3))
    verdicts.close()

    assert [each.name for each in first] == ["000000000", "000000001", "000000002"]


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [
        ([], [], None),
        ([b"abc"], [b"a", b"bc"], None),
        ([b"ab", b"c"], [b"a", b"b", b"c"], None),
        ([b"abc"], [b"abd"], 2),
        ([b"abc", b"d"], [b"ab", b"c"], 3),
        ([], [b"x"], 0),
        ([b"x" * 100, b"y"], [b"x" * 99, b"zy"], 99),
    ],
)
def test_where_two_streams_first_differ(one, other, at):
    assert at == first_difference(one, other)
    assert at == first_difference(other, one)


def test_two_sorted_sequences_side_by_side():
    info = ObjectInfo(key="k", size=0)

    pairs = list(side_by_side([(n, info) for n in "abd"], [(n, info) for n in "bce"]))

    assert [pair.name for pair in pairs] == ["a", "b", "c", "d", "e"]
    assert [pair.name for pair in pairs if pair.source] == ["a", "b", "d"]
    assert [pair.name for pair in pairs if pair.sink] == ["b", "c", "e"]


def test_a_callback_that_raises_ends_the_check():
    source = filled({f"{number}": b"1" for number in range(5)})

    def stop(verdict: Checked) -> None:
        raise KeyboardInterrupt(verdict.name)

    with pytest.raises(KeyboardInterrupt):
        xd.check(
            ObjectSource(layered(MemoryStore(source.removeprefix("memory://"))), ""),
            filled({"0": b""}),
            each=stop,
        )


def test_sizes_are_judged_by_the_source():
    source, sink = filled({"a": b"1234", "b": b"1"}), filled({"a": b"1", "b": b"1234", "c": b"1"})

    report, verdicts = told(source, sink, min_size=3)

    assert signs(verdicts) == {"a": "*"}
    assert report.excluded == 3


class Endless(MemoryStore):
    """An object that never ends: whoever compares it to the end never comes back."""

    def read(self, key, *args, **kwargs):
        reader = super().read(key, *args, **kwargs)
        if key != "b":
            return reader

        class Reader:
            info = reader.info

            def __iter__(self):
                return itertools.repeat(b"x" * 1024)

            def close(self):
                reader.close()

        return Reader()


def test_an_interrupted_check_does_not_read_to_the_end():
    ends = Endless(bucket()), Endless(bucket())
    for each in ends:
        each.put("a", b"1")
        each.put("b", b"1")

    def interrupt(_: Checked) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xd.check(ObjectSource(ends[0], ""), ObjectSink(ends[1], ""), download=True, each=interrupt)
