"""Faults round a commit: what else is at the destination, uploads that vanish, aborts that fail or come too early, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from fault_kit import LARGE, OLD, SMALL, body_of, prepare

import crossdock as xd
from crossdock.errors import PreconditionError

SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
ALWAYS = pytest.mark.parametrize("first", [1, None], ids=["once", "always"])
PATIENCE_S = 20


def cell(bench, size, first=None):
    often = "" if first is None else " once"
    return f"{bench.route} {'large' if size == LARGE else 'small'}{often}"


def migrate(bench, place, **more):
    """The same copy as a run with a record."""
    return xd.migrate(
        bench.source_url,
        bench.sink_url,
        source_options={**bench.source.options, **bench.timeouts},
        sink_options={**bench.sink.options, **bench.timeouts, **bench.transfer},
        run_dir=f"{place}/run",
        **more,
    )


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


@SIZES
@ALWAYS
@pytest.mark.fault("upload-gone")
def test_an_upload_is_gone_when_a_part_or_the_completion_comes(writing, size, first, record):
    """A lifecycle rule, or somebody's cleanup, ended it: loud, and nothing half-made."""
    body = prepare(writing, LARGE)
    operation = "part.put" if size == SMALL else "upload.complete"
    code = (
        "<?xml version='1.0'?><Error><Code>NoSuchUpload</Code><Message>The upload is gone.</Message></Error>"
    )
    writing.sink.wrong(
        operation=operation, skip=1 if size == SMALL else 0, first=first, status=404, body=code
    )

    outcome = writing.copy(body)

    record("upload-gone", f"{writing.route} {'part' if size == SMALL else 'complete'}", outcome.ending)


@SIZES
@pytest.mark.fault("exists-equal")
def test_the_destination_holds_the_same_already(writing, size, tmp_path, record):
    """A run skips it with evidence and writes nothing; a copy that may not overwrite says so."""
    body = prepare(writing, size, old=body_of(size))
    writing.sink.server.faults.reset_counters()

    report = migrate(writing, tmp_path)
    with pytest.raises(PreconditionError):
        xd.copy(
            writing.source_url,
            writing.sink_url,
            overwrite=False,
            source_options=writing.source.options,
            sink_options={**writing.sink.options, **writing.transfer},
        )

    assert numbers(report) == (1, 0, 1, 0, 0)
    assert writing.sink.held("k") == body
    assert writing.sink.left() == []
    record("exists-equal", cell(writing, size), "skipped")


@SIZES
@pytest.mark.fault("exists-different")
def test_the_destination_holds_something_else(writing, size, tmp_path, record):
    """It is replaced only if that was asked for, found by digest where the size is the same.

    Listings have no digest of large objects in common, and by default the later of two equal sizes counts as the same: so
    digests are asked for, or it would matter whether a second passed between the two writes.
    """
    other = body_of(size, seed=2)
    body = prepare(writing, size, old=other)

    kept = migrate(writing, tmp_path / "never", overwrite="never")
    held = writing.sink.held("k")
    replaced = migrate(writing, tmp_path / "if-different", compare="checksum")

    assert (numbers(kept), held) == ((1, 0, 1, 0, 0), other)
    assert (numbers(replaced), writing.sink.held("k")) == ((1, 1, 0, 0, 0), body)
    record("exists-different", cell(writing, size), "exact")


@SIZES
@pytest.mark.parametrize("old", [None, OLD], ids=["absent", "there"])
@pytest.mark.fault("destination-changes")
def test_the_destination_changes_between_plan_and_commit(writing, size, old, tmp_path, record):
    """What somebody else wrote meanwhile is not overwritten: the row fails, and says why."""
    prepare(writing, size, old=old)
    intruder = b"somebody else's"
    writing.source.server.faults.reset_counters()
    name = writing.source.wrong(
        operation="object.get", first=1, act=lambda: writing.sink.put("k", intruder), name="intruder"
    )

    report = migrate(writing, tmp_path)

    assert writing.source.server.faults.fired[name] == 1
    assert numbers(report) == (1, 0, 0, 1, 0)
    assert (report.exit_code, [record.failure.reason for record in report.failed]) == (
        5,
        ["destination changed"],
    )
    assert writing.sink.held("k") == intruder
    assert writing.sink.left() == []
    record("destination-changes", cell(writing, size), "PreconditionError")


@pytest.mark.fault("abort-fails")
def test_an_abort_that_fails_is_told_and_can_be_made_up_for(writing, record):
    """The error that ended the copy stays the error; what is left is listed, and goes with the cleanup."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(operation="part.put", path="partNumber=2", status=403, name="refused")
    writing.sink.wrong(operation="upload.abort", status=500, name="abort")

    outcome = writing.copy(body, leaves_nothing=False)

    assert any("aborted" in note for note in outcome.error.__notes__)
    record("abort-fails", cell(writing, LARGE), outcome.ending)


@pytest.mark.fault("late-part")
def test_a_part_arrives_after_the_abort(writing, record):
    """The client gave the part up, the network did not: the late part finds no upload and makes nothing."""
    body = prepare(writing, LARGE)
    aborted, threads = threading.Event(), []

    def late():
        threads.append(threading.current_thread())
        aborted.wait(PATIENCE_S)

    writing.hasty(0.3)
    writing.sink.wrong(operation="part.put", path="partNumber=2", first=1, act=late, name="late")
    writing.sink.wrong(operation="part.put", path="partNumber=2", skip=1, status=403, name="refused")

    outcome = writing.copy(body)
    aborted.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert writing.sink.left() == []
    assert writing.sink.held("k") == OLD
    record("late-part", cell(writing, LARGE), outcome.ending)


@pytest.mark.fault("ctrl-c")
def test_ctrl_c_while_parts_are_in_flight(writing, record):
    """One copy: the upload is aborted and the interrupt goes on."""
    body = prepare(writing, LARGE)
    writing.sink.wrong(
        operation="part.put", skip=1, first=1, act=lambda: os.kill(os.getpid(), signal.SIGINT), name="ctrl-c"
    )

    outcome = writing.copy(body)

    record("ctrl-c", cell(writing, LARGE), outcome.ending)


@pytest.mark.fault("ctrl-c")
def test_ctrl_c_during_a_run_and_then_resume(writing, tmp_path, record):
    """A run: the state is saved, and resuming finishes what is left and repeats nothing that was recorded."""
    bodies = {f"d/{number:02d}": bytes([number]) * 999 for number in range(40)} | {"d/large": body_of(LARGE)}
    for key, body in bodies.items():
        writing.source.put(key, body)
    writing.key = "d/"
    writing.sink.wrong(
        operation="part.put", first=1, act=lambda: os.kill(os.getpid(), signal.SIGINT), name="ctrl-c"
    )

    with pytest.raises(KeyboardInterrupt):
        migrate(writing, tmp_path)
    secrets = {name: writing.source.options[name] for name in writing.source.options}
    report = xd.resume(
        f"{tmp_path}/run", source_options=secrets, sink_options={**writing.sink.options, **writing.transfer}
    )

    assert writing.sink.server.faults.fired["ctrl-c"] == 1
    assert numbers(report) == (len(bodies), len(bodies), 0, 0, 0)
    assert bodies == {
        key: bytes(stored.data) for key, stored in writing.sink.server.objects(writing.sink.bucket).items()
    }
    assert writing.sink.left() == []
    record("ctrl-c", f"{writing.route} run", "exact")
