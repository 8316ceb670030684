"""Levels of verification over many objects: required, strict, and a rerun where ETags are no digests."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from flow_kit import Troubled, bucket, contents, filled

import crossdock as xd
from crossdock.connectors.layers import layered
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.flows import build_report, open_run
from crossdock.flows.ledger.records import RecordState
from crossdock.flows.ledger.writing import read_ledger
from crossdock.model import Verification
from crossdock.testing import EmbeddedS3

BODIES = {"a": b"1", "b/c": b"22"}


@pytest.fixture
def tree(tmp_path):
    """A directory: files publish no digest."""
    for key, body in BODIES.items():
        path = tmp_path / "tree" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return f"{tmp_path}/tree/"


@pytest.fixture(scope="module")
def s3():
    with EmbeddedS3() as server:
        yield server


def options_of(server, **more):
    return {
        "endpoint_url": server.url,
        "key": "AKIDEXAMPLE",
        "secret": "a-secret",
        "region": "us-east-1",
        **more,
    }


def records(run_dir):
    ledger = dict(read_ledger(open_run(run_dir, {}).files))
    return [record for rows in ledger.values() for record in rows.values()]


def test_less_than_required_is_a_failure_of_that_object_and_nothing_is_written(tree, tmp_path):
    """Files publish no digest, so V2 is out of reach: failed with the reason, exit code 5, nothing at the destination."""
    there = f"memory://{bucket()}"

    report = xd.migrate(tree, f"{there}/", require="v2", run_dir=f"{tmp_path}/run")

    assert (report.counts.copied, report.counts.failed, report.exit_code) == (0, 2, 5)
    assert contents(there) == {}
    failures = [record.failure for record in records(f"{tmp_path}/run")]
    assert {("unproven", False)} == {(failure.reason, failure.retryable) for failure in failures}
    assert all("V2 is required" in failure.message for failure in failures)
    assert all("--verify v3" in failure.hint for failure in failures)


def test_reading_again_reaches_what_is_required(tree, tmp_path):
    there = f"memory://{bucket()}"

    report = xd.migrate(tree, f"{there}/", require="v3", run_dir=f"{tmp_path}/run")

    assert (report.counts.copied, report.exit_code) == (2, 0)
    assert contents(there) == BODIES
    assert {Verification.V3} == {record.receipt.verification for record in records(f"{tmp_path}/run")}


def test_what_is_required_is_kept_by_the_run_and_is_part_of_its_question(tree, tmp_path):
    """Resuming requires it still; the same directory asked for less is another run."""
    there, run_dir = f"memory://{bucket()}", f"{tmp_path}/run"
    xd.migrate(tree, f"{there}/", require="v2", strict=True, run_dir=run_dir)
    asked = open_run(run_dir, {}).read()["asked"]

    assert asked["sink"]["transfer"] == {"require": "v2", "strict": True}
    with pytest.raises(xd.LedgerError, match="another question"):
        xd.migrate(tree, f"{there}/", require="v1", run_dir=run_dir)
    again = xd.resume(run_dir)
    assert (again.counts.copied, again.counts.failed) == (0, 2)
    assert contents(there) == {}


def test_strict_refuses_weak_ends_before_anything_moves(tree, tmp_path, s3):
    """No conditional writes at the destination: one error, no run, no object; also for a dry run."""
    s3.create_bucket(name := f"weak-{uuid.uuid4()}")
    weak = options_of(s3, conditional_writes=False)
    for more in ({"run_dir": f"{tmp_path}/run"}, {"dry_run": True}):
        with pytest.raises(xd.StrictError, match="no conditional writes"):
            xd.migrate(tree, f"s3://{name}/", strict=True, sink_options=weak, **more)
    with pytest.raises(xd.StrictError, match="no conditional writes"):
        xd.plan(tree, f"s3://{name}/", strict=True, sink_options=weak)

    assert s3.objects(name) == {}
    assert not (tmp_path / "run").exists()
    report = xd.migrate(tree, f"s3://{name}/", sink_options=weak, run_dir=f"{tmp_path}/run")
    assert report.counts.copied == 2
    told = [record.receipt.evidence for record in records(f"{tmp_path}/run")]
    assert all("weaker: the destination has no conditional writes" in words for words in told)


def test_strict_refuses_single_objects_that_have_no_version(tmp_path):
    """The end can pin reads, but one object shows no version: that one fails, the others arrive."""

    class Forgetful(Troubled):
        def _forget(self, info):
            from dataclasses import replace

            from crossdock.model import NO_VERSION

            return replace(info, version=NO_VERSION) if info.key == "b/c" else info

        def list(self, *args, **kwargs):
            for page in super().list(*args, **kwargs):
                yield [self._forget(info) for info in page]

    store = Forgetful()
    for key, body in BODIES.items():
        store.put(key, body)
    there = f"memory://{bucket()}"

    report = xd.migrate(ObjectSource(layered(store)), f"{there}/", strict=True, run_dir=f"{tmp_path}/run")

    assert (report.counts.copied, report.counts.failed, report.exit_code) == (1, 1, 5)
    assert contents(there) == {"a": b"1"}
    assert [record.failure.reason for record in records(f"{tmp_path}/run") if record.failure is not None] == [
        "weaker"
    ]


def test_one_object_copied_under_a_requirement(tree):
    there = f"memory://{bucket()}"

    with pytest.raises(xd.UnprovenError, match="nothing was written"):
        xd.copy(f"{tree}a", f"{there}/a", require="v2")
    assert contents(there) == {}
    assert xd.copy(f"{tree}a", f"{there}/a", require="v3").verification == Verification.V3


def test_what_is_found_at_the_destination_is_read_back_too(tmp_path):
    """V3 wanted, the record lost with its process: what is recognised counts only after it was read."""
    from crossdock.flows.planning.recognise import found_complete
    from crossdock.flows.planning.rows import Action, Row

    source, there = filled({"a": b"1"}), bucket()
    bare = Troubled(there)
    store = layered(bare)
    bare.put("a", b"1")
    source = xd.source(f"{source}/")
    info = next(iter(source.pages()))[0]
    row = Row(source=info, name="a", destination="a", action=Action.COPY, reason="absent")

    plain = found_complete(source, ObjectSink(store), row)
    bare.calls.clear()
    read = found_complete(source, ObjectSink(store).verifying("v3"), row)

    assert (plain.verification, read.verification) == (Verification.V2, Verification.V3)
    assert read.evidence.startswith("destination read back: ")
    assert len([verb for verb, _ in bare.calls if verb == "read"]) == 1


class TestEncrypted:
    """Buckets that encrypt with KMS: ETags look like MD5s, are none, and differ from those of any copy."""

    @pytest.fixture(autouse=True)
    def ends(self, s3, tmp_path):
        names = [f"kms-{uuid.uuid4()}" for _ in range(2)]
        s3.create_bucket(names[0], kms=True)
        s3.create_bucket(names[1])
        self.server, self.tmp_path, self.names = s3, tmp_path, names
        fill = xd.sink(f"s3://{names[0]}/", **options_of(s3))
        for key, body in BODIES.items():
            fill(body, key=key)
        return names

    def run(self, number, to=None):
        where = {"source_options": options_of(self.server)}
        if to is None:
            to, where["sink_options"] = f"s3://{self.names[1]}/", options_of(self.server, part_size="5MiB")
        self.server.faults.reset_counters()
        return xd.migrate(f"s3://{self.names[0]}/", to, run_dir=f"{self.tmp_path}/run{number}", **where)

    def sent(self):
        counts = self.server.faults.requests
        return {name: counts.get(name, 0) for name in ("object.get", "object.insert", "object.copy")}

    def test_a_rerun_copies_nothing_and_reads_nothing(self):
        """The listings differ, so each side is asked once; the CRC both publish decides."""
        first, second = self.run(1), self.run(2)

        assert (first.counts.copied, second.counts.copied, second.counts.skipped) == (2, 0, 2)
        assert set(self.sent().values()) == {0}
        assert self.server.faults.requests["object.stat"] == 4
        evidence = [record.evidence for record in records(f"{self.tmp_path}/run2")]
        assert evidence == ["same crc64nvme"] * 2

    def test_without_a_digest_in_common_size_and_time_decide(self):
        """A destination that knows MD5s only: not older and of equal size is the same, as for any source without digests."""

        class OnlyMD5(Troubled):
            def _less(self, info):
                from dataclasses import replace

                from crossdock.model import Digests

                later = datetime.now(UTC) + timedelta(seconds=5)
                return replace(info, digests=Digests(md5=info.digests.md5), modified=later)

            def stat(self, *args, **kwargs):
                return self._less(super().stat(*args, **kwargs))

            def list(self, *args, **kwargs):
                for page in super().list(*args, **kwargs):
                    yield [self._less(info) for info in page]

        sink = ObjectSink(layered(OnlyMD5()))
        first, second = self.run(1, sink), self.run(2, sink)

        assert (first.counts.copied, second.counts.copied, second.counts.skipped) == (2, 0, 2)
        assert set(self.sent().values()) == {0}
        assert {"same size, destination not older"} == {
            record.evidence for record in records(f"{self.tmp_path}/run2")
        }

    def test_changed_bytes_of_equal_size_are_copied(self, ends):
        self.run(1)
        xd.sink(f"s3://{ends[0]}/", **options_of(self.server))(b"33", key="b/c")

        report = self.run(2)

        assert (report.counts.copied, report.counts.skipped) == (1, 1)
        assert self.server.objects(ends[1])["b/c"].data == b"33"


def test_changed_bytes_of_equal_size_cost_one_question_an_end(s3, tmp_path):
    """Where ETags are MD5s, a listing that differs is confirmed by each side before the object is sent."""
    names = [f"plain-{uuid.uuid4()}" for _ in range(2)]
    for name in names:
        s3.create_bucket(name)
    fill = xd.sink(f"s3://{names[0]}/", **options_of(s3))
    for number in range(3):
        fill(os.urandom(9), key=str(number))
    where = {"source_options": options_of(s3), "sink_options": options_of(s3)}
    xd.migrate(f"s3://{names[0]}/", f"s3://{names[1]}/", run_dir=f"{tmp_path}/1", **where)
    fill(b"otherwise", key="1")

    report = xd.migrate(f"s3://{names[0]}/", f"s3://{names[1]}/", run_dir=f"{tmp_path}/2", **where)

    assert (report.counts.copied, report.counts.skipped) == (1, 2)
    assert s3.objects(names[1])["1"].data == b"otherwise"
    assert build_report(open_run(f"{tmp_path}/2", {})).counts.copied == 1
    assert {RecordState.COPIED} == {record.state for record in records(f"{tmp_path}/2")}
