"""Iceberg tables beyond the suite: snapshots, partitions, conflicts, names of appends; by the back door, pyiceberg's own files."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform
from pyiceberg.types import FixedType, NestedField, TimestampType

import crossdock as xd
from crossdock.batches import Batches
from crossdock.testing.tables import Pulled, SourceDied, assert_same, numbered


class Lake:
    """One catalogue and warehouse; ``table`` reads as the library does, with nothing of ours."""

    def __init__(self, root, **options):
        self.root = root
        self.url = f"iceberg+sqlite://{root}/catalog.db"
        self.options = {"warehouse": f"file://{root}/lake", "fsync": False, **options}
        self.source = xd.source(self.url, **self.options)
        self.sink = xd.sink(self.url, **self.options)

    def catalog(self):
        return SqlCatalog(
            "default", uri=f"sqlite:///{self.root}/catalog.db", warehouse=f"file://{self.root}/lake"
        )

    def table(self, name="t"):
        catalog = self.catalog()
        try:
            return catalog.load_table(("default", name))
        finally:
            catalog.close()

    def objects(self):
        return sorted(path.relative_to(self.root).as_posix() for path in (self.root / "lake").rglob("*.*"))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def in_order(table, by="n"):
    return table.sort_by(by)


DAYS = pa.table(
    {
        "n": range(12),
        "day": [dt.date(2026, 5, 1 + n % 3) for n in range(12)],
        "place": ["a b/ü%" * 20, None, "x", "y"] * 3,
        "at": [dt.datetime.fromisoformat("2026-05-01") + dt.timedelta(hours=n) for n in range(12)],
    }
)


def test_the_library_reads_what_was_written(lake):
    """Also nested columns, by their numbers."""
    rows = DAYS.append_column(
        "l",
        pa.array(
            [[{"a": n, "m": [("k", n)]}] for n in range(12)],
            pa.list_(pa.struct([("a", pa.int64()), ("m", pa.map_(pa.string(), pa.int64()))])),
        ),
    )
    lake.sink(rows, "t", partition_by=["day", "place"])

    assert_same(rows, in_order(lake.table().scan().to_arrow()))
    assert len([*lake.table().scan(row_filter="day = '2026-05-02'").plan_files()]) == 4


@pytest.mark.parametrize(
    ("where", "opened"),
    [
        ({"day": dt.date(2026, 5, 2)}, 4),
        ({"place": None}, 3),
        ({"place": "a b/ü%" * 20, "day": [dt.date(2026, 5, 1), dt.date(2026, 5, 3)]}, 2),
        ({"n": 7}, 1),
        (pc.field("at") >= dt.datetime.fromisoformat("2026-05-01T10:00"), 2),
        (pc.field("n") > 100, 0),
    ],
    ids=str,
)
def test_files_that_cannot_have_such_rows_are_not_opened(lake, where, opened):
    """By partition and by bounds; the rows are those of a filter of everything."""
    from crossdock.datasets.pruning import condition_of

    lake.sink(DAYS, "t", partition_by=["day", "place"])
    seen = []
    store = type(lake.source.lake.place.store)
    reads = store.read

    def counted(self, key, *arguments, **named):
        seen.append(key)
        return reads(self, key, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", counted)
        found = lake.source("t", where=where).read_all()

    assert in_order(found).equals(DAYS.filter(condition_of(where, DAYS.schema)))
    assert len({key for key in seen if key.endswith(".parquet")}) == opened


def test_columns_partition_columns_alone_too(lake):
    lake.sink(DAYS, "t", partition_by="day")

    assert lake.source("t", columns=["at", "n"]).schema.names == ["at", "n"]
    assert sorted(lake.source("t", columns=["day"]).read_all()["day"].to_pylist()) == sorted(
        DAYS["day"].to_pylist()
    )
    assert [*lake.source.list()] == ["t"]


def test_snapshots_can_be_read(lake):
    first = lake.sink(numbered([1]), "t")
    second = lake.sink(pa.table({"other": [2]}), "t", mode="replace")
    then = dt.datetime.fromtimestamp(lake.table().metadata.snapshots[0].timestamp_ms / 1000, dt.UTC)

    assert first.version != second.version
    assert_same(numbered([1]), lake.source("t", version=int(first.version.generation)).read_all())
    assert_same(numbered([1]), lake.source("t", version=then).read_all())
    assert lake.source("t").read_all().to_pydict() == {"other": [2]}
    assert lake.source.version_of("t") == {"version": second.version.generation}
    with pytest.raises(xd.NotFoundError, match="snapshot 7"):
        lake.source("t", version=7)
    with pytest.raises(xd.NotFoundError):
        lake.source("t", version=dt.datetime(1999, 1, 1, tzinfo=dt.UTC))


def test_a_table_is_read_by_its_metadata_without_the_catalogue(lake):
    lake.sink(DAYS, "t")
    location = lake.table().metadata_location
    source = xd.source(f"iceberg+{location}")

    assert_same(DAYS, in_order(source().read_all()))
    with pytest.raises(xd.ConfigError, match="one table"):
        source("t")
    with pytest.raises(xd.ConfigError, match="source only"):
        xd.sink(f"iceberg+{location}")


def test_an_append_of_a_name_is_done_once(lake):
    """And reads no row the second time; a replacement meanwhile does not make it forget."""
    rows = Pulled(numbered([1, 2]).to_batches())
    first = lake.sink(numbered([1, 2]), "t", batch_id="monday")
    again = lake.sink(rows.stream(), "t", batch_id="monday")
    lake.sink(numbered([3]), "t", batch_id="tuesday")

    assert (first.rows, first.rows_changed, first.method) == (2, 2, "append")
    assert (again.method, again.rows_changed, rows.pulled, rows.closed) == ("skip", 0, 0, 1)
    assert lake.source("t").read_all().num_rows == 3


def during(lake, rows, act):
    """A stream in the middle of which something else happens."""

    def batches():
        yield from rows.to_batches()
        act()

    return Batches(rows.schema, batches())


@pytest.mark.parametrize("exists", [True, False])
def test_two_appends_of_a_name_at_once_are_one(lake, exists):
    """The second finds at its commit that the first was there, and leaves nothing; a rerun is a skip."""
    if exists:
        lake.sink(numbered([0]), "t")
    left = []

    def same():
        lake.sink(numbered([1]), "t", batch_id="same")
        left.extend(lake.objects())

    with pytest.raises(xd.PreconditionError) as caught:
        lake.sink(during(lake, numbered([1]), same), "t", batch_id="same")

    assert caught.value.retry.name == "LATER"
    assert lake.objects() == left
    assert lake.sink(numbered([1]), "t", batch_id="same").method == "skip"
    assert lake.source("t").read_all().num_rows == 1 + exists


def test_an_append_steps_aside_for_others(lake):
    lake.sink(numbered([0]), "t")
    lake.sink(during(lake, numbered([1]), lambda: lake.sink(numbered([2]), "t")), "t")

    assert sorted(lake.source("t").read_all()["value"].to_pylist()) == [0, 1, 2]


def test_columns_changed_meanwhile_are_a_conflict(lake):
    lake.sink(numbered([0]), "t")
    more = pa.table({"n": [1], "value": [1], "more": ["x"]})

    def change():
        lake.sink(pa.table({"n": [9], "other": [9]}), "t", evolve="add")

    with pytest.raises(xd.PreconditionError, match="changed meanwhile"):
        lake.sink(during(lake, more, change), "t", evolve="add")

    assert in_order(lake.source("t").read_all()).to_pydict() == {
        "n": [0, 9],
        "value": [0, None],
        "other": [None, 9],
    }


def test_a_source_that_dies_at_60_per_cent_leaves_no_snapshot_and_no_object(tmp_path):
    lake = Lake(tmp_path, target_size="32KiB", memory="64KiB")
    lake.sink(numbered(range(10)), "t")
    before, snapshots, written = lake.objects(), len(lake.table().metadata.snapshots), []

    def dying():
        for number, batch in enumerate(numbered(range(200_000)).to_batches(max_chunksize=2_000)):
            if number == 60:
                written.extend(lake.objects())
                raise SourceDied
            yield batch

    for mode in ("append", "replace"):
        with pytest.raises(SourceDied):
            lake.sink(Batches(numbered([1]).schema, dying()), "t", mode=mode)

    assert len(written) > 2 * len(before)  # it was in the middle of it
    assert lake.objects() == before
    assert len(lake.table().metadata.snapshots) == snapshots


def test_columns_evolve_by_name(lake):
    lake.sink(pa.table({"n": [1], "a": ["x"]}), "t")
    more = pa.table({"at": [dt.datetime.fromisoformat("2026-05-01")], "n": [2]})
    with pytest.raises(xd.ConfigError, match=r"no column 'at'.*evolve='add'"):
        lake.sink(more, "t")
    lake.sink(more, "t", evolve="drop")
    lake.sink(more.set_column(1, "n", pa.array([3])), "t", evolve="add")
    expected = [
        {"n": 1, "a": "x", "at": None},
        {"n": 2, "a": None, "at": None},
        {"n": 3, "a": None, "at": dt.datetime.fromisoformat("2026-05-01")},
    ]

    assert in_order(lake.source("t").read_all()).to_pylist() == expected
    assert in_order(lake.table().scan().to_arrow()).to_pylist() == expected
    assert lake.source("t", columns=["at"]).read_all().num_rows == 3


def test_a_replacement_may_change_columns_and_partitions(lake):
    """But not lose a column that older files are partitioned by: the library cannot read their manifests any more."""
    lake.sink(DAYS, "t", partition_by="day")
    other = DAYS.select(["place", "at", "day"]).append_column("n", DAYS["n"].cast(pa.string()))
    lake.sink(other, "t", mode="replace", partition_by="place")
    lake.sink(other.slice(0, 2), "t")
    rows = Pulled(DAYS.drop_columns(["day"]).to_batches())
    with pytest.raises(xd.UnsupportedError, match="partitioned by day"):
        lake.sink(rows.stream(), "t", mode="replace", partition_by="place")

    assert lake.source("t").read_all().num_rows == 14
    assert lake.source("t").schema.names == ["place", "at", "day", "n"]
    assert [each.name for each in lake.table().spec().fields] == ["place"]
    assert (rows.pulled, rows.closed) == (0, 1)


def test_a_replacement_of_what_changed_meanwhile_is_refused(lake):
    lake.sink(numbered([0]), "t")
    before = lake.objects()
    with pytest.raises(xd.PreconditionError, match="meanwhile"):
        lake.sink(during(lake, numbered([1]), lambda: lake.sink(numbered([2]), "t")), "t", mode="replace")

    assert sorted(lake.source("t").read_all()["value"].to_pylist()) == [0, 2]
    assert len([name for name in lake.objects() if name not in before and name.endswith(".parquet")]) == 1


def test_what_the_library_changes_is_read(lake):
    """Renamed columns by their numbers, deleted rows, rows of its own."""
    lake.sink(DAYS, "t", partition_by="day")
    catalog = lake.catalog()
    table = catalog.load_table("default.t")
    with table.update_schema() as update:
        update.rename_column("place", "where")
    table.delete("n < 3")
    table.append(pa.table({"n": [99], "day": [dt.date(2026, 6, 1)], "where": ["z"]}))
    catalog.close()
    lake.sink(pa.table({"n": [100], "day": [dt.date(2026, 6, 1)], "where": ["y"]}), "t")
    found = in_order(lake.source("t", columns=["n", "where"]).read_all())

    assert found["n"].to_pylist() == [*range(3, 12), 99, 100]
    assert found["where"].to_pylist() == [*DAYS["place"].to_pylist()[3:], "z", "y"]
    assert lake.source("t", where={"n": 99}).read_all().num_rows == 1


def test_many_partitions_unsorted_within_little_memory(tmp_path):
    lake = Lake(tmp_path, memory="64KiB", max_open=10)
    rows = pa.table({"n": range(5_000), "p": [n * 7919 % 50 for n in range(5_000)]})
    receipt = lake.sink(Batches.of(rows.to_batches(max_chunksize=1_000)), "t", partition_by="p")

    assert "spilled" in receipt.evidence
    assert_same(rows, in_order(lake.source("t").read_all()))


def test_what_does_not_stream_or_fit_is_refused(lake):
    """Before a row is read; the text says what to do."""
    rows = Pulled(numbered([1]).to_batches())
    with pytest.raises(xd.UnsupportedError, match="whole stream"):
        lake.sink(rows.stream(), "t", mode="upsert", key="n")
    catalog = lake.catalog()
    day = PartitionSpec(PartitionField(source_id=1, field_id=1000, transform=DayTransform(), name="day"))
    at, code = NestedField(1, "at", TimestampType()), NestedField(1, "code", FixedType(4))
    catalog.create_namespace("default")
    catalog.create_table("default.by_day", Schema(at), partition_spec=day)
    catalog.create_table("default.fixed", Schema(code))
    catalog.close()
    with pytest.raises(xd.UnsupportedError, match="partitioned by"):
        lake.sink(DAYS.select(["at"]), "by_day")
    with pytest.raises(xd.UnsupportedError, match="'code'"):
        lake.sink(pa.table({"code": [b"abcd"]}), "fixed")

    assert (rows.pulled, rows.closed) == (0, 1)


def test_urls_and_options_that_make_no_sense_say_so(tmp_path):
    url = f"iceberg+sqlite://{tmp_path}/catalog.db"
    with pytest.raises(xd.ConfigError, match="a warehouse is needed"):
        xd.sink(url)
    with pytest.raises(xd.ConfigError, match="did you mean 'warehouse'"):
        xd.source(url, warehous="file:///x")
    with pytest.raises(xd.UnsupportedError, match="SQLite"):
        xd.source("iceberg+postgresql://host/catalog")
    with pytest.raises(xd.ConfigError, match="metadata"):
        xd.source("iceberg+s3://bucket/table")
    with pytest.raises(xd.NotFoundError, match="no such catalogue"):
        xd.source(url)("t")
    with pytest.raises(xd.ConfigError, match="name a table"):
        xd.sink(url, warehouse=f"file://{tmp_path}")(numbered([1]))

    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("package", ["pyiceberg", "sqlalchemy"])
def test_a_missing_library_is_one_line(package):
    """The extra's name, and the command."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import crossdock as xd\n"
        "try: xd.source('iceberg+sqlite:///c.db')\n"
        "except xd.MissingExtraError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    (line,) = told.stdout.splitlines()
    assert line.endswith("install it: pip install 'crossdock[iceberg]'")
