"""A plan that is written down, looked at, and carried out exactly; and comparisons that a worker has to decide."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.flows.ledger.writing import read_ledger
from crossdock.model import NO_DIGESTS
from crossdock.testing import EmbeddedS3
from crossdock.testing.demo.plain import PlainS3


def outcomes(report):
    return {
        record.key: record
        for _, records in read_ledger(report.directory.files)
        for record in records.values()
    }


@pytest.fixture
def ends():
    return filled({"a": b"1", "b/c": b"22", "b/d": b"333"}), f"memory://{bucket()}"


def test_a_plan_is_written_and_carried_out_without_listing_again(ends, tmp_path):
    """Objects that came after the plan was made are not in it; its directory becomes the run's."""
    source, sink = ends
    with_options = {"include": "b/**", "min_size": "2", "compare": "checksum"}
    planned = xd.plan(source, sink, out=str(tmp_path / "plan"), **with_options)
    MemoryStore(source.removeprefix("memory://")).put("b/late", b"late")

    report = xd.migrate(plan=str(tmp_path / "plan"))

    assert [row.source.key for row in planned] == ["b/c", "b/d"]
    assert contents(sink) == {"b/c": b"22", "b/d": b"333"}
    assert (report.state, report.counts.copied, report.excluded) == ("complete", 2, 1)
    assert (report.run_dir, report.run_id) == (planned.url, planned.run_id)
    parts = list((tmp_path / "plan" / "manifest").glob("part-*.parquet"))
    assert pq.read_table(parts).column("key").to_pylist() == ["b/c", "b/d"]


def test_the_same_again_goes_on_and_moves_nothing(ends, tmp_path):
    source, sink = ends
    place = str(tmp_path / "plan")
    xd.plan(source, sink, out=place)
    first = xd.migrate(plan=place)
    versions = {
        info.key: info.version for page in MemoryStore(sink.removeprefix("memory://")).list() for info in page
    }

    again = xd.migrate(plan=place)

    assert first.run_id == again.run_id
    assert again.exit_code == 0
    assert versions == {
        info.key: info.version for page in MemoryStore(sink.removeprefix("memory://")).list() for info in page
    }


def test_a_dry_run_of_a_plan_moves_nothing(ends, tmp_path):
    source, sink = ends
    xd.plan(source, sink, out=str(tmp_path / "plan"))

    report = xd.migrate(plan=str(tmp_path / "plan"), dry_run=True)

    assert (report.state, report.counts.planned, contents(sink)) == ("planned", 3, {})


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"include": "a"}, "include"),
        ({"compare": "size"}, "compare"),
        ({"overwrite": "always"}, "overwrite"),
        ({"rename": "s/a/b/"}, "rename"),
        ({"max_age": "1d"}, "max_age"),
        ({"min_size": 3}, "min_size"),
    ],
)
def test_a_plan_of_another_question_is_refused(ends, tmp_path, now, named):
    """Also where the plan did ask for it, but otherwise."""
    xd.plan(*ends, out=str(tmp_path / "plan"), min_size=1, include="**")

    with pytest.raises(xd.LedgerError, match=f"another question: .*{named}"):
        xd.migrate(plan=str(tmp_path / "plan"), **now)

    assert contents(ends[1]) == {}


def test_ends_may_be_said_again_and_must_be_the_same(ends, tmp_path):
    source, sink = ends
    place = str(tmp_path / "plan")
    xd.plan(source, sink, out=place, include="b/**")

    for other in ((filled({"x": b""}), sink), (source, f"memory://{bucket()}"), (f"{source}/b/", sink)):
        with pytest.raises(xd.LedgerError, match="another question"):
            xd.migrate(*other, plan=place)
    report = xd.migrate(source, sink, plan=place, include="b/**")

    assert report.counts.copied == 2


def test_half_a_pair_of_ends_is_refused(ends, tmp_path):
    with pytest.raises(xd.ConfigError, match="a source and a destination, or a plan"):
        xd.migrate(ends[0])
    with pytest.raises(xd.ConfigError, match="a source and a destination, or a plan"):
        xd.migrate()
    with pytest.raises(xd.ConfigError, match="carried out where it is"):
        xd.migrate(plan=str(tmp_path / "a"), run_dir=str(tmp_path / "b"))


def test_a_directory_takes_one_plan(ends, tmp_path):
    xd.plan(*ends, out=str(tmp_path / "plan"))

    with pytest.raises(xd.LedgerError, match="holds another run"):
        xd.plan(*ends, out=str(tmp_path / "plan"))
    with pytest.raises(xd.NotFoundError, match="no run here"):
        xd.migrate(plan=str(tmp_path / "elsewhere"))


def test_how_much_is_proven_may_be_said_when_the_plan_is_carried_out(ends, tmp_path):
    """And a later resume proves as much."""
    xd.plan(*ends, out=str(tmp_path / "plan"))

    report = xd.migrate(plan=str(tmp_path / "plan"), verify="v3")

    assert dict(report.levels) == {"V3": 3}
    assert report.directory.read()["asked"]["sink"]["transfer"] == {"verify": "v3"}


def test_a_rename_arrives_and_collisions_fail_alone(tmp_path):
    source, sink = filled({"2024-01": b"1", "2024-02": b"2", "x1": b"3", "x2": b"4"}), f"memory://{bucket()}"

    report = xd.migrate(
        source, sink, rename=[r"s#^(\d{4})-#\1/#", r"s/^x\d$/x/"], run_dir=str(tmp_path / "run")
    )

    assert contents(sink) == {"2024/01": b"1", "2024/02": b"2"}
    assert (report.counts.copied, report.counts.failed, report.exit_code) == (2, 2, 5)
    assert {"x1", "x2"} == {record.key for record in report.failed}
    assert [(group.reason, group.count) for group in report.failures] == [("collision", 2)]
    assert "another object gets this destination key" in report.failures[0].message


def test_a_rename_is_for_a_prefix(ends):
    with pytest.raises(xd.ConfigError, match="one object"):
        xd.migrate(f"{ends[0]}/a", ends[1], rename="s/a/b/")


class Silent(Troubled):
    """Its listing has no digests; ``stat`` has them, or has none either; and its clock stands still."""

    stat_tells = True

    def _bare(self, info):
        return replace(info, digests=NO_DIGESTS, version=replace(info.version, etag=None))

    def list(self, prefix="", *, start_after=None):
        for page in super().list(prefix, start_after=start_after):
            yield [self._bare(info) for info in page]

    def stat(self, key, **kwargs):
        info = super().stat(key, **kwargs)
        return info if self.stat_tells else self._bare(info)


@pytest.mark.parametrize("tells", [True, False])
def test_by_checksum_a_change_that_keeps_size_and_is_older_is_found(tells, tmp_path):
    """Sizes are equal and the destination is newer: only digests tell, asked for or, where nothing tells, read."""
    source, sink = Silent(), Silent()
    source.stat_tells = sink.stat_tells = tells
    for store, bodies in ((source, (b"same", b"old!")), (sink, (b"same", b"new!"))):
        for key, body in zip(("equal", "unlike"), bodies, strict=True):
            store.put(key, body)

    by_time = xd.migrate(source.source(), sink.sink(), run_dir=str(tmp_path / "1"))
    untouched = contents(sink.url)
    by_digest = xd.migrate(source.source(), sink.sink(), compare="checksum", run_dir=str(tmp_path / "2"))

    assert (by_time.counts.skipped, untouched["unlike"]) == (2, b"new!")
    assert (by_digest.counts.skipped, by_digest.counts.copied) == (1, 1)
    assert contents(sink.url) == {"equal": b"same", "unlike": b"old!"}
    said = outcomes(by_digest)["equal"].evidence
    assert said.startswith("same " if tells else "found complete: ")
    assert (source.count("read") >= 2) is (not tells), "bytes are read only where no digest can be asked for"
    assert by_digest.directory.summary.load["evidence"] == {"compare": {"no digest in common": 2}}


def test_a_manifest_of_an_earlier_version_is_read(ends, tmp_path):
    """Without the column that says how a worker compares, and a question without what could not be asked then."""
    xd.plan(*ends, out=str(tmp_path / "plan"))
    part = tmp_path / "plan" / "manifest" / "part-00000.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["compare"]), part)

    report = xd.migrate(plan=str(tmp_path / "plan"))

    assert report.counts.copied == 3
    assert {"auto"} == {row.compare for row in report.directory.manifest.all_rows()}
    asked = report.directory.read()["asked"]
    assert {"include", "exclude", "overwrite"} == set(asked) - {"source", "sink", "one", "exact"}


def test_archived_objects_on_s3_are_known_before_a_byte_moves(monkeypatch, tmp_path):
    """By the storage class in a real listing; one that was not restored fails alone if it is tried."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    with EmbeddedS3(buckets=("landing",)) as s3:
        with PlainS3(s3.url) as plain:
            plain.put("landing", "cold", b"c", {"x-amz-storage-class": "DEEP_ARCHIVE"}, None)
            plain.put("landing", "warm", b"w", {"x-amz-storage-class": "STANDARD_IA"}, None)
        ends = "s3://landing/", f"{tmp_path}/out/"
        options = {"source_options": {"endpoint_url": s3.url}}
        planned = xd.plan(*ends, **options)

        refused = xd.migrate(*ends, **options)
        gets = s3.faults.requests["object.get"]
        tried = xd.migrate(*ends, archived="try", **options)

    assert {row.source.key: row.action.value for row in planned} == {"cold": "refuse", "warm": "copy"}
    assert planned.estimate().load.class_bytes == {"STANDARD_IA": 1}
    assert (refused.counts.copied, refused.counts.failed, gets) == (1, 1, 1)
    assert [(group.reason, group.keys) for group in refused.failures] == [("archived", ("cold",))]
    assert "--archived try" in refused.failures[0].hint
    assert (tried.counts.skipped, tried.counts.failed) == (1, 1)
    assert tried.failures[0].reason != "archived"
