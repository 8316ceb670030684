"""The pure parts of table flows: where groups end, how units become shards, what an output says of itself, which columns."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, CrossdockError
from crossdock.flows.ledger.records import OLDER, SCHEMA, Failure, Record, RecordState, to_columns
from crossdock.flows.ledger.segments import segment_name
from crossdock.flows.ledger.summing import MADE_COLUMNS, Sums
from crossdock.flows.ledger.writing import read_segment
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.columns import table_of, to_parquet
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import Manifest, write_manifest
from crossdock.flows.tables.cutting import UnitShardSize, choose_unit_shard_size, cut_units, units_of
from crossdock.flows.tables.grouping import MOST_OBJECTS, Member, group_name, grouped
from crossdock.flows.tables.learning import SAMPLED, Seen, sample_rows, united
from crossdock.flows.tables.marks import Mark, inputs_digest
from crossdock.flows.tables.permits import Permits
from crossdock.flows.tables.port import Unit, UnitEnd
from crossdock.flows.tables.shard import records_of_unit
from crossdock.model import NO_VERSION, ObjectInfo, Receipt, Version

# -- groups --------------------------------------------------------------------------------------------------------

members = st.lists(
    st.tuples(st.sampled_from(["", "a/", "a/b/", "c/"]), st.integers(0, 400), st.integers(0, 500)),
    unique_by=lambda each: (each[0], each[1]),
    max_size=120,
).map(lambda found: [Member(f"{head}{number:04d}", size) for head, number, size in sorted(found)])


@given(members, st.integers(1, 2_000))
def test_groups_are_all_members_in_order_each_of_one_prefix_and_bounded(listed, target):
    groups = [list(group) for group in grouped(listed, target)]

    assert [member for group in groups for member in group] == listed
    assert all(groups)
    for group in groups:
        assert len({member.name.rpartition("/")[0] for member in group}) == 1
        assert len(group) == 1 or sum(member.size for member in group) <= target * 1.5
    assert len({group_name(group[0].name) for group in groups}) == len(groups)


def test_a_group_has_about_the_target_where_there_is_enough():
    listed = [Member(f"{number:06d}", 100) for number in range(20_000)]

    sizes = [100 * len(group) for group in grouped(listed, 10_000)][:-1]

    assert min(sizes) >= 5_000
    assert max(sizes) <= 15_000
    assert 8_000 < sum(sizes) / len(sizes) < 12_000


@settings(max_examples=30)
@given(st.integers(0, 2_999), st.sampled_from(["gone", "grown", "new"]))
def test_a_change_stays_near_where_it_is(at, change):
    """Ends depend on keys, so the groups before and behind are what they were."""
    listed = [Member(f"{number:06d}", 100) for number in range(3_000)]
    changed = list(listed)
    if change == "gone":
        del changed[at]
    elif change == "grown":
        changed[at] = changed[at]._replace(size=900)
    else:
        changed.insert(at + 1, Member(f"{at:06d}b", 100))

    before = {tuple(group) for group in grouped(listed, 2_000)}
    after = {tuple(group) for group in grouped(changed, 2_000)}

    assert 1 <= len(after - before) <= 25
    assert len(before - after) <= 25
    assert len(before) > 100


def test_a_group_never_has_too_many_objects():
    listed = [Member(f"{number:06d}", 0) for number in range(MOST_OBJECTS + 5)]

    assert max(map(len, map(list, grouped(listed, 10**9)))) == MOST_OBJECTS


def test_an_unknown_size_counts_for_something():
    listed = [Member(f"{number:04d}", None) for number in range(64)]

    assert len(list(grouped(listed, 8 << 20))) > 4


# -- units and shards ----------------------------------------------------------------------------------------------

lines = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 100)), max_size=60).map(
    lambda found: [(f"{name}", work, size) for name, work, size in sorted(found)]
)


@given(st.lists(lines, max_size=3), st.integers(1, 10), st.integers(1, 300))
def test_shards_are_whole_units_and_all_of_them(parts, max_rows, max_bytes):
    shards = list(cut_units(parts, UnitShardSize(max_rows=max_rows, max_bytes=max_bytes)))

    assert [shard.number for shard in shards] == list(range(len(shards)))
    for part, rows in enumerate(parts):
        mine = [shard for shard in shards if shard.part == part]
        cut = [[row for row in rows[shard.start : shard.stop] if row[1]] for shard in mine]
        assert [row for shard in cut for row in shard] == [row for row in rows if row[1]]
        assert [len(shard) for shard in cut] == [shard.rows for shard in mine]
        for one, other in pairwise(cut):
            assert one[-1][0] != other[0][0]
        for shard in cut:
            units = {row[0] for row in shard}
            assert len(units) == 1 or len(shard) <= max_rows


def test_a_few_large_objects_are_spread_over_workers_and_small_ones_are_not():
    assert choose_unit_shard_size(10, 10 << 30).max_rows == 1
    assert choose_unit_shard_size(10, 1_000).max_rows == 8
    assert choose_unit_shard_size(1_000_000, 10 << 30).max_rows == 1_000


def row(number, destination="d", action=Action.COPY, size=10):
    return Row(
        source=ObjectInfo(key=f"k{number}", size=size, version=Version(etag=f"e{number}")),
        name=f"k{number}",
        destination=destination,
        action=action,
        reason="",
        number=number,
    )


def test_units_are_rows_of_work_that_share_a_destination():
    rows = [row(0, "a"), row(1, "a", Action.SKIP), row(2, "a"), row(3, "b"), row(4, "c", Action.REFUSE)]

    assert [[each.number for each in unit] for unit in units_of(rows)] == [[0, 2], [3]]


def test_a_unit_is_in_one_part_of_the_manifest():
    files = RunFiles(MemoryStore("parts-of-units"), "")
    rows = [row(number, f"d{number // 7}") for number in range(40)]

    summary = write_manifest(files, rows, part_rows=10)

    manifest = Manifest(files=files, run_id="parts-of-units", parts=summary.parts)
    parts = [{each.destination for each in manifest.rows(part)} for part in range(summary.parts)]
    assert summary.planned == 40
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_heavy_units_have_their_turns_and_a_stop_ends_the_waiting():
    permits, stop = Permits(), threading.Event()
    with permits.taken(2, stop), permits.taken(2, stop):
        stop.set()

        with pytest.raises(CrossdockError, match="stopped"), permits.taken(2, stop):
            pytest.fail("a third had a turn")
    with permits.taken(1, stop):  # and all turns came back
        pass


# -- marks ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10_000), max_size=100, unique=True).map(sorted))
def test_a_mark_comes_back_as_it_was(left_out):
    mark = Mark(inputs="ab" * 16, run_id="20261121T101500-4f2a1b", left_out=tuple(left_out))

    assert Mark.parsed(mark.text()) == mark
    assert mark.fits
    assert len(mark.text()) < 1_024


@pytest.mark.parametrize("text", [None, "", "1 a b", "2 a b -", "1 a b x", "1 a b 1,,2", "1 a b - more"])
def test_what_is_no_mark_is_none(text):
    assert Mark.parsed(text) is None


def test_too_many_bad_objects_fit_into_no_mark():
    assert not Mark(inputs="x", run_id="y", left_out=tuple(range(101))).fits


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"source": ObjectInfo(key="k0", size=11, version=Version(etag="e0"))},
        {"source": ObjectInfo(key="k0", size=10, version=Version(etag="e1"))},
        {"source": ObjectInfo(key="k0", size=10, version=Version(etag="e0", generation="2"))},
    ],
)
def test_inputs_are_told_by_name_size_and_version(change):
    assert inputs_digest([row(0)], "r") != inputs_digest([replace(row(0), **change)], "r")


def test_inputs_are_told_by_order_recipe_and_where_versions_are_weak_by_time():
    undated = replace(row(0), source=ObjectInfo(key="k0", size=10, version=NO_VERSION))
    dated = replace(undated, source=replace(undated.source, modified=datetime(2026, 1, 1, tzinfo=UTC)))
    strong = replace(row(0), source=replace(row(0).source, modified=datetime(2026, 1, 1, tzinfo=UTC)))

    assert inputs_digest([row(0), row(1)], "r") != inputs_digest([row(1), row(0)], "r")
    assert inputs_digest([row(0)], "r") != inputs_digest([row(0)], "s")
    assert inputs_digest([undated], "r") != inputs_digest([dated], "r")
    assert inputs_digest([row(0)], "r") == inputs_digest([strong], "r")


# -- records -------------------------------------------------------------------------------------------------------

RECEIPT = Receipt(source="", destination="m://b/d", key="d", size=77, version=Version(etag="z"), retries=3)


def unit(*, left, done=()):
    return Unit(
        run_id="r",
        shard=4,
        destination="d",
        rows=tuple(row(number) for number in range(4)),
        left=frozenset(left),
        done=frozenset(done),
    )


def test_every_row_that_was_left_is_recorded_once_and_what_was_made_with_the_first():
    failure = Failure(reason="rows", error="RowError", message="m")
    end = UnitEnd(
        receipt=RECEIPT, rows={0: 5, 1: 6, 3: 7}, rows_written=18, bytes_written=77, failures={2: failure}
    )

    records = {each.row: each for each in records_of_unit(unit(left=[0, 1, 2, 3]), end)}

    assert {number: each.state.value for number, each in records.items()} == {
        0: "copied",
        1: "copied",
        2: "failed",
        3: "copied",
    }
    assert [records[number].receipt.rows for number in (0, 1, 3)] == [5, 6, 7]
    assert [records[number].receipt.retries for number in (0, 1, 3)] == [3, 0, 0]
    assert records[0].made is not None
    assert (records[0].made.rows, records[0].made.bytes) == (18, 77)
    assert records[1].made is records[3].made is None
    assert records[1].size == 10


def test_nothing_written_is_skipped_with_its_evidence():
    records = records_of_unit(unit(left=[1, 2], done=[0]), UnitEnd(skipped="there already"))

    assert [(each.row, each.state, each.evidence) for each in records] == [
        (1, RecordState.SKIPPED, "there already"),
        (2, RecordState.SKIPPED, "there already"),
    ]


def test_an_output_that_was_made_again_counts_once():
    """A retry puts a mended object into its output: the rows at the destination are those of the last time."""
    first = records_of_unit(unit(left=[0, 1]), UnitEnd(receipt=RECEIPT, rows_written=2, bytes_written=20))
    second = records_of_unit(
        unit(left=[2], done=[0, 1]), UnitEnd(receipt=RECEIPT, rows_written=3, bytes_written=30)
    )
    timed = [replace(each, time=datetime(2026, 1, 1, tzinfo=UTC)) for each in first]
    timed += [replace(each, time=datetime(2026, 1, 2, tzinfo=UTC)) for each in second]
    sums = Sums()

    sums.add(table_of([to_columns(each) for each in timed], SCHEMA).select(list({*MADE_COLUMNS, "shard"})))

    assert (sums.outputs, sums.made_rows, sums.made_bytes) == (1, 3, 30)


def test_ledgers_from_before_there_were_tables_are_read():
    files = RunFiles(MemoryStore("older-ledgers"), "")
    record = Record(shard=0, row=3, state=RecordState.COPIED, key="k", size=9, receipt=RECEIPT)
    columns = {name: value for name, value in to_columns(record).items() if name in OLDER.names}
    files.put(segment_name(0, "a", 0), to_parquet([columns], OLDER, group_rows=10))

    (read,) = read_segment(files, segment_name(0, "a", 0))

    assert (read.row, read.made) == (3, None)
    assert read.receipt is not None
    assert read.receipt.rows == 0


# -- columns -------------------------------------------------------------------------------------------------------


def seen(key, **fields):
    return Seen(key=key, schema=pa.schema(list(fields.items())))


def test_columns_are_united_by_name_and_widened():
    schema = united(
        [
            seen("a", x=pa.int32(), y=pa.null()),
            seen("b", x=pa.float64(), z=pa.string()),
            seen("c", y=pa.bool_()),
        ],
        where="m://b",
    )

    assert {each.name: each.type for each in schema} == {
        "x": pa.float64(),
        "y": pa.bool_(),
        "z": pa.string(),
    }


def test_columns_that_do_not_fit_name_both_objects():
    with pytest.raises(ConfigError, match="column 'y' is bool in 'b' and string in 'c'"):
        united([seen("a", y=pa.null()), seen("b", y=pa.bool_()), seen("c", y=pa.string())], where="m://b")


def test_a_column_that_an_object_lacks_may_be_null():
    required = pa.schema([pa.field("x", pa.int64(), nullable=False)])

    schema = united([Seen(key="a", schema=required), seen("b", y=pa.int64())], where="m://b")

    assert [each.nullable for each in schema] == [True, True]


def test_the_sample_is_the_first_the_last_and_the_same_ones_between():
    files = RunFiles(MemoryStore("samples"), "")
    rows = [row(number, f"d{number}") for number in range(500)]
    rows[0] = replace(rows[0], action=Action.REFUSE)
    manifest = Manifest(files=files, run_id="s1", parts=write_manifest(files, rows, part_rows=100).parts)
    more = RunFiles(MemoryStore("samples-more"), "")
    grown = Manifest(
        files=more, run_id="s2", parts=write_manifest(more, [*rows, row(500, "d500")], part_rows=100).parts
    )

    names = [each.name for each in sample_rows(manifest)]
    later = [each.name for each in sample_rows(grown)]

    assert (names[0], names[-1]) == ("k1", "k499")
    assert SAMPLED <= len(names) <= SAMPLED + 2
    assert len(set(names) & set(later)) >= SAMPLED - 1
