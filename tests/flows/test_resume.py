"""What survives: killed workers, lost records, lost shards, Ctrl-C, a second driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from flow_kit import Troubled, bucket, contents, filled, generations, quietly

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.connectors.strategy import TransferOptions
from crossdock.errors import ConnectionLostError, DeniedError, LedgerError, NotFoundError
from crossdock.flows.moving import driving
from crossdock.flows.runs import ownership
from crossdock.flows.runs.directory import run_files
from crossdock.flows.runs.ownership import Owner, current_owner
from crossdock.model import Metadata


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


def forget_outcomes(place):
    """Make the run look as after SIGKILL between commit and record: begun, written, nothing recorded."""
    store = MemoryStore(place.removeprefix("memory://").rstrip("/"))
    for name in [info.key for page in store.list("ledger/") for info in page]:
        if not name.endswith("-00000.parquet"):
            store.delete(name)
    store.delete("report.json")
    document = json.loads(bytes(store.read("run.json").read_all()))
    store.put("run.json", json.dumps(document | {"state": "running"}).encode())


def test_what_was_written_but_not_recorded_is_recognised_and_not_sent_again():
    objects = {f"{number:03d}": bytes([number]) * 9 for number in range(100)}
    source, store, place = filled(objects), Troubled(), f"memory://{bucket()}/"
    xd.migrate(source, store.sink(), run_dir=place)
    forget_outcomes(place)
    before, puts = generations(store.url), store.count("put")

    report = xd.resume(place, sink=store.sink())

    assert numbers(report) == (100, 100, 0, 0, 0)
    assert report.methods == {"found": 100}
    assert (before, puts) == (generations(store.url), store.count("put"))
    assert (report.state, report.levels) == ("complete", {"V2": 100})


def test_without_common_digests_the_source_is_read_once_and_nothing_is_written(tmp_path):
    """Local files publish no digest: both sides are read back and compared; a file that differs is not ours."""
    source, sink, place = tmp_path / "a", tmp_path / "b", f"memory://{bucket()}/"
    source.mkdir()
    for name in ("one", "two"):
        (source / name).write_bytes(name.encode())
    xd.migrate(str(source), str(sink), run_dir=place)
    forget_outcomes(place)
    (sink / "two").write_bytes(b"owt")
    inode = (sink / "one").stat().st_ino

    report = xd.resume(place)

    assert numbers(report) == (2, 1, 0, 1, 0)
    assert [record.failure.reason for record in report.failed] == ["destination changed"]
    assert (inode, b"owt") == ((sink / "one").stat().st_ino, (sink / "two").read_bytes())


def test_rows_that_never_began_are_sent_and_those_recorded_are_not_touched():
    objects = {f"{number:03d}": b"x" * number for number in range(200)}
    source, store, place = filled(objects), Troubled(), f"memory://{bucket()}/"
    store.put("unrelated", b"")

    def fail(verb, key):
        if verb == "put" and key > "100":
            raise ConnectionLostError("the service is down")

    store.before = fail
    first = xd.migrate(source, store.sink(), run_dir=place)
    assert numbers(first) == (200, 101, 0, 99, 0)
    assert [(each.reason, each.count, each.retryable) for each in first.failures] == [("connection", 99, 99)]
    before = generations(store.url)
    store.before = quietly
    report = xd.resume(place, sink=store.sink())

    assert numbers(report) == (200, 200, 0, 0, 0)
    assert before.items() <= generations(store.url).items()
    assert objects == {key: body for key, body in contents(store.url).items() if key != "unrelated"}


def test_a_failure_that_no_attempt_can_mend_is_not_tried_again():
    source, place = Troubled(), f"memory://{bucket()}/"
    source.put("gone", b"")
    source.put("stays", b"")

    def delete(verb, key):
        if (verb, key) == ("read", "gone"):
            MemoryStore(source.bucket).delete(key)

    source.before = delete
    xd.migrate(source.source(), f"memory://{bucket()}", run_dir=place)
    calls = len(source.calls)

    report = xd.resume(place, source=source.source())

    assert numbers(report) == (2, 1, 0, 1, 0)
    assert calls == len(source.calls)


def test_uploads_a_dead_attempt_left_open_are_aborted_and_those_of_others_are_not():
    """The intent says which destination keys a killed attempt may have begun; only those are cleared."""
    source = filled({"big": b"x" * 3_000, "small": b"x"})
    store, place = Troubled(), f"memory://{bucket()}/"
    sink = store.sink(transfer=TransferOptions(part_size_bytes=1_000))
    xd.migrate(source, sink, run_dir=place)
    forget_outcomes(place)
    store.delete("big")
    mine = store.begin("big", part_size_bytes=1_000, metadata=Metadata())
    other = store.begin("big-not", part_size_bytes=1_000, metadata=Metadata())

    report = xd.resume(place, sink=sink)

    assert numbers(report) == (2, 2, 0, 0, 0)
    assert [other.id] == [upload.id for upload in store.list_uploads()]
    assert mine.id != other.id
    assert contents(store.url)["big"] == b"x" * 3_000


class Losing(xd.LocalRunner):
    """A runner whose workers die with the first shards it is given, so many times."""

    def __init__(self, losses):
        super().__init__(threads=1, window=1)
        self.losses = losses
        self.lost = 0

    def run(self, function, items, *, name="task"):
        def dying(item):
            if self.lost < self.losses:
                self.lost += 1
                raise ConnectionLostError("every worker that ran this item died")
            return function(item)

        return super().run(dying, items, name=name)


@pytest.mark.parametrize(("losses", "pending"), [(2, 0), (3, 10)])
def test_a_shard_lost_with_its_worker_is_run_again_within_a_bound(losses, pending):
    source, place = filled({f"{number}": b"" for number in range(10)}), f"memory://{bucket()}/"
    sink, runner = f"memory://{bucket()}", Losing(losses)

    report = xd.migrate(source, sink, run_dir=place, runner=runner)

    assert losses == runner.lost
    assert (10, 10 - pending, 0, 0, pending) == numbers(report)
    assert (5 if pending else 0) == report.exit_code
    assert numbers(xd.resume(place)) == (10, 10, 0, 0, 0)


def test_ctrl_c_ends_what_is_in_flight_saves_the_state_and_resumes(monkeypatch):
    """SIGINT comes while objects move; those in flight end, what had not begun stays pending."""
    source, store, place = filled({f"{n:03d}": b"x" for n in range(300)}), Troubled(), f"memory://{bucket()}/"
    began, stopped = threading.Event(), threading.Event()
    wait = driving._Loop.wait

    def hold(verb, key):
        if verb == "put":
            began.set()
            assert stopped.wait(60)

    def waiting(loop):
        stopped.set()  # the driver has said stop, and now waits for what is in flight
        wait(loop)

    def press():
        assert began.wait(60)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    store.before = hold
    monkeypatch.setattr(driving._Loop, "wait", waiting)
    thread = threading.Thread(target=press)
    thread.start()

    with pytest.raises(KeyboardInterrupt):
        xd.migrate(source, store.sink(), run_dir=place, concurrency=4)

    thread.join()
    report = json.loads(contents(place.rstrip("/"))["report.json"])
    assert (report["state"], report["exit_code"]) == ("interrupted", 130)
    assert 1 <= report["copied"] <= 4
    assert report["copied"] + report["pending"] == 300
    store.before = quietly
    assert numbers(xd.resume(place, sink=store.sink())) == (300, 300, 0, 0, 0)


def test_ctrl_c_in_the_middle_of_a_large_object_leaves_no_upload_and_no_object(monkeypatch):
    """Reads end once the run is stopped, so the writer aborts; the object stays pending and arrives later."""
    source, store, place = Troubled(), Troubled(), f"memory://{bucket()}/"
    source.put("big", b"x" * 100_000)
    began, stopped = threading.Event(), threading.Event()
    wait = driving._Loop.wait

    def hold(verb, key):
        if verb == "read" and source.count("read") > 3:
            began.set()
            assert stopped.wait(60)

    def waiting(loop):
        stopped.set()
        wait(loop)

    def press():
        assert began.wait(60)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    source.before = hold
    monkeypatch.setattr(driving._Loop, "wait", waiting)
    thread = threading.Thread(target=press)
    thread.start()
    sink = store.sink(transfer=TransferOptions(part_size_bytes=1_000, part_concurrency=2))

    with pytest.raises(KeyboardInterrupt):
        xd.migrate(source.source(), sink, run_dir=place)

    thread.join()
    report = json.loads(contents(place.rstrip("/"))["report.json"])
    assert (report["state"], report["failed"], report["pending"]) == ("interrupted", 0, 1)
    assert (contents(store.url), list(store.list_uploads())) == ({}, [])
    assert source.count("read") < 20
    source.before = quietly
    assert numbers(xd.resume(place, source=source.source(), sink=sink)) == (1, 1, 0, 0, 0)


def test_the_same_command_goes_on_with_an_unfinished_run():
    source, store, place = filled({"a": b"1", "b": b"2"}), Troubled(), f"memory://{bucket()}/"

    def fail(verb, key):
        if verb == "put" and key == "b":
            raise DeniedError("no")

    store.before = fail
    first = xd.migrate(source, store.sink(), run_dir=place)
    store.before = quietly
    second = xd.migrate(source, store.sink(), run_dir=place)

    assert (first.run_id, (2, 1, 0, 1, 0)) == (second.run_id, numbers(first))
    assert numbers(second) == (2, 2, 0, 0, 0)


def test_a_run_that_died_while_listing_is_started_anew():
    source, store, place = filled({"a": b"1"}), Troubled(), f"memory://{bucket()}/"
    store.put("z", b"")

    class KilledError(BaseException):
        """What nobody catches, as nobody catches SIGKILL."""

    def die(verb, key):
        if verb == "list":
            raise KilledError

    store.before = die
    with pytest.raises(KilledError):
        xd.migrate(source, store.sink(), run_dir=place)
    with pytest.raises(LedgerError, match="nothing was moved"):
        xd.resume(place, sink=store.sink())
    store.before = quietly

    assert numbers(xd.migrate(source, store.sink(), run_dir=place)) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("reason", ["a page fails", "nothing matches", "Ctrl-C"])
def test_a_run_that_could_not_be_planned_leaves_no_run(reason):
    """It would be told as killed for ever, and there is nothing in it."""
    source, store, place = filled({"a": b"1"}), Troubled(), f"memory://{bucket()}/"
    store.put("z", b"")

    def stop(verb, key):
        if verb == "list" and reason != "nothing matches":
            raise DeniedError("no") if reason == "a page fails" else KeyboardInterrupt

    store.before = stop
    with pytest.raises((DeniedError, NotFoundError, KeyboardInterrupt)):
        xd.migrate(source, store.sink(), run_dir=place, include="b" if reason == "nothing matches" else ())

    assert list(run_files(place).names()) == []
    assert list(xd.source(place).list()) == []


def test_there_is_no_run_where_none_was():
    with pytest.raises(NotFoundError, match="no run here"):
        xd.resume(f"memory://{bucket()}/")
    with pytest.raises(NotFoundError):
        xd.resume("20261120T000000-000000")


def test_two_drivers_on_one_run_the_second_is_refused():
    source, place = filled({"a": b"1"}), f"memory://{bucket()}/"

    with Owner(run_files(place)) as owner, pytest.raises(LedgerError, match="another driver owns"):
        xd.migrate(source, f"memory://{bucket()}", run_dir=place)

    assert owner.session
    assert current_owner(run_files(place)) is None
    assert numbers(xd.migrate(source, f"memory://{bucket()}", run_dir=place)) == (1, 1, 0, 0, 0)


def test_a_dead_driver_of_this_machine_and_a_silent_one_are_taken_over():
    files = run_files(f"memory://{bucket()}/")
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True
    )
    lease = {"session": "x", "host": os.uname().nodename, "pid": int(ended.stdout), "heartbeat": time.time()}
    files.put_json("driver.json", lease)
    with Owner(files) as owner:
        assert owner.session == current_owner(files)["session"]
    files.put_json(
        "driver.json", lease | {"host": "elsewhere", "heartbeat": time.time() - ownership.STALE_S - 1}
    )
    with Owner(files):
        assert current_owner(files) is not None
    files.put_json("driver.json", lease | {"host": "elsewhere"})
    with pytest.raises(LedgerError, match="on elsewhere"), Owner(files):
        pass


def test_a_driver_that_was_taken_over_notices():
    """A process that stood still (SIGSTOP, a sleeping laptop) must not go on beside its successor."""
    files = run_files(f"memory://{bucket()}/")
    owner = Owner(files, heartbeat_s=0.01)

    with owner:
        files.put_json("driver.json", {"session": "another"})
        owner._thread.join(60)  # its next heartbeat finds another's lease, and is its last
        with pytest.raises(LedgerError, match="no longer owns"):
            owner.demand()

    assert files.get_json("driver.json")[0]["session"] == "another"
