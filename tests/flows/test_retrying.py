"""Retry: failures again, all or those that match, also those a resume leaves alone; the manifest stays what it was."""

from __future__ import annotations

import pytest
from flow_kit import Troubled, bucket, contents, filled, quietly

import crossdock as xd
from crossdock.connectors.memory import MemoryStore
from crossdock.errors import ConfigError, CredentialsError, DeniedError, LedgerError, PreconditionError
from crossdock.flows.ledger.records import Failure, Record, RecordState
from crossdock.flows.questions.filters import compile_filters
from crossdock.flows.retrying import Condition, parse_where
from crossdock.flows.runs.directory import run_files
from crossdock.flows.runs.ownership import Owner

OBJECTS = {f"{number:03d}": b"x" for number in range(200)}


def numbers(report):
    counts = report.counts
    return counts.planned, counts.copied, counts.skipped, counts.failed, counts.pending


class Failing:
    """Puts below these keys fail, each with its error, while it is switched on."""

    def __init__(self, errors):
        self.errors = errors
        self.on = True
        self.fired = 0

    def __call__(self, verb, key):
        if self.on and verb == "put":
            for before, error in self.errors.items():
                if key < before:
                    self.fired += 1
                    raise error


@pytest.fixture
def failed():
    """A run of which 10 were denied and 10 met a destination that somebody else had written."""
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")
    trouble = Failing({"010": DeniedError("no"), "020": ConfigError("of no use")})
    store.before = trouble
    report = xd.migrate(filled(OBJECTS), store.sink(), run_dir=place)
    assert (numbers(report), trouble.fired) == ((200, 180, 0, 20, 0), 20)
    assert {group.reason: group.retryable for group in report.failures} == {"denied": 10, "configuration": 0}
    trouble.on = False
    return store, place, trouble


def test_all_failures_again_also_those_a_resume_leaves_alone(failed):
    store, place, _ = failed
    manifest = {
        name: body for name, body in contents(place.rstrip("/")).items() if name.startswith("manifest/")
    }
    puts = store.count("put")

    report = xd.retry(place, sink=store.sink())

    assert (report.retried, numbers(report)) == (20, (200, 200, 0, 0, 0))
    assert (report.state, report.exit_code) == ("complete", 0)
    assert puts + 20 == store.count("put")
    assert manifest.items() <= contents(place.rstrip("/")).items()
    assert OBJECTS.items() <= contents(store.url).items()


@pytest.mark.parametrize(
    ("where", "retried"),
    [
        ("reason=configuration", 10),
        (("reason=denied", "key=00[0-4]"), 5),
        (("key=000", "key=01*"), 11),
        (("reason=denied", "reason=configuration"), 20),
        ("key=nothing*", 0),
        ("reason=stalled", 0),
    ],
)
def test_only_what_matches(failed, where, retried):
    store, place, _ = failed

    report = xd.retry(place, where=where, sink=store.sink())

    assert (report.retried, numbers(report)) == (retried, (200, 180 + retried, 0, 20 - retried, 0))


def test_what_fails_again_is_failed_again(failed):
    store, place, trouble = failed
    trouble.on = True

    report = xd.retry(place, where="reason=configuration", sink=store.sink())

    assert (report.retried, numbers(report)) == (10, (200, 180, 0, 20, 0))
    assert trouble.fired == 30
    assert {record.reason for record in report.failed} == {"denied", "configuration"}
    trouble.on = False
    assert numbers(xd.retry(place, sink=store.sink())) == (200, 200, 0, 0, 0)


def test_nothing_to_do_writes_nothing(failed):
    store, place, _ = failed
    xd.retry(place, sink=store.sink())
    before, calls = contents(place.rstrip("/")), len(store.calls)

    report = xd.retry(place, sink=store.sink())

    assert (report.retried, report.exit_code) == (0, 0)
    assert before == contents(place.rstrip("/"))
    assert calls == len(store.calls)


def test_what_is_pending_stays_pending(failed):
    """A retry of the failures is not a resume: what was never begun is not begun."""
    store, place, _ = failed
    run = MemoryStore(place.removeprefix("memory://").rstrip("/"))
    for name in [name for name in contents(run.url) if name.startswith("ledger/00000002-")]:
        run.delete(name)

    report = xd.retry(place, sink=store.sink())

    assert (report.retried, report.state) == (20, "incomplete")
    assert report.counts.pending > 0
    assert numbers(xd.resume(place, sink=store.sink())) == (200, 200, 0, 0, 0)


def test_killed_after_it_began_a_resume_does_what_it_set_out_to_do(failed, monkeypatch):
    store, place, _ = failed
    from crossdock.flows.moving.driving import Drive

    def die(drive):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Drive, "run", die)
        with pytest.raises(KeyboardInterrupt):
            xd.retry(place, where="reason=configuration", sink=store.sink())

    assert numbers(xd.flows.build_report(xd.flows.open_run(place))) == (200, 180, 0, 10, 10)
    assert xd.retry(place, where="reason=configuration", sink=store.sink()).retried == 10
    assert numbers(xd.resume(place, sink=store.sink())) == (200, 200, 0, 0, 0)


def test_credentials_that_fail_leave_the_failures_as_they_were(failed):
    store, place, _ = failed
    before = contents(place.rstrip("/"))

    class Locked(Troubled):
        def check(self):
            raise CredentialsError("none were found")

    with pytest.raises(CredentialsError):
        xd.retry(place, sink=Locked(store.bucket).sink())

    assert before == contents(place.rstrip("/"))


def test_a_source_that_changed_fails_again_for_the_same_reason():
    """The retry reads what was listed, or nothing: a new run is for what is there now."""
    source, place, to = Troubled(), f"memory://{bucket()}/", f"memory://{bucket()}"
    source.put("a", b"1")

    def replace(verb, key):
        if verb == "read":
            MemoryStore(source.bucket).put("a", b"2")

    source.before = replace
    first = xd.migrate(source.source(), to, run_dir=place)
    source.before = quietly
    again = xd.retry(place, source=source.source())

    assert [group.reason for group in first.failures] == ["source changed"]
    assert (again.retried, [group.reason for group in again.failures]) == (1, ["source changed"])
    assert contents(to) == {}


def test_a_destination_that_somebody_wrote_is_not_overwritten():
    store, place = Troubled(), f"memory://{bucket()}/"
    store.put("zzz", b"")

    def refuse(verb, key):
        if verb == "put":
            raise PreconditionError("somebody wrote it")

    store.before = refuse
    xd.migrate(filled({"a": b"1"}), store.sink(), run_dir=place)
    store.before = quietly
    store.put("a", b"theirs")
    report = xd.retry(place, sink=store.sink())

    assert [group.reason for group in report.failures] == ["destination changed"]
    assert contents(store.url)["a"] == b"theirs"


def test_a_run_that_is_driven_is_left_alone(failed):
    store, place, _ = failed
    with Owner(run_files(place)), pytest.raises(LedgerError, match="another driver"):
        xd.retry(place, sink=store.sink())


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("reason=denyed", "did you mean 'denied'"),
        ("reason=", "one of: vanished"),
        ("key=", "neither reason=CLASS nor key=GLOB"),
        ("size=3", "neither reason=CLASS nor key=GLOB"),
        ("key=[a", "closed|close"),
    ],
)
def test_a_condition_that_is_none_is_refused(where, told):
    with pytest.raises(ConfigError, match=told):
        parse_where(where)


def test_conditions_over_records():
    failure = Failure(reason="denied", error="DeniedError", message="no")
    record = Record(shard=0, row=0, state=RecordState.FAILED, key="a/b", failure=failure)

    assert Condition().takes(record)
    assert parse_where(("reason=denied", "key=a/*")).takes(record)
    assert not parse_where("key=*").takes(record)
    assert not Condition(keys=compile_filters("**"), reasons=frozenset({"stalled"})).takes(record)


def test_a_worker_process_tries_what_was_named_and_no_more(tmp_path):
    """What the retry is restricted to travels with the shard: another failure that a resume would mend stays."""
    source, sink, place = tmp_path / "from", tmp_path / "to", f"{tmp_path}/run/"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    for name in ("b", "c"):
        (sink / name).mkdir(parents=True)
    first = xd.migrate(f"{source}/", f"{sink}/", run_dir=place)
    for name in ("b", "c"):
        (sink / name).rmdir()
    with xd.LocalRunner(processes=1) as runner:
        report = xd.retry(place, where="key=b", runner=runner)

    assert (first.counts.copied, first.counts.failed) == (1, 2)
    assert (report.retried, report.counts.copied, report.counts.failed) == (1, 2, 1)
    assert sorted(path.name for path in sink.iterdir()) == ["a", "b"]
