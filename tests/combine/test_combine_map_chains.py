"""Maps that feed maps: item by item, without a barrier, on threads and on Dask; shown with events, never with time."""

from __future__ import annotations

import threading
from itertools import count

import distributed
import pytest

import crossdock as xd
from crossdock.model import State

WAIT_S = 60


@pytest.fixture(scope="module")
def cluster():
    """Workers in this process, so that tasks on them can wait for events of the test."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=8,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.fixture(params=["threads", "small windows", "one Dask runner", "two kinds"])
def runners(request, cluster):
    """A runner for each of three levels. On Dask in shards of one item: outcomes come back a shard at a time."""
    if request.param == "threads":
        yield [xd.LocalRunner(), xd.LocalRunner(), xd.LocalRunner()]
    elif request.param == "small windows":
        yield [xd.LocalRunner(2, window=2), xd.LocalRunner(1, window=1), xd.LocalRunner(1, window=1)]
    elif request.param == "one Dask runner":
        with xd.DaskRunner(cluster=cluster, shard_size=1) as runner:
            yield [runner] * 3
    else:
        with xd.DaskRunner(cluster=cluster, shard_size=1) as runner:
            yield [runner, xd.LocalRunner(), runner]


class Gates:
    """Events by name, reachable from tasks on workers of this process: what is pickled is the name."""

    def __init__(self, name):
        self.name = name
        _gates[name] = self
        self.first_metric = threading.Event()
        self.began = []

    def __reduce__(self):
        return gates_named, (self.name,)


def gates_named(name):
    return _gates[name]


_gates: dict[str, Gates] = {}
_names = count()


def account(name, gates):
    """Every account but the first waits until a metric of the first one ended."""
    gates.began.append(name)
    if name != "a0":
        assert gates.first_metric.wait(WAIT_S), "the upstream map would have to end first"
    return name


def services(name):
    return [f"{name}/s{number}" for number in range(5)]


def metric(service, gates):
    if service == "a0/s0":
        gates.first_metric.set()
    return f"{service}/m"


def test_three_levels_without_a_barrier(runners):
    """The second account does not end before a metric of the first did, and none of that stands still."""
    gates = Gates(f"levels-{next(_names)}")
    one, two, three = runners
    accounts = xd.task(account).map(name=["a0", "a1", "a2"], gates=gates, runner=one)
    found = xd.task(services).map(name=accounts, runner=two)
    metrics = xd.task(metric).map(service=xd.flatten(found), gates=gates, runner=three)

    assert metrics.results() == [f"a{a}/s{s}/m" for a in range(3) for s in range(5)]
    assert gates.first_metric.is_set()


def test_a_large_fan_out_through_small_windows_ends(runners):
    """50 accounts x 5 services x 4 metrics, every window as small as it can be: nothing waits for itself."""
    one, two, three = runners
    accounts = xd.task(lambda number: f"a{number}").map(number=range(50), runner=one)
    found = xd.task(services).map(name=accounts, runner=two)
    names = xd.task(lambda service: [f"{service}/{each}" for each in range(4)])
    metrics = names.map(service=xd.flatten(found), runner=three)

    assert sum(map(len, metrics.results())) == 50 * 5 * 4


def test_an_outcome_is_not_held_up_by_a_slow_generator():
    """The second item is only made when the first one's outcome was seen."""
    seen = threading.Event()

    def numbers():
        yield 1
        assert seen.wait(WAIT_S)
        yield 2

    result = xd.task(lambda number: number).map(number=numbers())
    outcomes = iter(result)
    assert next(outcomes).value == 1
    seen.set()

    assert next(outcomes).value == 2


def test_an_outcome_is_not_held_up_on_dask_either(cluster):
    seen = threading.Event()

    def numbers():
        yield 1
        assert seen.wait(WAIT_S)
        yield 2

    with xd.DaskRunner(cluster=cluster) as runner:
        result = xd.task(lambda number: number).map(number=numbers(), runner=runner)
        outcomes = iter(result)
        assert next(outcomes).value == 1
        seen.set()

        assert next(outcomes).value == 2


def test_a_map_does_not_wait_for_who_reads_it():
    """Upstream runs to its end while its consumer stands still: outcomes are kept, small as they are."""
    go_on = threading.Event()
    ones = xd.task(lambda number: number).map(number=range(500))
    twos = xd.task(lambda number: go_on.wait(WAIT_S) and number).map(number=ones, window=1)

    assert len(ones) == 500
    assert twos.counts == {}
    go_on.set()
    assert twos.results() == list(range(500))


def test_two_maps_read_one():
    ones = xd.task(lambda number: number).map(number=range(20))
    twos = xd.task(lambda number: -number).map(number=ones)
    threes = xd.task(lambda a, b: (a, b)).map(a=ones, b=twos)

    assert threes.results() == [(number, -number) for number in range(20)]


def test_the_total_of_a_map_is_known_to_the_next():
    ones = xd.task(lambda number: number).map(number=range(7))
    twos = xd.task(lambda number: number).map(number=ones)
    unknown = xd.task(lambda number: number).map(number=iter(range(7)))

    assert (ones.known_total, twos.known_total) == (7, 7)
    with pytest.raises(xd.MapLengthMismatch, match="a has 7, b has 2"):
        xd.task(lambda a, b: (a, b)).map(a=twos, b=[1, 2])
    unknown.wait()
    assert unknown.known_total == 7


# -- upstream failures -----------------------------------------------------------------------------------------------


def picky(number):
    if number == 1:
        raise ValueError("one")
    return [number, number]


def test_an_upstream_failure_goes_through_flatten_product_and_levels():
    lists = xd.task(picky, tags=["first"]).map(number=range(3))
    pairs = xd.task(lambda number, day: (number, day), name="pairs", tags=["second"])
    crossed = pairs.map(xd.product(number=xd.flatten(lists), day=["x", "y"]))
    after = xd.task(lambda pair: pair, name="after").map(pair=crossed)

    assert after.results(failed="none") == [(0, "x"), (0, "y")] * 2 + [None] * 2 + [(2, "x"), (2, "y")] * 2
    failed = crossed.failed()
    assert {State.UPSTREAM_FAILED} == {outcome.state for outcome in (*failed, *after.failed())}
    assert {("pairs", crossed.run_id, ("second",), 0)} == {
        (outcome.task, outcome.run_id, outcome.tags, outcome.attempts) for outcome in failed
    }
    assert [outcome.inputs["day"] for outcome in failed] == ["'x'", "'y'"]
    root = after.failed()[0].error
    while root.__cause__ is not None:
        root = root.__cause__
    assert isinstance(root, ValueError)


def test_an_inner_axis_may_be_another_map_with_failures():
    days = xd.task(picky).map(number=range(3))
    result = xd.task(lambda account, day: (account, day[0])).map(xd.product(account=["a", "b"], day=days))

    assert result.known_total == 6
    assert result.results(failed="none") == [("a", 0), None, ("a", 2), ("b", 0), None, ("b", 2)]


def test_what_depends_on_a_cancelled_item_says_so():
    began, go_on = threading.Event(), threading.Event()

    def held(number):
        began.set()
        assert go_on.wait(WAIT_S)
        return number

    ones = xd.task(held).map(number=range(10), runner=xd.LocalRunner(1, window=1))
    twos = xd.task(lambda number: number).map(number=ones)
    assert began.wait(WAIT_S)
    ones.cancel()
    go_on.set()

    assert twos.wait().counts == {State.DONE: 1, State.UPSTREAM_FAILED: 9}
    assert "cancelled before it began" in str(twos.failed()[0].error)
