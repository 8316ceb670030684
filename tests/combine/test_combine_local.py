"""``LocalRunner``: threads hear who listens; processes compute, crash and are stopped, and nothing is lost or left."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import crossdock as xd
from crossdock.errors import Retry
from crossdock.events import BytesMoved, Note, Retried, emit, listening
from crossdock.model import State


def add_one(value):
    return value + 1


first = xd.task(lambda value: value, name="first")
inc = xd.CombinedTask(first.bind(xd.param("x")), xd.task(add_one), name="inc")


@pytest.fixture
def two():
    return xd.LocalRunner(processes=2)


def wait_until(there, what, seconds=30):
    """Poll with a bound; whatever it waits for, another process does."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s"
        threading.Event().wait(0.02)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"processes": 0}, {"window": 0}, {"processes": True}])
def test_numbers_that_make_no_sense_are_refused_at_once(wrong):
    with pytest.raises(xd.ConfigError, match="is 1 or more"):
        xd.LocalRunner(**wrong)


def test_an_unknown_log_level_is_refused_at_once():
    with pytest.raises(xd.ConfigError, match="a level such as 'WARNING', or None, not 'LOUD'"):
        xd.LocalRunner(processes=1, worker_log_level="LOUD")


def test_events_of_items_on_threads_reach_who_listens_where_the_map_began():
    heard = []
    with listening(heard.append):
        xd.task(lambda n: emit(BytesMoved(bytes=n))).map(n=[1, 2, 3], runner=xd.LocalRunner(2)).wait()

    assert sorted(event.bytes for event in heard) == [1, 2, 3]


# -- processes -------------------------------------------------------------------------------------------------------


def test_items_run_in_other_processes_and_come_back_in_order(two):
    result = xd.task(lambda x: (x, os.getpid())).map(x=range(200), runner=two)
    values = result.results()

    assert [value for value, _ in values] == list(range(200))
    assert 1 <= len({pid for _, pid in values}) <= 2
    assert os.getpid() not in {pid for _, pid in values}
    assert multiprocessing.active_children() == []


def test_both_halves_run_in_one_process_on_one_thread(two):
    def start():
        return os.getpid(), threading.get_ident()

    def end(place):
        return place == (os.getpid(), threading.get_ident())

    def pair(_):
        return xd.task(end)(xd.task(start)())

    assert all(xd.one_task(pair).map([0] * 10, runner=two).results())


class Meeting:
    """Where two threads of one process meet; pickled as a place that each process makes for itself."""

    barrier = threading.Barrier(2)

    def __call__(self, _):
        Meeting.barrier.wait(30)
        return os.getpid()


def test_threads_are_items_at_once_in_each_process():
    """Each item waits for another one in the same process."""
    values = xd.task(Meeting(), name="meet").map([0, 1], runner=xd.LocalRunner(2, processes=1)).results()

    assert len(set(values)) == 1
    assert os.getpid() not in values


def test_the_running_task_knows_what_it_is(two):
    def tell(_):
        here = xd.current()
        return here.name, here.item, here.attempt, here.run_id

    values = xd.task(tell).map([7, 8, 9], runner=two).results()

    assert [value[:3] for value in values] == [("tell", 0, 1), ("tell", 1, 1), ("tell", 2, 1)]
    assert len({value[3] for value in values}) == 1


def test_failures_are_data_whatever_they_are_made_of(two):
    def fail(x):
        if x == 0:
            raise xd.ThrottledError("slow down", operation="put", where="gs://b")
        if x == 1:
            raise SystemExit(3)
        if x == 2:
            return threading.Lock()  # cannot be pickled
        return x

    by_index = {outcome.index: outcome for outcome in xd.task(fail).map(x=range(4), runner=two)}

    assert by_index[0].error.__cause__.where == "gs://b"
    assert by_index[1].state is State.FAILED
    assert "cannot leave the worker" in str(by_index[2].error)
    assert by_index[3].value == 3


def test_a_function_that_cannot_be_pickled_is_refused_before_a_process_starts(two):
    lock = threading.Lock()
    with pytest.raises(xd.ConfigError, match=r"'locked' or its arguments cannot be pickled"):
        xd.task(lambda x: (x, lock), name="locked").map(x=[1], runner=two).results()

    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("place", [0, 1, 30, 299])
def test_an_item_that_cannot_be_pickled_fails_alone(two, place):
    items = list(range(300))
    items[place] = threading.Lock()
    result = first.map(value=items, runner=two)
    result.wait()

    (failed,) = result.failed()
    assert failed.index == place
    assert isinstance(failed.error.__cause__, xd.ConfigError)
    assert "this item cannot be pickled for a worker: TypeError: cannot pickle '_thread.lock'" in str(
        failed.error
    )
    assert result.counts == {State.FAILED: 1, State.DONE: 299}


def test_an_error_of_the_input_comes_after_the_items_before_it(two):
    def numbers():
        yield from range(3)
        raise RuntimeError("input broke")

    ended = []
    with pytest.raises(RuntimeError, match="input broke"):
        ended.extend(two.run(add_one, numbers()))

    assert sorted(ended) == [(0, 1), (1, 2), (2, 3)]


def test_secrets_given_as_text_are_inherited(two):
    result = xd.task(lambda secret: len(secret.reveal())).map(secret=[xd.Secret("canary-3141")], runner=two)

    assert result.results() == [11]


def test_a_chain_of_maps_flows_through_one_runner(two):
    result = inc.map(x=inc.map(x=inc.map(x=range(50), runner=two), runner=two), runner=two)

    assert result.results() == list(range(3, 53))


def test_the_window_bounds_what_is_taken_from_a_generator():
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    run = xd.LocalRunner(processes=2, window=6).run(add_one, numbers())
    next(run)
    at_most = len(taken)
    run.close()

    assert at_most <= 6 + 1
    assert multiprocessing.active_children() == []


# -- processes that die ----------------------------------------------------------------------------------------------


def test_an_item_that_kills_its_process_fails_alone(two, tmp_path):
    """Whoever was in its shard succeeds; deaths are counted by the processes themselves, before they die."""

    def work(x):
        if x == 17:
            (tmp_path / f"{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    heard = []
    with listening(heard.append):
        result = xd.task(work).map(x=range(60), runner=two)
        values = result.results(failed="none")
    (outcome,) = result.failed()
    deaths = len(list(tmp_path.iterdir()))

    assert values == [None if x == 17 else x for x in range(60)]
    assert outcome.index == 17
    assert isinstance(outcome.error.__cause__, xd.ConnectionLostError)
    assert "was killed by SIGKILL" in str(outcome.error)
    assert outcome.error.retry is Retry.EXHAUSTED
    assert 3 <= deaths <= 10
    assert sum(isinstance(event, Note) and "SIGKILL" in event.text for event in heard) == deaths


def test_a_process_that_is_lost_once_loses_nothing(two, tmp_path):
    def work(x):
        mark = tmp_path / "killed"
        if x == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    outcomes = list(xd.task(work).map(x=range(60), runner=two))

    assert (tmp_path / "killed").exists()
    assert sorted(outcome.index for outcome in outcomes) == list(range(60))
    assert all(outcome.ok for outcome in outcomes)


# -- what they tell --------------------------------------------------------------------------------------------------


def test_logs_and_events_of_processes_reach_the_driver(two, caplog):
    """Records with what they are about, events added up; and each record once."""

    def work(n):
        emit(BytesMoved(bytes=3))
        emit(BytesMoved(bytes=4))
        if n == 1:
            emit(Note(text="look here"))
            emit(Retried(operation="put", place="s3://b/k", cause="503", attempt=1, delay_s=0.5))
            xd.current().logger.warning("odd %s", n)
            logging.getLogger("crossdock.task").info("below the level")
            logging.getLogger("elsewhere").error("not ours")
        return os.getpid()

    heard = []
    with listening(heard.append), caplog.at_level(logging.DEBUG):
        result = xd.task(work, name="chatty").map(n=range(10), runner=two)
        pids = result.results()

    (record,) = [record for record in caplog.records if record.name == "crossdock.task"]
    assert (record.getMessage(), record.levelname) == ("odd 1", "WARNING")
    assert (record.task, record.item, record.attempt) == ("chatty", 1, 1)
    assert record.run_id == next(iter(result)).run_id
    assert record.worker == f"process {pids[1]}"
    assert not any(each.name == "elsewhere" for each in caplog.records)
    assert sum(event.bytes for event in heard if isinstance(event, BytesMoved)) == 70
    assert [event.text for event in heard if isinstance(event, Note)] == ["look here"]
    assert [event.place for event in heard if isinstance(event, Retried)] == ["s3://b/k"]


@pytest.mark.parametrize(("level", "expected"), [("info", ["step", "trouble"]), (None, [])])
def test_the_level_of_carried_records_is_asked_for(level, expected, caplog):
    def work(_):
        xd.current().logger.info("step")
        try:
            int("x" * 10_000)
        except ValueError:
            xd.current().logger.exception("trouble")

    with caplog.at_level(logging.DEBUG):
        xd.task(work).map([0], runner=xd.LocalRunner(processes=1, worker_log_level=level)).wait()
    records = [record for record in caplog.records if record.name == "crossdock.task"]

    assert [record.message for record in records] == expected
    if expected:
        assert "xxx" in records[1].exc_text
        assert len(records[1].exc_text) <= 4_000


def test_a_flood_of_records_is_bounded_and_counted(caplog):
    """Two hundred entries in a message, some megabytes of text never; what is left out is counted."""

    def work(_):
        for number in range(5_000):
            xd.current().logger.warning("%d %s", number, "x" * 100_000)

    heard = []
    with listening(heard.append), caplog.at_level(logging.WARNING):
        xd.task(work).map([0], runner=xd.LocalRunner(processes=1)).wait()
    carried = [record for record in caplog.records if record.name == "crossdock.task"]
    notes = [event.text for event in heard if isinstance(event, Note)]
    left_out = sum(int(text.split(" had ")[1].split()[0]) for text in notes)

    assert 0 < len(carried) < 5_000
    assert max(len(record.getMessage()) for record in carried) < 5_000
    assert len(carried) + left_out == 5_000


def test_records_are_heard_while_the_item_still_runs(tmp_path, caplog):
    """The item ends only after its own record was heard at the driver."""
    heard = tmp_path / "heard"

    class Watch(logging.Handler):
        def emit(self, _):
            heard.touch()

    def work(_):
        xd.current().logger.warning("begun")
        until = time.monotonic() + 30
        while not heard.exists() and time.monotonic() < until:
            threading.Event().wait(0.02)
        return heard.exists()

    logger, watch = logging.getLogger("crossdock.task"), Watch()
    logger.addHandler(watch)
    try:
        assert xd.task(work).map([0], runner=xd.LocalRunner(processes=1)).results() == [True]
    finally:
        logger.removeHandler(watch)


# -- stopping --------------------------------------------------------------------------------------------------------


def test_cancelling_ends_pauses_and_leaves_no_process(tmp_path):
    def work(n):
        (tmp_path / str(n)).touch()
        raise ConnectionError("again, in an hour")

    result = xd.task(work, retries=3, retry_delay=3600).map(
        n=range(1_000), runner=xd.LocalRunner(processes=2)
    )
    wait_until(lambda: any(tmp_path.iterdir()), "an item")
    result.cancel()
    result.wait()

    assert result.counts[State.CANCELLED] > 900
    assert sum(result.counts.values()) == 1_000
    assert multiprocessing.active_children() == []


SCRIPT = """
import os, pathlib, sys, threading
import crossdock as xd

def work(n, marks):
    (pathlib.Path(marks) / f"{n}-{os.getpid()}").touch()
    threading.Event().wait(0.3)
    (pathlib.Path(marks) / f"{n}-ended").touch()
    return n

if __name__ == "__main__":
    result = xd.task(work).map(n=range(1_000), marks=sys.argv[1], runner=RUNNER)
    try:
        result.wait()
    except KeyboardInterrupt:
        print(sum(result.counts.values()))
        raise SystemExit(130)
"""


@pytest.mark.parametrize("runner", ["xd.LocalRunner(processes=2)", "xd.LocalRunner(4)"])
def test_ctrl_c_ends_what_runs_and_nothing_more_and_is_quiet(tmp_path, runner):
    """As at a terminal, every process of the command gets SIGINT; only the driver listens to it."""
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    marks.mkdir()
    script.write_text(SCRIPT.replace("RUNNER", runner))
    process = subprocess.Popen(
        [sys.executable, script, marks],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(list(marks.glob("*-ended"))) >= 2, "work")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    begun = {path.name.split("-")[0] for path in marks.iterdir() if not path.name.endswith("-ended")}
    ended = {path.name.split("-")[0] for path in marks.glob("*-ended")}
    pids = {int(path.name.split("-")[1]) for path in marks.iterdir() if not path.name.endswith("-ended")}

    assert process.returncode == 130
    assert out == "1000\n"
    assert [line for line in err.splitlines() if "cancelled" not in line] == []
    assert begun == ended
    assert len(begun) < 1_000
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_run_nobody_ended_keeps_no_interpreter(tmp_path):
    """A generator that is still open when the script ends: its processes go with it, at once."""
    script = tmp_path / "script.py"
    script.write_text(
        "import threading\nimport crossdock as xd\n"
        "def work(n):\n    if n: threading.Event().wait(600)\n    return n\n"
        "if __name__ == '__main__':\n"
        "    run = xd.LocalRunner(processes=2).run(work, range(10))\n"
        "    print(next(run))\n"
        "    import __main__; __main__.kept = [run]; import os, gc; gc.freeze()\n"
    )
    done = subprocess.run([sys.executable, script], check=False, timeout=60, capture_output=True, text=True)

    assert done.stdout == "(0, 0)\n"


def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import crossdock as xd\n"
        "try:\n"
        "    xd.task(len).map(['a'], runner=xd.LocalRunner(processes=1)).results()\n"
        "except xd.ConfigError as error:\n"
        "    print(error)\n"
        "    raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, script], check=False, timeout=60, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (7, "")
    assert "a worker process ended with exit code" in done.stdout
    assert "if __name__ == '__main__':" in done.stdout


def test_a_map_in_processes_as_a_scripts_last_line_runs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys\nimport crossdock as xd\n"
        "def work(n):\n    (pathlib.Path(sys.argv[1]) / str(n)).touch()\n"
        "if __name__ == '__main__':\n"
        "    xd.task(work).map(range(30), runner=xd.LocalRunner(processes=2))\n"
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    done = subprocess.run(
        [sys.executable, script, marks], check=False, timeout=60, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert {each.name for each in marks.iterdir()} == {str(n) for n in range(30)}


def test_a_finished_script_is_quiet(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import crossdock as xd\n"
        "if __name__ == '__main__':\n"
        "    print(sum(xd.task(abs).map(range(100), runner=xd.LocalRunner(processes=2)).results()))\n"
    )
    done = subprocess.run([sys.executable, script], check=True, timeout=60, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("4950\n", "")
