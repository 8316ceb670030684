"""What a map tells afterwards: a summary, a file with one row an outcome, hooks for items and for the run."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

import crossdock as xd
from crossdock.combine.mapping.saving import COLUMNS
from crossdock.combine.mapping.summary import headline, summary_text
from crossdock.model import Outcome, State

WAIT_S = 60


def outcome(index, state=State.DONE, error=None, **fields):
    failure = None
    if error is not None:
        failure = xd.TaskFailed(str(error), task="t", inputs={"key": f"'k{index}'"})
        failure.__cause__ = error
    return Outcome(index=index, state=state, error=failure, **fields)


def test_a_summary_has_states_what_moved_attempts_durations_and_causes():
    gone = xd.NotFoundError("it is gone", where="s3://b", key="k2", hint="list again")
    outcomes = [
        outcome(0, bytes=3 << 20, objects=1, rows=10, duration_s=0.5, inputs={"key": "'k0'"}),
        outcome(1, bytes=1 << 20, objects=1, duration_s=2.0, attempts=3),
        outcome(2, State.FAILED, gone, duration_s=0.25),
        outcome(3, State.UPSTREAM_FAILED, ValueError("x"), attempts=0),
        outcome(4, State.FAILED, gone, duration_s=0.25),
        outcome(5, State.CANCELLED, attempts=0),
    ]

    assert summary_text("copy", outcomes, 2.0).splitlines() == [
        "copy: 6 items in 2.00 s: 2 done, 2 failed, 1 upstream_failed, 1 cancelled (2 x NotFoundError)",
        "  moved: 4.0 MiB, 2.0 MiB/s, 2 objects, 10 rows",
        "  attempts: 6, 1 items needed more than one",
        (
            "  durations: median 0.375 s, longest 2 s for number 1, 0.5 s for number 0 (key='k0'), "
            "0.25 s for number 2"
        ),
        (
            "  2 x NotFoundError, such as: task t(key='k2') failed in its task: s3://b/k2: it is gone; list again"
        ),
    ]
    assert "copy: 0 items in 0.00 s" == summary_text("copy", [], 0.0) == headline("copy", [], 0.0)


# -- files -----------------------------------------------------------------------------------------------------------


def mapped(name):
    source, sink = xd.MemorySource(f"{name}-src"), xd.MemorySink(f"{name}-dst")
    xd.MemorySink(f"{name}-src")(b"payload", key="a,é")
    with xd.one_task("copy", tags=["nightly"]) as copy:
        sink(source(xd.param("key")))
    return copy.map(key=["a,é", "missing"]).wait()


def read_back(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_one_row_for_each_outcome(form, tmp_path):
    result = mapped(f"save-{form}")
    path = tmp_path / f"outcomes.{form}"

    written = result.save(path)
    done, failed = read_back(path)

    assert path.as_uri() == written
    assert list(COLUMNS) == list(done) == list(failed)
    assert [str(done["index"]), str(failed["index"])] == ["0", "1"]
    assert ("done", "copy", result.run_id) == (done["state"], done["task"], done["run_id"])
    assert f"memory://save-{form}-dst/a,é" == done["destination"]
    assert "7" == str(done["size"]) == str(done["bytes"])
    assert failed["error_class"] == "NotFoundError"
    assert failed["error_phase"] == "source"
    assert "missing" in failed["error"]
    assert (failed["destination"] or None) is None
    as_json = (lambda text: text) if form == "jsonl" else json.loads
    assert as_json(done["tags"]) == ["nightly"]
    assert as_json(done["inputs"]) == {"key": "'a,é'"}
    assert f"memory://save-{form}-dst/a,é" == as_json(done["value"])["destination"]
    started = done["started"] if form == "parquet" else datetime.fromisoformat(done["started"])
    assert UTC.utcoffset(None) == started.utcoffset()


def test_values_of_any_kind_can_be_saved(tmp_path):
    values = [1, None, "x", [1, {"a": 2}], {"b": b"\x01"}, {3}, object(), float("nan"), {(1, 2): 3}, "\ud800"]
    result = xd.task(lambda value: value).map(value=values)
    for form in ("parquet", "jsonl", "csv"):
        result.save(str(tmp_path / f"o.{form}"))

    rows = read_back(tmp_path / "o.jsonl")

    assert [row["value"] for row in rows[:7]] == [1, None, "x", [1, {"a": 2}], {"b": "01"}, [3], "<object>"]
    assert [row["value"] for row in rows[7:]] == ["nan", {"(1, 2)": 3}, "\ud800"]
    assert len(values) == len(read_back(tmp_path / "o.parquet")) == len(read_back(tmp_path / "o.csv"))


def test_an_empty_map_is_a_file_too(tmp_path):
    result = xd.task(lambda value: value).map(value=[])
    result.save(str(tmp_path / "o.parquet"))

    assert read_back(tmp_path / "o.parquet") == []
    assert list(COLUMNS) == pq.read_schema(tmp_path / "o.parquet").names


def test_any_url_will_do_and_a_failure_leaves_what_was_there(tmp_path):
    result = mapped("save-url")
    result.save("memory://save-outcomes/run/o.jsonl")
    body = b"".join(xd.source("memory://save-outcomes/run/")("o.jsonl"))
    (tmp_path / "o.jsonl").mkdir()

    assert len(body.splitlines()) == 2
    with pytest.raises(xd.ConfigError, match=r"\.parquet, \.jsonl, \.csv"):
        result.save("memory://save-outcomes/run/o.xlsx")
    with pytest.raises(xd.CrossdockError):
        result.save(str(tmp_path / "o.jsonl"))


# -- hooks -----------------------------------------------------------------------------------------------------------


def test_each_item_is_told_once_on_one_thread_of_the_driver():
    told, threads = [], set()
    lock = threading.Lock()  # cannot be pickled, and need not be

    def note(kind):
        def hook(outcome):
            with lock:
                told.append((kind, outcome.index, outcome.state))
                threads.add(threading.current_thread().name)

        return hook

    def work(number):
        if number == 1:
            raise ValueError("one")
        return number

    task = xd.task(
        work, on_success=note("success"), on_failure=note("failure"), on_completion=note("completion")
    )
    with xd.DaskRunner(n_workers=1, threads=2) as runner:
        ones = task.map(number=iter(range(3)), runner=runner).wait()
    twos = task.map(number=ones).wait()

    one_map = [("success", State.DONE), ("failure", State.FAILED)]
    assert sorted(str((kind, index)) for kind, index, _ in told) == sorted(
        2
        * [
            str(each)
            for n in range(3)
            for each in (("success" if n != 1 else "failure", n), ("completion", n))
        ]
    )
    assert {State.DONE, State.FAILED, State.UPSTREAM_FAILED} == {state for _, _, state in told}
    assert one_map == sorted(
        {(k, s) for k, _, s in told if k != "completion" and s in (State.DONE, State.FAILED)}, reverse=True
    )
    assert {"map-work"} == threads
    assert len(twos) == 3


def test_a_cancelled_item_completes_and_is_no_failure():
    told = []
    began, go_on = threading.Event(), threading.Event()

    def held(number):
        began.set()
        assert go_on.wait(WAIT_S)

    task = xd.task(
        held,
        on_failure=lambda outcome: told.append(("failure", outcome.index)),
        on_completion=lambda outcome: told.append((outcome.state, outcome.index)),
    )
    result = task.map(number=range(3), window=1)
    assert began.wait(WAIT_S)
    result.cancel()
    go_on.set()
    result.wait()

    assert told == [(State.DONE, 0), (State.CANCELLED, 1), (State.CANCELLED, 2)]


def test_a_hook_that_raises_changes_nothing(caplog):
    def broken(_):
        raise RuntimeError("hook")

    task = xd.task(lambda number: number, on_completion=broken)
    result = task.map(number=range(3), on_completion=broken)

    assert result.results() == [0, 1, 2]
    assert caplog.text.count("RuntimeError: hook") == 4


@pytest.mark.parametrize("bad", [False, True])
def test_the_end_of_a_run_is_told_once(bad):
    told = []

    def work(number):
        if bad and number == 2:
            raise ValueError("two")
        return number

    result = xd.task(work, name="work").map(
        number=range(4),
        on_success=lambda record: told.append(("success", record)),
        on_failure=lambda record: told.append(("failure", record)),
        on_completion=[lambda record: told.append(("completion", record))],
    )
    result.wait()
    (first, record), (second, same_record) = told

    assert (("failure" if bad else "success"), "completion") == (first, second)
    assert record is same_record
    assert ("work", result.run_id, not bad) == (record.name, record.run_id, record.ok)
    assert ({"done": 3, "failed": 1} if bad else {"done": 4}) == dict(record.counts)
    assert record.duration_s > 0
    assert record.started.tzinfo is not None


def test_a_run_that_broke_off_tells_why():
    told = []

    def listing():
        yield 1
        raise xd.DeniedError("page 2", operation="list")

    result = xd.task(lambda number: number).map(number=listing(), on_completion=told.append)
    with pytest.raises(xd.DeniedError):
        result.wait()

    [record] = told
    assert (record.status, dict(record.counts)) == ("failed", {"done": 1})
    assert "page 2" in record.error


@pytest.mark.parametrize(
    "options", [{"notify": "https://x"}, {"on_success": 5}, {"notify": xd.slack("env:NO_SUCH_NAME")}]
)
def test_nobody_to_tell_is_found_before_anything_runs(options):
    ran = []
    with pytest.raises(xd.ConfigError):
        xd.task(ran.append).map([1], **options)

    assert ran == []
