"""Names and lists given instead of a listing: sorted, looked up at the lesser price, pinned, recorded."""

from __future__ import annotations

import csv
import functools
import gzip
import hashlib
import io
import json
import threading
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_kit import HOSTILE, Troubled, bucket, contents, filled
from hypothesis import given, settings, strategies as st
from pyarrow import orc

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, IntegrityError, LedgerError, NotFoundError
from crossdock.flows.given import Missing, Names, names_in
from crossdock.flows.given.asking import looked_up
from crossdock.model import ObjectInfo
from crossdock.ports import Capabilities
from crossdock.testing import EmbeddedS3
from crossdock.testing.demo.plain import PlainS3


class Asked(MemoryStore):
    """A bucket that counts what it is asked, lists from anywhere, and has pages of 1,000."""

    seekable = True

    def __init__(self, count):
        super().__init__(bucket())
        self.count = count
        self.lists = self.stats = 0

    @property
    def capabilities(self):
        return Capabilities(seekable_listing=self.seekable)

    def list(self, _="", *, start_after=None):
        start = (
            0
            if start_after is None
            else next((number for number in range(self.count) if f"k{number:06d}" > start_after), self.count)
        )
        for at in range(start, self.count, 1_000):
            self.lists += 1
            yield [
                ObjectInfo(key=f"k{number:06d}", size=1) for number in range(at, min(at + 1_000, self.count))
            ]

    def stat(self, key, **_):
        self.stats += 1
        if int(key[1:]) >= self.count:
            raise NotFoundError("none", key=key)
        return ObjectInfo(key=key, size=1)


def found(store, names):
    return [info for batch in looked_up(store, "", names) for info in batch]


def test_many_names_are_found_in_the_listing_and_few_are_asked_for():
    """Whatever is fewer requests: 20,000 neighbours are 20 pages, 500 far apart are 500 questions and a few pages."""
    dense, sparse = Asked(20_000), Asked(100_000)

    everything = found(dense, (f"k{number:06d}" for number in range(20_010)))
    some = found(sparse, (f"k{number:06d}" for number in range(0, 100_000, 200)))

    assert [info.key for info in everything] == [f"k{number:06d}" for number in range(20_010)]
    assert [type(info) for info in everything[-11:]] == [ObjectInfo] + [Missing] * 10
    assert (dense.stats, dense.lists <= 30) == (0, True)
    assert [info.key for info in some] == [f"k{number:06d}" for number in range(0, 100_000, 200)]
    assert sparse.stats >= 480
    assert sparse.lists <= 20


def test_a_store_that_cannot_start_anywhere_is_asked():
    class Slow(Asked):
        seekable = False

    store = Slow(200)

    assert len(found(store, (f"k{number:06d}" for number in range(200)))) == 200
    assert (store.stats, store.lists) == (200, 0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(alphabet="ab/\n é\U0001f4a9", min_size=1, max_size=4), min_size=1))
def test_names_are_sorted_each_once_and_their_digest_is_that_of_the_set(names):
    one, other = Names(names), Names(reversed(names))

    assert sorted(set(names)) == list(one) == list(one)
    assert one.asked() == other.asked()
    assert len(one) == len(set(names))
    assert one.asked() != Names([*names, "another"]).asked()


def test_more_names_than_memory_holds_are_sorted_in_files():
    names = Names(f"{number * 7919 % 120_000:06d}" for number in range(120_000))

    assert [f"{number:06d}" for number in range(120_000)] == list(names)


@pytest.mark.parametrize("names", [[], [""], [1], "one", ["\ud800"]])
def test_names_that_are_none_are_refused(names):
    with pytest.raises(ConfigError):
        Names(names)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_key_goes_through_a_file_of_zero_ended_names(name):
    file = io.BytesIO(f"{name}\0plain\0".encode())

    assert [name, "plain"] == list(names_in(file, where="-", nul=True))


def test_names_are_copied_and_nothing_is_listed_at_the_source():
    source = Troubled()
    for key in ("p/a", "p/b", "p/c", "q"):
        source.put(key, key.encode())
    source.calls.clear()
    target = MemoryStore(bucket())

    report = xd.migrate(source.source("p"), f"{target.url}/", names=["c", "a", "a", "nowhere", "q"])

    assert contents(target.url) == {"a": b"p/a", "c": b"p/c"}
    assert (report.counts.planned, report.counts.copied, report.counts.failed) == (4, 2, 2)
    assert {record.failure.reason for record in report.failed} == {"missing"}
    assert source.count("list") == 0
    assert report.to_arrow()["reason"].to_pylist().count("missing") == 2


def test_going_on_with_a_run_of_another_list_is_refused():
    source, target, runs = (
        filled({"a": b"1", "b": b"2"}),
        MemoryStore(bucket()).url,
        MemoryStore(bucket()).url,
    )

    first = xd.migrate(f"{source}/", f"{target}/", names=["a", "nowhere"], run_dir=f"{runs}/1/")
    again = xd.migrate(f"{source}/", f"{target}/", names=["nowhere", "a"], run_dir=f"{runs}/1/")

    assert first.counts == again.counts
    with pytest.raises(LedgerError, match="another question"):
        xd.migrate(f"{source}/", f"{target}/", names=["a", "b"], run_dir=f"{runs}/1/")
    with pytest.raises(LedgerError, match="another question"):
        xd.migrate(f"{source}/", f"{target}/", run_dir=f"{runs}/1/")


def test_objects_that_no_listing_can_find_are_named(tmp_path):
    """HTTP has no listing: names make a source of many objects of it."""
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).write_bytes(name.encode())
    handler = functools.partial(Quiet, directory=str(tmp_path))
    target = MemoryStore(bucket())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            source = f"http://127.0.0.1:{server.server_port}/d/"
            report = xd.migrate(source, f"{target.url}/", names=["b", "a", "nowhere"])
        finally:
            server.shutdown()
            thread.join()

    assert contents(target.url) == {"a": b"a", "b": b"b"}
    assert [group.reason for group in report.failures] == ["missing"]


class Quiet(SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, *_):
        pass


def test_names_and_a_manifest_exclude_each_other():
    with pytest.raises(ConfigError, match="give one of the two"):
        xd.plan("memory://x/", "memory://y/", names=["a"], manifest="run:1")


def table_file(kind, rows, path):
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pq.write_table(pa.table(columns), path)
    else:
        orc.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "parquet", "orc"])
def test_a_table_of_one_s_own_says_what_is_there(kind, tmp_path):
    """Unsorted, with rows elsewhere; sizes and digests are the table's, and nothing is asked of the source."""
    source = Troubled()
    for key in ("p/a", 'p/b\nc, "d"', "q"):
        source.put(key, key.encode())
    source.calls.clear()
    rows = [
        {"key": key, "size": len(key), "MD5": hashlib.md5(key.encode()).hexdigest(), "note": "x"}
        for key in ("q", 'p/b\nc, "d"', "p/a")
    ]
    url = table_file(kind, rows, tmp_path / f"list.{kind}")

    plan = xd.plan(source.source("p/"), f"{MemoryStore(bucket()).url}/", manifest=url)

    assert [(row.name, row.source.size, row.source.digests.md5) for row in plan] == [
        (row["key"][2:], row["size"], bytes.fromhex(row["MD5"])) for row in rows[:0:-1]
    ]
    assert source.calls == []


def test_objects_without_a_size_are_asked_for_and_versions_pin(tmp_path):
    source = Troubled()
    for key in ("a", "b", "c"):
        source.put(key, b"first")
    etags = {key: source.stat(key).version.etag for key in ("a", "b", "c")}
    source.put("b", b"second")
    url = table_file(
        "csv",
        [{"key": key, "size": "", "etag": etags.get(key, "x")} for key in ("a", "b", "nowhere")],
        tmp_path / "list.csv",
    )
    target = MemoryStore(bucket())

    report = xd.migrate(source.source(), f"{target.url}/", manifest=url)

    assert contents(target.url).keys() == {"a"}
    assert {group.reason for group in report.failures} == {"source changed", "missing"}
    assert source.count("list") == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,size\na,1\n", "no column key"),
        ("key,size\na,many\n", "cannot be read"),
        ("key,size\na,1\na,2\n", "more than once"),
        ("key,md5\na,zz\n", "cannot be read"),
        ("key,size\n,1\n", "has the key ''"),
        ("key,size\na,1,2,3\n", "cannot be read"),
    ],
)
def test_a_table_that_makes_no_sense_is_loud(text, says, tmp_path):
    (tmp_path / "list.csv").write_text(text)

    with pytest.raises(ConfigError, match=says):
        xd.plan(f"{filled({'a': b'1'})}/", "memory://nowhere/", manifest=str(tmp_path / "list.csv"))


def test_what_is_no_list_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no list of objects"):
        xd.plan("memory://a/", "memory://b/", manifest=f"{tmp_path}/")


def inventory(kind, objects, s3):
    """What S3 writes: data files, and a manifest that names them, in another bucket."""
    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
    rows = [
        ("src", key, "", latest, marker, size, datetime(2026, 1, 1, tzinfo=UTC), etag, "STANDARD")
        for key, size, etag, latest, marker in objects
    ]
    names = (
        "bucket",
        "key",
        "version_id",
        "is_latest",
        "is_delete_marker",
        "size",
        "last_modified_date",
        "e_tag",
        "storage_class",
    )
    if kind == "CSV":
        text = io.StringIO()
        for row in rows:
            values = [str(value).lower() if isinstance(value, bool) else value for value in row]
            values[1] = "".join(c if c.isalnum() else "+" if c == " " else f"%{ord(c):02X}" for c in row[1])
            values[6] = "2026-01-01T00:00:00.000Z"
            csv.writer(text, quoting=csv.QUOTE_ALL).writerow(values)
        data = gzip.compress(text.getvalue().encode())
    else:
        sink = pa.BufferOutputStream()
        table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
        (pq.write_table if kind == "Parquet" else orc.write_table)(table, sink)
        data = bytes(sink.getvalue())
    end = {"CSV": "csv.gz", "Parquet": "parquet", "ORC": "orc"}[kind]
    document = {
        "sourceBucket": "src",
        "destinationBucket": "arn:aws:s3:::inv",
        "fileFormat": kind,
        "fileSchema": schema,
        "files": [
            {
                "key": f"i/src/all/data/1.{end}",
                "size": len(data),
                "MD5checksum": hashlib.md5(data).hexdigest(),
            }
        ],
    }
    s3.put("inv", f"i/src/all/data/1.{end}", data, {}, None)
    s3.put("inv", "i/src/all/2026-01-01T00-00Z/manifest.json", json.dumps(document).encode(), {}, None)
    return "s3://inv/i/src/all/2026-01-01T00-00Z/manifest.json"


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("src", "inv", "other")) as server, PlainS3(server.url) as plain:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        for key in ("z", "p/a b+c", "p/old"):
            plain.put("src", key, key.encode(), {}, None)
        yield server, plain


def entries():
    """Current objects, a delete marker and a version that is not current."""
    etag = {key: hashlib.md5(key.encode()).hexdigest() for key in ("z", "p/a b+c", "p/old")}
    return [
        ("z", 1, etag["z"], True, False),
        ("p/old", 9, "f" * 32, False, False),
        ("p/gone", 0, "", True, True),
        ("p/a b+c", 7, etag["p/a b+c"], True, False),
    ]


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
def test_an_inventory_takes_the_place_of_the_listing(kind, s3):
    """Current versions below the prefix, in order, their ETags pinned; the source is never listed."""
    server, plain = s3
    url = inventory(kind, entries(), plain)
    target = MemoryStore(bucket())

    report = xd.migrate("s3://src/", f"{target.url}/", manifest=url)

    assert contents(target.url) == {"p/a b+c": b"p/a b+c", "z": b"z"}
    assert report.levels == {"V2": 2}
    assert (
        server.faults.requests.get("object.list", 0) + server.faults.requests.get("bucket.list", 0) <= 1
    )  # check()
    planned = iter(
        xd.plan("s3://src/p/", f"{target.url}/x/", manifest=url)
    )  # a plan that is not kept is not gone
    assert [row.source.version.etag for row in planned] == [hashlib.md5(b"p/a b+c").hexdigest()]


def test_an_object_replaced_since_the_inventory_is_not_copied(s3):
    _, plain = s3
    url = inventory("CSV", entries(), plain)
    plain.put("src", "z", b"y", {}, None)
    target = MemoryStore(bucket())

    report = xd.migrate("s3://src/", f"{target.url}/", manifest=url)

    assert contents(target.url) == {"p/a b+c": b"p/a b+c"}
    assert [group.reason for group in report.failures] == ["source changed"]


def test_an_inventory_of_another_bucket_or_damaged_is_refused(s3):
    _, plain = s3
    url = inventory("CSV", entries(), plain)

    with pytest.raises(ConfigError, match="the list is of s3://src"):
        xd.plan("s3://other/", "memory://x/", manifest=url)

    plain.put("inv", "i/src/all/data/1.csv.gz", b"other bytes", {}, None)
    with pytest.raises(IntegrityError, match="MD5"):
        xd.plan("s3://src/", "memory://x/", manifest=url)


def test_an_earlier_run_takes_the_place_of_the_listing():
    source, runs = filled({"p/a": b"1", "p/b": b"22"}), MemoryStore(bucket()).url
    first = xd.migrate(f"{source}/p/", "memory://given-first/", include=["a"], run_dir=f"{runs}/1/")
    target = MemoryStore(bucket()).url

    second = xd.migrate(f"{source}/p/", f"{target}/", manifest=first.run_dir + "/")

    assert contents(target) == {"a": b"1"}
    assert second.ok
    with pytest.raises(ConfigError, match="the list is of"):
        xd.plan("memory://elsewhere/", f"{target}/", manifest=first.run_dir + "/")
