"""``DaskRunner`` on a real cluster of two worker processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import distributed
import pytest

import crossdock as xd
from crossdock.combine.runners.sharding import ShardSizer
from crossdock.model import State
from crossdock.sharing import peers


def identity(value):
    return value


def add_one(value):
    return value + 1


first = xd.task(identity, name="identity")
second = xd.task(add_one, name="add_one")
inc = xd.CombinedTask(first.bind(xd.param("x")), second, name="inc")


class UnpicklableError(Exception):
    """Pickles, but cannot be unpickled: its class wants two arguments."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


def small_cluster(size):
    return distributed.LocalCluster(
        n_workers=size,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    )


@pytest.fixture(scope="module")
def runner():
    with xd.DaskRunner(cluster_kwargs={"n_workers": 2}, threads=4) as runner:
        yield runner


def client_of(runner):
    return runner._connect().client


def test_items_run_on_the_workers_and_come_back_in_order(runner):
    result = xd.task(lambda x: (x, os.getpid())).map(x=range(20), runner=runner)
    values = result.results()

    assert [value for value, _ in values] == list(range(20))
    assert {pid for _, pid in values} <= set(runner.workers().values())
    assert os.getpid() not in runner.workers().values()
    assert len(runner.workers()) == 2


def test_both_halves_run_in_one_process_on_one_thread(runner):
    def start():
        return os.getpid(), threading.get_ident()

    def end(place):
        return place == (os.getpid(), threading.get_ident())

    def pair(_):
        return xd.task(end)(xd.task(start)())

    assert all(xd.one_task(pair).map([0] * 10, runner=runner).results())


def test_two_thousand_items_are_far_fewer_dask_tasks(runner):
    client = client_of(runner)
    before = client.run_on_scheduler(count_tasks)
    result = inc.map(x=range(2_000), runner=runner)

    assert result.results() == list(range(1, 2_001))
    assert client.run_on_scheduler(count_tasks) - before < 60


def count_tasks(dask_scheduler):
    prefix = dask_scheduler.task_prefixes.get("inc")
    return prefix.state_counts["waiting"] if prefix else 0


def test_failures_are_data_whatever_they_are_made_of(runner):
    def fail(x):
        if x == 0:
            raise UnpicklableError(7, "odd")
        if x == 1:
            raise xd.ThrottledError("slow down", operation="put", where="gs://b")
        if x == 2:
            raise SystemExit(3)
        if x == 3:
            return lambda: (_ for _ in ())
        if x == 4:
            return threading.Lock()  # cannot be pickled
        return x

    result = xd.task(fail).map(x=range(6), runner=runner)
    by_index = {outcome.index: outcome for outcome in result}

    assert by_index[5].value == 5
    assert "UnpicklableError: 7: odd" in str(by_index[0].error)
    assert isinstance(by_index[1].error.__cause__, xd.ThrottledError)
    assert by_index[1].error.__cause__.where == "gs://b"
    assert by_index[2].state is State.FAILED
    assert by_index[3].ok
    assert "cannot leave the worker" in str(by_index[4].error)


def test_a_chain_of_maps_flows_on_dask(runner):
    result = inc.map(x=inc.map(x=inc.map(x=range(50), runner=runner), runner=runner), runner=runner)

    assert result.results() == list(range(3, 53))


def test_equal_items_each_run(runner):
    assert inc.map(x=[1, 1, 1], runner=runner).results() == [2, 2, 2]


def test_a_generator_is_taken_within_the_window():
    """No more than the window's shards are taken ahead of the first result."""
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    with small_cluster(1) as cluster:
        one = xd.DaskRunner(cluster=cluster, threads=2, shard_size=3, window=2)
        run = one.run(add_one, numbers(), name="window")
        next(run)
        at_most = len(taken)
        run.close()
        one.close()
        assert cluster.status == distributed.Status.running

    assert at_most <= 3 * (2 + 2)


def test_a_killed_worker_loses_nothing(runner, tmp_path):
    """SIGKILL in the middle of an item: it runs again elsewhere, everything ends once, as success."""

    def work(x):
        mark = tmp_path / "killed"
        if x == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"ran-{x}").touch()
        return x

    before = set(runner.workers().values())
    outcomes = list(xd.task(work).map(x=range(60), runner=runner))

    assert (tmp_path / "killed").exists()
    assert sorted(outcome.index for outcome in outcomes) == list(range(60))
    assert all(outcome.ok for outcome in outcomes)
    client_of(runner).wait_for_workers(2)
    assert before != set(runner.workers().values())


def test_secrets_given_as_text_reach_workers_started_afterwards():
    """And never stand in what is sent to them."""
    secret = xd.Secret("canary-3141")
    with xd.DaskRunner(cluster_class="distributed.LocalCluster", n_workers=1) as fresh:
        result = xd.task(lambda secret: len(secret.reveal())).map(secret=[secret], runner=fresh)
        assert result.results() == [11]

    assert b"canary" not in pickle.dumps(secret)


class FakeCluster:
    """A cluster class of somebody else's, known by its dotted name."""

    made: list[FakeCluster] = []  # noqa: RUF012 - what the test looks at

    def __init__(self, *, size, shared):
        self._cluster = small_cluster(size)
        self.scheduler_address = self._cluster.scheduler_address
        self.shared = shared
        self.adapted = None
        self.closed = False
        FakeCluster.made.append(self)

    def adapt(self, **kwargs):
        self.adapted = kwargs

    def close(self):
        self.closed = True
        self._cluster.close()


def test_a_cluster_class_by_dotted_name_gets_its_arguments_and_starts_late():
    name = f"{FakeCluster.__module__}.{FakeCluster.__qualname__}"
    fake = sys.modules[FakeCluster.__module__].FakeCluster
    fake.made.clear()
    runner = xd.DaskRunner(
        cluster_class=name,
        cluster_kwargs={"size": 1, "shared": "x"},
        adapt_kwargs={"minimum": 1, "maximum": 1},
    )
    assert fake.made == []
    with runner:
        assert inc.map(x=[1], runner=runner).results() == [2]
        (made,) = fake.made
        assert (made.shared, made.adapted, made.closed) == ("x", {"minimum": 1, "maximum": 1}, False)
        assert runner.cluster is made
    runner.close()

    assert made.closed


def test_keep_cluster_leaves_it_and_an_address_finds_it(runner):
    with xd.DaskRunner(FakeClusterHolder.address(runner)) as other:
        assert inc.map(x=[1, 2], runner=other).results() == [2, 3]
    with xd.DaskRunner(client=client_of(runner)) as third:
        assert inc.map(x=[1], runner=third).results() == [2]
    assert client_of(runner).status == "running"

    keeping = xd.DaskRunner(
        cluster_class=FakeCluster, cluster_kwargs={"size": 1, "shared": 0}, keep_cluster=True
    )
    with keeping:
        keeping.workers()
        kept = keeping.cluster
    assert not kept.closed
    with xd.DaskRunner(cluster=kept) as second:
        assert inc.map(x=[5], runner=second).results() == [6]
        assert second.cluster is kept
    assert not kept.closed
    kept.close()


def test_an_adaptive_cluster_gets_workers_when_there_is_work():
    """It begins with none, and is told what it may use."""
    with xd.DaskRunner(adapt_kwargs={"minimum": 0, "maximum": 1, "interval": "50ms"}) as adaptive:
        assert inc.map(x=range(20), runner=adaptive).results() == list(range(1, 21))
        assert (adaptive.cluster._adaptive.minimum, adaptive.cluster._adaptive.maximum) == (0, 1)


def test_client_kwargs_reach_the_client(runner):
    with xd.DaskRunner(FakeClusterHolder.address(runner), client_kwargs={"name": "named-by-a-test"}) as named:
        assert inc.map(x=[1], runner=named).results() == [2]
        assert "named-by-a-test" in client_of(named).id


def test_a_runner_can_be_closed_and_used_again(runner):
    again = xd.DaskRunner(FakeClusterHolder.address(runner))
    assert inc.map(x=[1], runner=again).results() == [2]
    again.close()
    again.close()
    assert inc.map(x=[2], runner=again).results() == [3]
    again.close()


def test_items_before_an_error_of_the_input_end(runner):
    def numbers():
        yield from range(3)
        raise RuntimeError("input broke")

    ended = []
    with pytest.raises(RuntimeError, match="input broke"):
        ended.extend(runner.run(add_one, numbers()))

    assert sorted(ended) == [(0, 1), (1, 2), (2, 3)]


class FakeClusterHolder:
    @staticmethod
    def address(runner):
        return client_of(runner).scheduler.address


def test_inside_a_worker_a_runner_without_arguments_uses_its_cluster(runner):
    """And gives its own slot back while it waits, so that waiting items cannot fill the cluster."""

    def outer(x):
        with xd.DaskRunner() as inner:
            return sum(inc.map(x=range(x), runner=inner).results())

    result = xd.task(outer).map(x=[3, 4, 5, 6], runner=runner)

    assert result.results() == [6, 10, 15, 21]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"address": "tcp://x", "client": 1}, "one of"),
        ({"address": "tcp://x", "n_workers": 2}, "start a cluster"),
        ({"cluster_kwargs": {"n_workers": 1}, "n_workers": 2}, "twice"),
        ({"shard_size": 0}, "shard_size"),
        ({"threads": 0}, "threads"),
    ],
)
def test_contradicting_arguments_are_refused_at_once(arguments, words):
    with pytest.raises(xd.ConfigError, match=words):
        xd.DaskRunner(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"cluster_class": "no.such.Cluster"}, xd.ConfigError, "cannot be imported"),
        ({"cluster_kwargs": {"nonsense": 1}}, xd.ConfigError, "cannot be started"),
        (
            {"address": "tcp://127.0.0.1:1", "client_kwargs": {"timeout": "300ms"}},
            xd.ConnectionLostError,
            "no Dask scheduler answers",
        ),
    ],
)
def test_a_cluster_that_cannot_be_had_is_one_clear_error(arguments, error, words):
    with pytest.raises(error, match=words):
        inc.map(x=[1], runner=xd.DaskRunner(**arguments)).results()


def test_what_cannot_be_pickled_is_refused_before_a_cluster_starts():
    fake = sys.modules[FakeCluster.__module__].FakeCluster
    fake.made.clear()
    lazy = xd.DaskRunner(cluster_class=fake, cluster_kwargs={"size": 1, "shared": 0})
    lock = threading.Lock()
    with pytest.raises(xd.ConfigError, match=r"'locked' or its arguments cannot be pickled"):
        xd.task(lambda x: (x, lock), name="locked").map(x=[1], runner=lazy).results()
    result = first.map(value=[lock] * 40, runner=lazy)
    result.wait()

    assert result.counts == {State.FAILED: 40}
    assert fake.made == []


@pytest.mark.parametrize("place", [0, 1, 30, 299])
def test_an_item_that_cannot_be_pickled_fails_alone(runner, place):
    items = list(range(300))
    items[place] = threading.Lock()
    result = first.map(value=items, runner=runner)
    result.wait()

    (failed,) = result.failed()
    assert failed.index == place
    assert isinstance(failed.error.__cause__, xd.ConfigError)
    assert "this item cannot be pickled for a worker: TypeError: cannot pickle '_thread.lock'" in str(
        failed.error
    )
    assert result.counts == {State.FAILED: 1, State.DONE: 299}


def how_many(number):
    return peers()


@pytest.mark.parametrize("kind", ["dask", "processes"])
def test_workers_know_how_many_they_are(request, kind):
    """What a run may use in all, such as its bandwidth, is divided by that."""
    if kind == "dask":
        workers = request.getfixturevalue("runner")
        expected = len(client_of(workers).nthreads())
    else:
        workers, expected = xd.LocalRunner(processes=2), 2

    assert xd.task(how_many).map(number=range(8), runner=workers).results() == [expected] * 8


class Unreadable:
    """Pickles well; a worker cannot make anything of it."""

    def __reduce__(self):
        return int, ("no number",)


@pytest.mark.parametrize("place", [0, 30, 299])
def test_an_item_that_cannot_be_unpickled_fails_alone(runner, place):
    items = list(range(300))
    items[place] = Unreadable()
    result = first.map(value=items, runner=runner)
    result.wait()

    (failed,) = result.failed()
    assert failed.index == place
    assert "invalid literal for int()" in str(failed.error)
    assert result.counts == {State.FAILED: 1, State.DONE: 299}


LAST_LINE = """
import pathlib, sys
import crossdock as xd

def work(n):
    (pathlib.Path(sys.argv[1]) / str(n)).touch()

if __name__ == "__main__":
    runner = xd.DaskRunner(n_workers=2)
    xd.task(work).map(range(30), runner=runner)
"""


def test_a_map_that_is_a_scripts_last_line_runs(tmp_path):
    """Dask is imported and its cluster started while the interpreter already ends."""
    script = tmp_path / "script.py"
    script.write_text(LAST_LINE)
    marks = tmp_path / "marks"
    marks.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, script, marks],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(scratch.iterdir()) == []
    assert {each.name for each in marks.iterdir()} == {str(n) for n in range(30)}


def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import crossdock as xd\n"
        "try:\n"
        "    xd.task(len).map(['a'], runner=xd.DaskRunner(n_workers=2)).results()\n"
        "except xd.ConfigError as error:\n"
        "    print(error)\n"
        "    raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, script], check=False, timeout=60, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (7, "")
    assert "a worker process ended before it could begin" in done.stdout
    assert "if __name__ == '__main__':" in done.stdout


def test_other_software_on_a_worker_is_refused(runner, monkeypatch):
    monkeypatch.setattr("crossdock.combine.runners.sharding.__version__", "0.0.0-other")
    with pytest.raises(
        xd.ConfigError, match=r"a worker runs crossdock .* the driver crossdock 0\.0\.0-other"
    ):
        inc.map(x=[1], runner=xd.DaskRunner(client=client_of(runner))).results()


def test_shards_grow_with_quick_items_and_shrink_at_the_end():
    sizer = ShardSizer(None, threads=4, slots=2, total=10_000)
    sizes = [sizer.next_size()]
    sizer.took(sizes[-1])
    sizer.observe(4, 0.001)
    sizes.append(sizer.next_size())
    for _ in range(10):
        sizer.observe(sizes[-1], 0.001)
    sizer.took(9_990)

    assert sizes == [4, 32]
    assert sizer.next_size() == 4
    assert ShardSizer(None, threads=16, slots=2, total=6).next_size() == 3
    assert ShardSizer(7, threads=4, slots=2, total=None).next_size() == 7
    slow = ShardSizer(None, threads=4, slots=2, total=None)
    slow.observe(4, 60)
    assert slow.next_size() == 4


QUIET = """
import pathlib, sys, threading
import crossdock as xd

def work(n, marks):
    (pathlib.Path(marks) / f"{n}-begun").touch()
    threading.Event().wait(0.1)
    (pathlib.Path(marks) / f"{n}-ended").touch()
    return n

if __name__ == "__main__":
    with xd.DaskRunner(n_workers=2, threads=2) as runner:
        result = xd.task(work).map(n=range(300), marks=sys.argv[1], runner=runner)
        try:
            next(iter(result))
            if sys.argv[2] == "cancel":
                result.cancel()
            result.wait()
        except KeyboardInterrupt:
            print(sum(result.counts.values()))
            raise SystemExit(130)
    print(sum(result.counts.values()))
"""


@pytest.mark.parametrize("way", ["cancel", "interrupt"])
def test_a_run_is_quiet_from_start_to_exit(tmp_path, way):
    """Nothing on stderr but the verdict: no lost keys, no closed comms, no tracebacks at interpreter exit.

    A terminal's Ctrl-C goes to all processes of the command; what runs then ends, and nothing else begins.
    """
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    marks.mkdir()
    script.write_text(QUIET)
    process = subprocess.Popen(
        [sys.executable, script, marks, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if way == "interrupt":
        until = time.monotonic() + 60
        while not list(marks.glob("*-ended")):
            assert time.monotonic() < until
            threading.Event().wait(0.02)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    begun = {path.name.partition("-")[0] for path in marks.glob("*-begun")}
    ended = {path.name.partition("-")[0] for path in marks.glob("*-ended")}

    assert process.returncode == (0 if way == "cancel" else 130)
    assert out == "300\n"
    assert [line for line in err.splitlines() if "cancelled" not in line] == []
    assert begun == ended
    assert 0 < len(begun) < 300


def test_what_a_worker_wrote_is_where_it_said(runner, tmp_path):
    """Payload stays on the worker: only a small value comes back."""

    def source():
        yield from (b"x" * 1000 for _ in range(1000))

    def sink(stream, path):
        with Path(path).open("wb") as file:
            return sum(file.write(chunk) for chunk in stream)

    with xd.one_task("write") as write:
        xd.task(sink)(xd.task(source), xd.param("path"))
    paths = [str(tmp_path / str(number)) for number in range(4)]

    assert write.map(path=paths, runner=runner).results() == [1_000_000] * 4
    assert all(Path(path).stat().st_size == 1_000_000 for path in paths)
