"""A run's directory works the same on a disk and in a bucket: resume, retry, compact, export, one driver at a time."""

from __future__ import annotations

import pytest
from flow_kit import Troubled, filled

import crossdock as xd
from crossdock.errors import DeniedError, LedgerError, NotFoundError
from crossdock.flows import compact, export_run, list_runs, overview, remove_run
from crossdock.flows.runs.directory import run_files
from crossdock.flows.runs.ownership import Owner, current_owner
from crossdock.testing import EmbeddedGCS, EmbeddedS3

OBJECTS = {f"{number:03d}": b"x" for number in range(150)}


@pytest.fixture(params=["local", "s3", "gs"])
def kept(request, tmp_path, monkeypatch):
    """URL of a place for runs, and the options of its store."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    if request.param == "local":
        yield f"{tmp_path}/runs/", {}
    elif request.param == "s3":
        with EmbeddedS3(buckets=("ops",)) as server:
            yield "s3://ops/runs/", {"endpoint_url": server.url, "region": "us-east-1"}
    else:
        with EmbeddedGCS(buckets=("ops",)) as server:
            yield "gs://ops/runs/", {"endpoint_url": server.url}


def test_a_missing_bucket_holds_no_list_of_no_runs():
    options = {"key": "test-access-key", "secret": "test-secret-key", "region": "us-east-1"}
    with EmbeddedS3(buckets=()) as server:
        runs = overview("s3://nosuch/runs/", options | {"endpoint_url": server.url})
        with pytest.raises(NotFoundError, match="NoSuchBucket"):
            next(runs)


def test_a_whole_life_of_a_run(kept, tmp_path):
    url, options = kept
    place, store = f"{url}nightly/", Troubled()
    store.put("zzz", b"")

    def refuse(verb, key):
        if verb == "put" and key < "005":
            raise DeniedError("no")

    store.before = refuse
    first = xd.migrate(filled(OBJECTS), store.sink(), run_dir=place, run_options=options)
    store.before = lambda *_: None
    retried = xd.retry(place, where="key=00[01]", sink=store.sink(), run_options=options)
    resumed = xd.resume(place, sink=store.sink(), run_options=options)
    puts = store.count("put")
    merged = compact(place, run_options=options)
    again = xd.resume(place, sink=store.sink(), run_options=options)
    written = export_run(place, f"{tmp_path}/ends.jsonl", run_options=options)
    (shown,) = overview(url, options)
    removed = remove_run(place, run_options=options)

    assert (first.counts.copied, first.counts.failed) == (145, 5)
    assert (retried.retried, retried.counts.failed) == (2, 3)
    assert (resumed.state, resumed.counts.copied) == ("complete", 150)
    assert merged.merged > merged.written == 1
    assert (again.to_dict(), puts) == (resumed.to_dict(), store.count("put"))
    assert written.rows == 150
    assert (shown.name, shown.state, shown.counts["copied"]) == ("nightly", "complete", 150)
    assert (removed.foreign, list(run_files(place, options).names())) == ((), [])


def test_two_drivers_on_one_run_the_second_refuses(kept):
    url, options = kept
    place, source, sink = f"{url}one/", filled(OBJECTS), f"memory://{Troubled().bucket}/"
    files = run_files(place, options)

    with Owner(files):
        for drive in (
            lambda: xd.migrate(source, sink, run_dir=place, run_options=options),
            lambda: Owner(files).__enter__(),
        ):
            with pytest.raises(LedgerError, match="another driver owns this run"):
                drive()

    assert current_owner(files) is None
    assert xd.migrate(source, sink, run_dir=place, run_options=options).counts.copied == 150
    with Owner(files):
        for drive in (
            lambda: xd.resume(place, run_options=options),
            lambda: xd.retry(place, run_options=options),
            lambda: compact(place, run_options=options),
            lambda: remove_run(place, run_options=options, force=True),
        ):
            with pytest.raises(LedgerError, match="another driver owns this run"):
                drive()
    assert xd.resume(place, run_options=options).counts.copied == 150


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("a", "b", "c"):
        xd.sink(f"memory://damaged-from-{name}/")(b"x", key="k")
    runs = [
        xd.migrate(f"memory://damaged-from-{name}/", f"{tmp_path}/to/{name}/") for name in ("a", "b", "c")
    ]
    place = tmp_path / "crossdock" / "runs"
    (place / runs[1].run_id / "run.json").write_bytes(b"{")

    listed = overview()
    names = [next(listed).name, next(listed).name]
    with pytest.raises(LedgerError, match=runs[1].run_id):
        next(listed)

    assert sorted(names) == sorted([runs[0].run_id, runs[2].run_id])
    assert len(list(list_runs(strict=False))) == 2
    assert runs[1].run_id in caplog.text
