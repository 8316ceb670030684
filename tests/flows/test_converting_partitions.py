"""``convert`` into a partitioned dataset: each group of objects is one batch of it, by the same evidence and with the same promises."""

from __future__ import annotations

import json

import pytest
from flow_kit import Troubled, bucket, contents, filled, generations

import crossdock as xd
from crossdock.errors import ConfigError, ConnectionLostError
from crossdock.flows.runs.directory import open_run
from crossdock.flows.tables.partitioning import is_of_functions, partition_texts, partitioner_from

AT = {"types": {"at": "timestamp[us]"}}


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def days(count):
    """Objects of three rows in three months, each row with an id of its own."""
    return {
        f"{number:03d}.jsonl": lines(
            *(
                {"id": number * 3 + row, "at": f"2024-{1 + row:02d}-11T10:00:00", "kind": f"k{number % 2}"}
                for row in range(3)
            )
        )
        for number in range(count)
    }


def there():
    return f"memory://{bucket()}"


def run_dir():
    return f"memory://{bucket()}/run/"


def converted(source, sink, **given):
    return xd.convert(
        f"{source}/",
        f"{sink}/",
        **{"run_dir": run_dir(), "partition_by": ["kind", "month(at)"], **AT, **given},
    )


def ids(sink):
    rows = xd.dataset(f"{sink}/")()
    return sorted(rows.read_all()["id"].to_pylist())


def data(sink):
    return {key for key in contents(sink) if key.endswith(".parquet")}


def test_rows_go_to_their_partitions_and_are_counted():
    source, sink = filled(days(20)), there()

    report = converted(source, sink, target_size="1MiB")

    assert (report.counts.copied, report.made.rows, report.made.outputs) == (20, 60, 1)
    assert {key.rpartition("/")[0] for key in data(sink)} == {
        f"kind=k{kind}/month={month}" for kind in range(2) for month in range(1, 4)
    }
    assert ids(sink) == list(range(60))


def test_nothing_changed_writes_nothing_and_a_change_replaces_one_batch():
    source, sink = filled(days(120)), there()
    converted(source, sink, target_size="1KiB")
    before = generations(sink)

    same = converted(source, sink, target_size="1KiB")
    unchanged = generations(sink)
    xd.sink(f"{source}/")(lines({"id": 999, "at": "2024-07-01T00:00:00", "kind": "k9"}), key="050.jsonl")
    changed = converted(source, sink, target_size="1KiB")

    assert (same.counts.skipped, unchanged) == (120, before)
    assert 0 < changed.counts.copied < 60
    assert ids(sink) == sorted({*range(360), 999} - {150, 151, 152})


def test_batches_that_nothing_leads_to_are_told():
    source, sink = filled(days(2)), there()
    converted(source, sink)
    xd.source(f"{source}/").store.delete("000.jsonl")

    report = converted(source, sink)

    assert report.finished["orphans"] == 1
    assert report.finished["orphan_keys"][0].startswith("_crossdock/")
    assert ids(sink) == list(range(6))


def test_a_source_that_dies_leaves_no_row_to_be_seen():
    store, sink, fired = Troubled(), there(), []
    for key, body in days(3).items():
        store.put(key, body)

    def trouble(verb, key):
        if verb == "read" and key == "002.jsonl":
            fired.append(key)
            raise ConnectionLostError("gone", operation="read", key=key)

    store.before = trouble
    schema = {"id": "int64", "at": "timestamp[us]", "kind": "string"}
    report = xd.convert(
        store.source(), f"{sink}/", target_size="1MiB", run_dir=run_dir(), schema=schema, partition_by="kind"
    )

    assert fired
    assert (report.counts.failed, report.made.rows) == (3, 0)
    assert data(sink) == set()


def test_what_was_committed_and_not_recorded_is_recognised():
    source, sink, directory = filled(days(9)), there(), run_dir()
    converted(source, sink, target_size="1MiB", run_dir=directory)
    before = generations(sink)
    files = open_run(directory).files
    for name in list(files.names("ledger/")):
        files.delete(name)

    again = xd.resume(directory)

    assert generations(sink) == before
    assert (again.methods, again.made.rows, again.exit_code) == ({"found": 9}, 27, 0)


def test_one_bad_object_fails_alone():
    source, sink = filled(days(9) | {"004.jsonl": b"garbage"}), there()

    report = converted(source, sink, target_size="1MiB")

    assert (report.counts.copied, report.counts.failed, report.made.rows) == (8, 1, 24)
    assert ids(sink) == sorted(set(range(27)) - {12, 13, 14})


@pytest.mark.parametrize(
    ("partition_by", "text"),
    [
        ("nothing", "no column 'nothing'"),
        ("month(kind)", "has no month"),
        (["id", "at", "kind"], "every column"),
    ],
)
def test_what_cannot_be_partitioned_by_is_said_before_anything_is_written(partition_by, text):
    source, sink, directory = filled(days(2)), there(), run_dir()

    with pytest.raises(ConfigError, match=text):
        converted(source, sink, partition_by=partition_by, run_dir=directory)

    assert contents(sink) == contents(directory.removesuffix("/run/")) == {}


def test_a_run_with_a_function_to_partition_by_is_gone_on_with_by_the_same_call():
    def first(batch):
        return batch.column("kind")

    source, directory = filled(days(64)), run_dir()
    converted(
        source,
        there(),
        partition_by={"group": first},
        run_dir=directory,
        max_bytes=1,
        runner=xd.LocalRunner(threads=1, window=1),
    )

    with pytest.raises(ConfigError, match=r"the same xd\.convert"):
        xd.resume(directory)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("day", ["day"]),
        (["year(at)", "month( 'at' )"], ["year=year(at)", "month=month(at)"]),
        (["m=month(at)", "kind"], ["m=month(at)", "kind"]),
        ([xd.hour("at"), "kind"], ["hour=hour(at)", "kind"]),
        ({"h": xd.hour("at")}, ["h=hour(at)"]),
    ],
)
def test_what_is_partitioned_by_comes_back_from_its_texts(given, kept):
    partitioner = partitioner_from(given)

    assert partition_texts(partitioner) == kept
    assert partitioner_from(kept) == partitioner
    assert not is_of_functions(kept)
