"""Delta tables beyond the suite: versions, partitions, upserts, names of appends, and what others wrote; by the back door, deltalake."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

import crossdock as xd
from crossdock.batches import Batches
from crossdock.lakes.delta.access import storage_options
from crossdock.testing import Rule
from crossdock.testing.tables import Pulled, SourceDied, assert_same, numbered


@pytest.fixture
def lake(tmp_path):
    return f"delta+file://{tmp_path}/lake"


def by_back_door(lake, table="t"):
    """What the library itself reads."""
    return DeltaTable(f"{lake.removeprefix('delta+file://')}/{table}")


def data_files(tmp_path, table="t"):
    return sorted(path.name for path in (tmp_path / "lake" / table).rglob("*.parquet"))


def in_order(table, by="n"):
    return table.sort_by(by)


DAYS = pa.table(
    {
        "n": range(12),
        "day": [dt.date(2026, 5, 1 + n % 3) for n in range(12)],
        "place": ["a b/ü%", None, "x", "y"] * 3,
        "at": [dt.datetime.fromisoformat("2026-05-01") + dt.timedelta(hours=n) for n in range(12)],
    }
)


def test_the_library_reads_what_was_written(lake):
    xd.sink(lake)(DAYS, "t", partition_by=["day", "place"])

    assert_same(DAYS, in_order(by_back_door(lake).to_pyarrow_table().select(DAYS.column_names)))
    assert by_back_door(lake).metadata().partition_columns == ["day", "place"]


def test_a_lake_that_is_one_table(lake):
    xd.sink(lake)(DAYS)

    assert_same(DAYS, in_order(xd.source(lake)().read_all()))
    assert [*xd.source(f"{lake.rpartition('/')[0]}").list()] == ["lake"]


@pytest.mark.parametrize(
    ("where", "opened"),
    [
        ({"day": dt.date(2026, 5, 2)}, 4),
        ({"place": None}, 3),
        ({"place": "a b/ü%", "day": [dt.date(2026, 5, 1), dt.date(2026, 5, 3)]}, 2),
        ({"n": 7}, 1),
        (pc.field("at") >= dt.datetime.fromisoformat("2026-05-01T10:00"), 2),
        (pc.field("n") > 100, 0),
    ],
    ids=str,
)
def test_files_that_cannot_have_such_rows_are_not_opened(lake, where, opened):
    """By partition and by bounds; the rows are those of a filter of everything."""
    xd.sink(lake)(DAYS, "t", partition_by=["day", "place"])
    source = xd.source(lake)
    seen = []
    inner = source.lake.place.store
    reads = type(inner).read

    def counted(self, key, *arguments, **named):
        seen.append(key)
        return reads(self, key, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(inner), "read", counted)
        found = source("t", where=where).read_all()
    expected = DAYS.filter(where) if isinstance(where, pc.Expression) else DAYS.filter(condition(where))

    assert in_order(found).equals(expected)
    assert len({key for key in seen if key.endswith(".parquet")}) == opened


def condition(where):
    from crossdock.datasets.pruning import condition_of

    return condition_of(where, DAYS.schema)


def test_columns_partition_columns_alone_too(lake):
    xd.sink(lake)(DAYS, "t", partition_by="day")
    source = xd.source(lake)

    assert source("t", columns=["at", "n"]).schema.names == ["at", "n"]
    assert sorted(source("t", columns=["day"]).read_all()["day"].to_pylist()) == sorted(
        DAYS["day"].to_pylist()
    )
    with pytest.raises(xd.ConfigError, match="'nope'"):
        source("t", columns=["nope"])


def test_a_derived_partition_column_is_a_column(lake):
    xd.sink(lake)(DAYS, "t", partition_by={"hour": xd.hour("at")})
    xd.sink(lake)(DAYS.slice(0, 1), "t", partition_by={"hour": xd.hour("at")})
    with pytest.raises(xd.ConfigError, match="partitioned by 'hour', which the stream has not"):
        xd.sink(lake)(DAYS, "t")

    assert sorted(xd.source(lake)("t").read_all()["hour"].to_pylist()) == [0, *range(12)]


def test_versions_can_be_read(lake):
    sink, source = xd.sink(lake), xd.source(lake)
    first = sink(numbered([1]), "t")
    second = sink(numbered([2]), "t", mode="replace")
    then = dt.datetime.fromtimestamp(by_back_door(lake).history()[-1]["timestamp"] / 1000, dt.UTC)

    assert (first.version.generation, second.version.generation) == ("0", "1")
    assert_same(numbered([1]), source("t", version=0).read_all())
    assert_same(numbered([1]), source("t", version="0").read_all())
    assert_same(numbered([2]), source("t").read_all())
    assert source.version_of("t") == {"version": "1"}
    assert_same(numbered([1]), source("t", version=then).read_all())
    with pytest.raises(xd.NotFoundError):
        source("t", version=7)
    with pytest.raises(xd.ConfigError, match="time zone"):
        source("t", version="2026-05-01T00:00:00")


def test_a_reader_keeps_its_version(lake):
    xd.sink(lake)(numbered(range(10)), "t")
    with xd.source(lake)("t") as batches:
        xd.sink(lake)(numbered([1]), "t", mode="replace")

        assert sum(batch.num_rows for batch in batches) == 10


def test_an_append_of_a_name_is_done_once(lake):
    """And reads no row the second time."""
    sink = xd.sink(lake)
    rows = Pulled(numbered([1, 2]).to_batches())
    first = sink(numbered([1, 2]), "t", batch_id="monday")
    again = sink(rows.stream(), "t", batch_id="monday")
    other = sink(numbered([3]), "t", batch_id="tuesday")

    assert (first.rows, first.rows_changed, first.method) == (2, 2, "append")
    assert (again.method, again.rows_changed, rows.pulled, rows.closed) == ("skip", 0, 0, 1)
    assert (again.version.generation, other.version.generation) == ("0", "1")
    assert xd.source(lake)("t").read_all().num_rows == 3


@pytest.mark.parametrize("exists", [True, False])
def test_two_appends_of_a_name_at_once_are_one(lake, tmp_path, exists):
    """The second finds that the first was there, at the commit; its files are gone, and a rerun is a skip."""
    sink = xd.sink(lake)
    if exists:
        sink(numbered([0]), "t")

    def meanwhile():
        yield from numbered([1]).to_batches()
        sink(numbered([1]), "t", batch_id="same")

    with pytest.raises(xd.PreconditionError) as caught:
        sink(Batches(numbered([1]).schema, meanwhile()), "t", batch_id="same")

    assert caught.value.retry.name == "LATER"
    assert sink(numbered([1]), "t", batch_id="same").method == "skip"
    assert xd.source(lake)("t").read_all().num_rows == 1 + exists
    assert len(data_files(tmp_path)) == 1 + exists


def test_appends_meanwhile_are_no_conflict(lake):
    sink = xd.sink(lake)
    sink(numbered([0]), "t")

    def meanwhile():
        yield from numbered([1]).to_batches()
        sink(numbered([2]), "t")

    receipt = sink(Batches(numbered([1]).schema, meanwhile()), "t")

    assert receipt.version.generation == "2"
    assert sorted(xd.source(lake)("t").read_all()["value"].to_pylist()) == [0, 1, 2]


def test_a_source_that_dies_at_60_per_cent_leaves_no_version_and_no_object(lake, tmp_path):
    sink = xd.sink(lake, target_size="32KiB", memory="64KiB")
    sink(numbered(range(10)), "t")
    before = data_files(tmp_path)
    written = []

    def dying():
        for number, batch in enumerate(numbered(range(200_000)).to_batches(max_chunksize=2_000)):
            if number == 60:
                written.extend(data_files(tmp_path))
                raise SourceDied
            yield batch

    for mode in ("append", "replace"):
        with pytest.raises(SourceDied):
            sink(Batches(numbered([1]).schema, dying()), "t", mode=mode)

    assert len(written) > 2 * len(before) + 2  # it was in the middle of it
    assert data_files(tmp_path) == before
    assert by_back_door(lake).version() == 0


def test_many_partitions_unsorted_within_little_memory(lake, tmp_path):
    """Rows wait on disk; each partition is one object, and none is lost."""
    rows = pa.table({"n": range(20_000), "p": [n * 7919 % 100 for n in range(20_000)]})
    receipt = xd.sink(lake, memory="64KiB", max_open=10, fsync=False)(
        Batches.of(rows.to_batches(max_chunksize=1_000)), "t", partition_by="p"
    )

    assert "spilled" in receipt.evidence
    assert len(data_files(tmp_path)) == 100
    assert_same(rows, in_order(xd.source(lake)("t").read_all().select(["n", "p"])))


def test_upsert(lake):
    """New keys are inserted, rows that differ changed; again it changes nothing and makes no version."""
    sink = xd.sink(lake)
    before = pa.table(
        {"k": [1, 2, 3], "x y": ["a", None, "c"], "l": [[1], None, []], "f": [math.nan, 0.0, 1.0]}
    )
    rows = pa.table(
        {"k": [2, 3, 4], "x y": [None, "C", "d"], "l": [None, [], [4]], "f": [0.0, 1.0, math.nan]}
    )
    made = sink(before, "t", mode="upsert", key="k")
    receipt = sink(rows, "t", mode="upsert", key="k")
    again = sink(rows, "t", mode="upsert", key="k")
    nothing = sink(before.slice(0, 1), "t", mode="upsert", key="k")
    expected = pa.concat_tables([before.slice(0, 2), rows.slice(1)])

    assert (made.rows, made.rows_changed) == (3, 3)
    assert (receipt.rows, receipt.rows_changed, receipt.version.generation) == (3, 2, "1")
    assert (again.rows_changed, again.version.generation) == (0, "1")
    assert (nothing.rows_changed, nothing.version.generation) == (0, "1")
    assert_same(expected, in_order(xd.source(lake)("t").read_all(), "k"))


def test_upsert_by_two_keys_with_any_names(lake):
    sink = xd.sink(lake)
    names = ['k"1', "select", "a'; --"]
    sink(pa.table([[1, 1], ["a", "b"], [1.5, 2.5]], names), "t", partition_by=["select"])
    sink(pa.table([[1, 2], ["b", "a"], [7.5, 8.5]], names), "t", mode="upsert", key=names[:2])

    found = xd.source(lake)("t").read_all().to_pylist()
    assert sorted((*row.values(),) for row in found) == [(1, "a", 1.5), (1, "b", 7.5), (2, "a", 8.5)]


@pytest.mark.parametrize("exists", [True, False])
def test_a_key_twice_or_null_is_refused(lake, exists):
    sink = xd.sink(lake)
    if exists:
        sink(numbered([1]), "t")
    twice = pa.table({"n": [1, 2, 3, 2], "value": [1, 2, 3, 4]})
    with pytest.raises(xd.RowError, match=r"rows 2 and 4 have the same key \(n\)"):
        sink(twice, "t", mode="upsert", key="n")
    with pytest.raises(xd.RowError, match="row 2, column 'n': the key is null"):
        sink(pa.table({"n": [1, None], "value": [1, 2]}), "t", mode="upsert", key="n")

    assert xd.source(lake).has("t") is exists


def test_an_upsert_that_needs_more_memory_than_it_may_have_changes_nothing(lake):
    rows = numbered([f"{n:050}" for n in range(200_000)])
    xd.sink(lake)(rows, "t")
    with pytest.raises(xd.StorageError, match="merge_memory_bytes"):
        xd.sink(lake, merge_memory="1MiB")(rows, "t", mode="upsert", key="n")

    assert by_back_door(lake).version() == 0


def test_columns_evolve_by_name(lake):
    sink = xd.sink(lake)
    sink(pa.table({"n": [1], "a": ["x"]}), "t")
    more = pa.table({"at": [dt.datetime.fromisoformat("2026-05-01")], "n": [2]})
    with pytest.raises(xd.ConfigError, match=r"no column 'at'.*evolve='add'"):
        sink(more, "t")
    with pytest.raises(xd.ConfigError, match="the stream has no column 'a'"):
        sink(pa.table({"n": [2]}), "t", evolve="never")
    sink(more, "t", evolve="drop")
    sink(more.set_column(1, "n", pa.array([3])), "t", evolve="add")

    assert in_order(xd.source(lake)("t").read_all()).to_pylist() == [
        {"n": 1, "a": "x", "at": None},
        {"n": 2, "a": None, "at": None},
        {"n": 3, "a": None, "at": dt.datetime.fromisoformat("2026-05-01")},
    ]
    assert xd.source(lake)("t", columns=["at"]).read_all().num_rows == 3
    assert by_back_door(lake).to_pyarrow_table().num_rows == 3


def test_a_replacement_keeps_the_partitions(lake):
    sink = xd.sink(lake)
    sink(DAYS, "t", partition_by="day")
    sink(DAYS.drop_columns(["at"]), "t", mode="replace")
    with pytest.raises(xd.UnsupportedError, match="partitioned by day"):
        sink(DAYS, "t", mode="replace", partition_by="place")

    assert by_back_door(lake).metadata().partition_columns == ["day"]
    assert xd.source(lake)("t").schema.names == ["n", "day", "place"]


def test_every_way_of_writing_on_a_server_in_this_process(s3):
    """The library must let go of the interpreter while it waits, or nobody could answer it."""
    place = s3()
    url = f"delta+{place.url}lake"
    sink, source = xd.sink(url, **place.options), xd.source(url, **place.options)
    sink(pa.table({"n": [1], "a": ["x"]}), "deep/t", partition_by="a")
    sink(pa.table({"n": [2], "a": ["y"]}), "deep/t", batch_id="b")
    at = [dt.datetime.fromisoformat("2026-05-01")]
    sink(pa.table({"n": [2], "a": ["y"], "at": at}), "deep/t", mode="upsert", key=["n", "a"], evolve="add")

    assert [*source.list()] == ["deep/t"]
    assert in_order(source("deep/t").read_all()).to_pydict() == {
        "n": [1, 2],
        "a": ["x", "y"],
        "at": [None, *at],
    }
    assert source("deep/t", version=1, where={"a": "y"}).read_all().to_pylist() == [{"n": 2, "a": "y"}]
    assert source("deep/t", version=dt.datetime.now(dt.UTC)).read_all().num_rows == 2

    place = sink.lake.place.below("dv")
    write_deltalake(
        place.location,
        numbered([1, 2]),
        configuration={"delta.enableDeletionVectors": "true"},
        storage_options=storage_options(place),
    )
    sink(numbered([3]), "dv")

    assert sorted(source("dv").read_all()["value"].to_pylist()) == [1, 2, 3]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_credentials_renewed_while_rows_are_on_their_way_are_used(s3, s3_server, tmp_path, monkeypatch, mode):
    """The commit is made with those that are valid then. Ours are about to expire, so they are asked for anew each time."""

    def give(access_key):
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        given = {"AccessKeyId": access_key, "SecretAccessKey": "secret", "Expiration": soon.isoformat()}
        (tmp_path / "given.json").write_text(json.dumps({"Version": 1, **given}))

    give("the-old-access-key")
    (tmp_path / "config").write_text(f"[profile lake]\ncredential_process = cat {tmp_path}/given.json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    place = s3()
    options = {name: value for name, value in place.options.items() if name not in ("key", "secret")}
    sink = xd.sink(f"delta+{place.url}lake", profile="lake", **options)
    sink(numbered([1]), "t")
    commits = {"method": "PUT", "bucket": place.url.split("/")[2], "key": "_delta_log/"}
    old = Rule(**commits, header="authorization: .*the-old-access-key/", status=403, name=f"{mode} old")
    new = Rule(**commits, header="authorization: .*the-new-access-key/", act=lambda: None, name=f"{mode} new")

    def meanwhile():
        give("the-new-access-key")
        s3_server.faults.add(old)
        s3_server.faults.add(new)
        yield from pa.table({"n": [7], "value": [7]}).to_batches()

    keys = {"key": "n"} if mode == "upsert" else {}
    receipt = sink(Batches(numbered([1]).schema, meanwhile()), "t", mode=mode, **keys)

    assert (receipt.rows_changed, receipt.version.generation) == (1, "1")
    assert (s3_server.faults.fired[old.name], s3_server.faults.fired[new.name]) == (0, 1)


def test_what_cannot_be_partitioned_by_is_refused(lake):
    with pytest.raises(xd.UnsupportedError, match=r"'at' is timestamp\[us\]"):
        xd.sink(lake)(DAYS, "t", partition_by="at")
    with pytest.raises(xd.ConfigError, match="empty text"):
        xd.sink(lake)(pa.table({"n": [1], "p": [""]}), "t", partition_by="p")
    with pytest.raises(xd.UnsafeError, match="more than 3 partitions"):
        xd.sink(lake, max_partitions=3)(DAYS, "t", partition_by="n")

    assert not xd.source(lake).has("t")


ODD = pa.table(
    {
        "n": [1, 2],
        "flag": [True, False],
        "sum": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "text": ["q" * 300, "r"],
        "float": [math.nan, 1.0],
    }
)


@pytest.mark.parametrize(
    "where",
    [{"flag": True}, {"sum": Decimal("1.50")}, {"text": "r"}, {"float": 1.0}, {"sum": None}, {"n": 2}],
    ids=str,
)
def test_columns_without_bounds_lose_no_row(lake, where):
    """As other writers leave them out. The library's own dataset finds nothing there; if that changes, this says so."""
    xd.sink(lake)(ODD, "t")
    handle = by_back_door(lake)
    path = next(iter(handle.file_uris())).rpartition("/")[2]
    size = len((by := open(handle.file_uris()[0], "rb")).read())  # noqa: SIM115, PTH123
    by.close()
    partial = '{"numRecords": 2, "minValues": {"n": 1}, "maxValues": {"n": 2}, "nullCount": {"n": 0}}'
    handle.create_write_transaction(
        [AddAction(path, size, {}, 1, True, partial)],
        "append",
        handle.schema(),
        [],
    )
    handle = by_back_door(lake)

    assert xd.source(lake)("t", where=where).read_all().num_rows == 1


def test_tables_of_the_library_are_read_with_bounds_cut_to_milliseconds(lake, tmp_path):
    at = dt.datetime.fromisoformat("2026-05-01T00:00:00.123456")
    write_deltalake(
        tmp_path / "lake" / "t", DAYS.set_column(3, "at", pa.array([at] * 12)), partition_by=["place"]
    )

    assert xd.source(lake)("t", where={"at": at}).read_all().num_rows == 12
    assert xd.source(lake)("t", where={"place": "a b/ü%"}).read_all().num_rows == 3


def test_nested_columns_of_the_library_are_read(lake, tmp_path):
    """Whose files have large types, and other names and nullability within."""
    rows = pa.table(
        {
            "n": [1, 2],
            "l": pa.array([[{"a": 1}], None], pa.large_list(pa.struct([("a", pa.int64())]))),
            "m": pa.array([[("k", Decimal("1.50"))], []], pa.map_(pa.string(), pa.decimal128(10, 2))),
            "z": pa.array([0, None], pa.timestamp("us", "UTC")),
            "b": pa.array([b"x", None], pa.large_binary()),
        }
    )
    write_deltalake(tmp_path / "lake" / "t", rows)

    assert_same(rows, in_order(xd.source(lake)("t").read_all()))


def test_deletion_vectors_and_renamed_columns_are_read_by_the_library(lake, tmp_path):
    """A table with column mapping is never read as if its files were its rows."""
    write_deltalake(
        tmp_path / "lake" / "t", numbered([1, 2]), configuration={"delta.enableDeletionVectors": "true"}
    )
    handle = by_back_door(lake)
    assert "deletionVectors" in (handle.protocol().reader_features or [])

    assert_same(numbered([1, 2]), in_order(xd.source(lake)("t").read_all()))
    assert xd.source(lake)("t", where={"n": 1}, columns=["value"]).read_all().to_pydict() == {"value": [2]}


def test_a_table_with_constraints_is_not_written(lake):
    xd.sink(lake)(numbered([1]), "t")
    by_back_door(lake).alter.add_constraint({"positive": "n >= 0"})
    rows = Pulled(numbered([2]).to_batches())
    with pytest.raises(xd.UnsupportedError, match="positive"):
        xd.sink(lake)(rows.stream(), "t")

    assert (rows.pulled, rows.closed) == (0, 1)


def test_urls_that_make_no_sense_say_so(tmp_path):
    with pytest.raises(xd.ConfigError, match=r"delta\+s3://bucket/prefix"):
        xd.source("delta://bucket/lake")
    with pytest.raises(xd.UnsupportedError, match="not on http"):
        xd.source("delta+https://host/lake")
    with pytest.raises(xd.ConfigError, match="did you mean 'target_size'"):
        xd.sink(f"delta+file://{tmp_path}", target_siez="1MiB")
    with pytest.raises(xd.ConfigError, match="cannot be a table's name"):
        xd.source(f"delta+file://{tmp_path}")("../t")
    with pytest.raises(xd.NotFoundError):
        xd.source(f"delta+file://{tmp_path}")("t")


def test_a_missing_library_is_one_line():
    """The extra's name, and the command."""
    code = (
        "import sys; sys.modules['deltalake'] = None\n"
        "import crossdock as xd\n"
        "try: xd.source('delta+file:///lake')\n"
        "except xd.MissingExtraError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.splitlines() == [
        "open: the delta connector needs deltalake; install it: pip install 'crossdock[delta]'"
    ]
