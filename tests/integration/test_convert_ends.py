"""``convert`` from and to every store: what is there is known again, by user metadata or by a note beside it."""

from __future__ import annotations

import pytest

import crossdock as xd
from crossdock.flows import list_runs
from crossdock.testing import Rule

ENDS = ("s3", "gcs", "local", "sftp", "memory")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Runs of these tests are kept in a place of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def fill(end, open_sink):
    sink = open_sink(end)
    for number in range(6):
        sink(b'{"id": %d, "day": "d%d"}\n' % (number, number % 2), key=f"from/{number}.jsonl")


def go(source, sink, **given):
    return xd.convert(
        f"{source[0]}from/",
        f"{sink[0]}to/",
        source_options=source[1],
        sink_options=sink[1],
        target_size="1MB",
        **given,
    )


def versions(end, open_source):
    source = open_source(end)
    pages = source.store.list(f"{source.prefix}to/")
    return {info.key: source.store.stat(info.key).version for page in pages for info in page}


@pytest.mark.parametrize("end", ENDS, indirect=True)
@pytest.mark.parametrize("partition_by", [None, "day"])
def test_to_each_store_and_again_changes_nothing(end, partition_by, memory, open_sink, open_source):
    if partition_by and not open_sink(end).store.capabilities.replace_if_match:
        fill(memory, open_sink)
        with pytest.raises(xd.UnsupportedError, match="no conditional writes"):
            go(memory, end, partition_by=partition_by)
        assert list(list_runs()) == []
        return
    fill(memory, open_sink)

    first = go(memory, end, partition_by=partition_by)
    before = versions(end, open_source)
    again = go(memory, end, partition_by=partition_by)

    assert (first.counts.copied, first.made.rows, first.made.outputs) == (6, 6, 1)
    assert (again.counts.skipped, again.counts.copied) == (6, 0)
    assert before
    assert versions(end, open_source) == before
    assert first.metadata_lost_objects == 0


@pytest.mark.parametrize("end", ENDS, indirect=True)
def test_from_each_store(end, tmp_path, open_sink):
    fill(end, open_sink)
    sink = f"file://{tmp_path}/made/", {}

    report = go(end, sink)
    again = go(end, sink)

    (made,) = (tmp_path / "made" / "to").glob("part-*.parquet")
    assert (report.exit_code, report.made.rows, again.counts.skipped) == (0, 6, 6)
    assert xd.decode()(made.read_bytes()).read_all()["id"].to_pylist() == list(range(6))


@pytest.mark.parametrize("partition_by", [None, "day"])
def test_a_source_that_dies_at_60_percent_leaves_nothing_to_be_seen(
    partition_by, s3, gcs, monkeypatch, open_sink
):
    """The answer breaks off at 60 %, and the server is gone from then on; when it is back, a resume makes the output."""
    monkeypatch.setattr("crossdock.connectors.layers.backoff_s", lambda *_: 0.0)
    body = b"id,day\n" + b"".join(b"%d,d%d\n" % (number, number % 3) for number in range(400_000))
    open_sink(s3)(body, key="from/large.csv")
    faults, server, bucket = s3[2].faults, gcs[2], gcs[3]
    faults.add(
        Rule(
            operation="object.get",
            key="large",
            skip=1,
            first=1,
            cut_at=int(0.6 * len(body)),
            name=f"cut {partition_by}",
        )
    )
    faults.add(Rule(operation="object.get", key="large", skip=2, reset=True, name=f"gone {partition_by}"))

    # The sample that tells the columns is the first to read.
    report = go(s3, gcs, partition_by=partition_by)
    seen = [key for key in server.objects(bucket) if not key.endswith(".json")]
    left_open = server.open_uploads(bucket)
    fired = dict(faults.fired)
    faults.clear()
    again = xd.resume(report.run_id, source_options=s3[1], sink_options=gcs[1])

    assert fired[f"cut {partition_by}"] == 1
    assert fired[f"gone {partition_by}"] > 0
    assert (report.counts.failed, report.exit_code) == (1, 5)
    assert [group.reason for group in report.failures] == ["connection"]
    assert (seen, left_open) == ([], {})
    assert (again.exit_code, again.made.rows) == (0, 400_000)
