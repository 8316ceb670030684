"""``map``: one outcome per item, items taken as there is room, failures alone, results in input order."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref

import pytest

import crossdock as xd
from crossdock.model import State


@xd.task
def add(a, b=0):
    return a + b


@xd.task
def same(value):
    return value


def second_of(item, other):
    return other


@xd.task
def picky(value):
    if value == 3:
        raise ValueError("three")
    return value


inc = xd.CombinedTask(add.bind(xd.param("a"), xd.param("b", default=1)), same, name="inc")


def test_results_are_in_input_order_and_outcomes_in_completion_order():
    gate = threading.Event()

    def wait_for_last(value):
        if value == 0:
            assert gate.wait(30)
        return value

    result = xd.task(wait_for_last).map(value=range(5), runner=xd.LocalRunner(threads=5))
    order = []
    for outcome in result:
        order.append(outcome.index)
        if outcome.index == 4:
            gate.set()

    assert result.results() == [0, 1, 2, 3, 4]
    assert order.index(4) < order.index(0)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert [outcome.index for outcome in result.in_order()] == [0, 1, 2, 3, 4]


def test_a_combined_task_is_mapped_over_its_own_parameters():
    assert inc.map(a=[1, 2], b=[10, 20]).results() == [11, 22]
    assert inc.map([1, 2]).results() == [2, 3]


def test_a_decorated_pair_is_mapped_over_its_signature():
    @xd.one_task(name="moved")
    def moved(key: str, folder: str = "") -> str:
        return same(add(folder, key))

    assert moved.map(key=["a", "b"], folder=xd.unmapped("v1/")).results() == ["v1/a", "v1/b"]


def test_a_plain_task_can_be_mapped():
    assert add.map([1, 2], xd.unmapped(5)).results() == [6, 7]


def test_an_outcome_says_everything_about_its_item():
    outcome = next(iter(inc.map(a=[41])))

    assert outcome.ok
    assert outcome.state is State.DONE
    assert outcome.value == 42
    assert outcome.inputs == {"a": "41"}
    assert outcome.attempts == 1
    assert outcome.started.tzinfo is not None
    assert outcome.duration_s >= 0
    assert outcome.worker


def test_unmapped_gives_every_item_the_whole():
    assert xd.task(second_of).map(item=[1, 2], other=xd.unmapped([7, 8, 9])).results() == [[7, 8, 9]] * 2


def test_nothing_to_map_over_is_an_error():
    with pytest.raises(xd.CompositionError, match="nothing to map over"):
        same.map(value="text")


@pytest.mark.parametrize("arguments", [{"nonsense": [1]}, {"b": [1]}])
def test_wrong_names_are_an_error_before_anything_runs(arguments):
    with pytest.raises(xd.CompositionError, match="'add' cannot be mapped like this"):
        add.map(**arguments)


def test_known_lengths_must_agree_before_anything_runs():
    ran = []
    with pytest.raises(xd.MapLengthMismatch, match="a has 2, b has 3"):
        xd.task(lambda a, b: ran.append((a, b))).map(a=[1, 2], b=[1, 2, 3])

    assert ran == []


def test_unknown_lengths_must_agree_when_one_ends():
    result = add.map(a=iter([1, 2, 3]), b=iter([1, 2]))

    with pytest.raises(xd.MapLengthMismatch, match="b ended after 2"):
        result.results()


def test_an_empty_map_is_a_result():
    result = same.map(value=[])

    assert result.results() == []
    assert list(result) == []
    assert result.failed() == []
    assert result


def test_inputs_are_let_go_when_their_item_ends():
    class Payload:
        pass

    alive = weakref.WeakSet()

    def payloads():
        for _ in range(30):
            payload = Payload()
            alive.add(payload)
            yield payload

    result = xd.task(lambda payload: type(payload).__name__).map(payload=payloads(), window=2)

    assert len(result) == 30
    assert len(alive) <= 2


def test_a_failed_item_fails_alone():
    result = picky.map(value=range(5))

    assert result.results(failed="drop") == [0, 1, 2, 4]
    assert result.results(failed="none") == [0, 1, 2, None, 4]
    assert [outcome.index for outcome in result.failed()] == [3]
    assert result.counts == {State.DONE: 4, State.FAILED: 1}
    assert "5 items" in result.summary()
    assert "1 failed (1 x ValueError)" in result.summary()
    with pytest.raises(ExceptionGroup) as caught:
        result.results()
    (failure,) = caught.value.exceptions
    assert isinstance(failure, xd.TaskFailed)
    assert isinstance(failure.__cause__, ValueError)
    assert failure.inputs == {"value": "3"}


def test_a_kept_failure_does_not_keep_the_payload():
    """Frames of the traceback would hold every buffer of the failed item."""

    class Payload:
        pass

    alive = weakref.WeakSet()

    def boom(_):
        payload = Payload()
        alive.add(payload)
        raise OSError("boom")

    result = xd.task(boom).map([1, 2, 3])

    assert len(result.failed()) == 3
    assert len(alive) == 0


def test_retries_of_the_pair_hold_for_each_item():
    seen = {}

    def flaky(key):
        seen[key] = seen.get(key, 0) + 1
        if seen[key] < 3:
            raise OSError("again")
        return key

    with xd.one_task("flaky", retries=2) as combined:
        same(xd.task(flaky)(xd.param("key")))
    result = combined.map(key=["a", "b"])

    assert result.results() == ["a", "b"]
    assert [outcome.attempts for outcome in result] == [3, 3]


def test_tolerate_none_stops_after_a_failure():
    release = threading.Event()

    def one_fails(value):
        if value == 0:
            raise OSError("first")
        release.wait(30)
        return value

    result = xd.task(one_fails).map(
        value=range(100), tolerate="none", runner=xd.LocalRunner(threads=2, window=2)
    )
    next(iter(result))
    release.set()
    result.wait()

    assert result.counts[State.FAILED] == 1
    assert result.counts[State.CANCELLED] >= 90
    assert sum(result.counts.values()) == 100


def test_cancel_begins_nothing_more():
    began, go_on = threading.Semaphore(0), threading.Event()

    def held(value):
        began.release()
        go_on.wait(30)
        return value

    result = xd.task(held).map(value=range(100), runner=xd.LocalRunner(threads=1, window=1))
    assert began.acquire(timeout=30)
    result.cancel()
    go_on.set()

    assert len(result) == 100
    assert result.counts[State.CANCELLED] == 99


# -- chains ----------------------------------------------------------------------------------------------------------


def test_items_flow_through_three_maps_without_a_barrier():
    """The third level ends its first item while the first level still has items to begin."""
    third_ended = threading.Event()

    def level_one(value):
        if value == 199:
            assert third_ended.wait(30)
        return value

    def level_three(value):
        third_ended.set()
        return value

    ones = xd.task(level_one).map(value=range(200), runner=xd.LocalRunner(threads=4))
    twos = add.map(a=ones, b=xd.unmapped(1000))
    threes = xd.task(level_three).map(value=twos)

    assert threes.results() == [value + 1000 for value in range(200)]


def test_what_depends_on_a_failed_item_becomes_upstream_failed():
    downstream = add.map(a=picky.map(value=range(5)), b=xd.unmapped(10))

    assert downstream.results(failed="none") == [10, 11, 12, None, 14]
    (outcome,) = downstream.failed()
    assert outcome.state is State.UPSTREAM_FAILED
    assert "item 3 of" in str(outcome.error)
    assert isinstance(outcome.error.__cause__, xd.TaskFailed)


def test_flatten_takes_one_level_apart_and_lazily():
    services = xd.task(lambda account: [f"{account}{number}" for number in range(2)])
    metrics = same.map(value=xd.flatten(services.map(account=["a", "b"])))

    assert metrics.results() == ["a0", "a1", "b0", "b1"]
    assert same.map(value=xd.flatten([[1], [], [[2], 3]])).results() == [1, [2], 3]


def test_flatten_of_a_failed_item_is_one_upstream_failed_item():
    def services(account):
        if account == "bad":
            raise OSError("no")
        return [account, account]

    result = same.map(value=xd.flatten(xd.task(services).map(account=["a", "bad", "b"])))

    assert result.results(failed="none") == ["a", "a", None, "b", "b"]


def test_flatten_of_scalars_is_an_error():
    with pytest.raises(xd.CompositionError, match="one level"):
        same.map(value=xd.flatten(["text"])).results()


# -- runner ----------------------------------------------------------------------------------------------------------


def test_local_runner_yields_errors_as_data_and_goes_on():
    def work(value):
        if value == 1:
            raise OSError("boom")
        return value

    ended = dict(xd.LocalRunner(threads=2).run(work, iter(range(4))))

    assert {index: value for index, value in ended.items() if index != 1} == {0: 0, 2: 2, 3: 3}
    assert isinstance(ended[1], OSError)


def test_closing_a_local_run_waits_for_what_runs_and_begins_nothing_more():
    began, ended = [], []

    def work(value):
        began.append(value)
        time.sleep(0)
        ended.append(value)
        return value

    run = xd.LocalRunner(threads=2, window=4).run(work, range(10_000))
    next(run)
    run.close()

    assert sorted(began) == sorted(ended)
    assert len(began) < 10_000


def test_a_pause_between_retries_ends_when_the_run_is_closed():
    failing = threading.Event()

    def work(_):
        failing.set()
        raise OSError("again")

    task = xd.task(work, retries=1, retry_delay=3600)
    run = xd.LocalRunner(threads=2).run(lambda value: task(value) if value else failing.wait(30), [1, 0])

    assert next(run) == (1, True)
    run.close()  # would wait an hour


def test_a_script_that_ends_with_a_map_does_not_lose_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, pathlib, crossdock as xd\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "def work(n):\n"
        "    with ThreadPoolExecutor(1) as pool:\n"
        "        pool.submit((out / str(n)).touch).result()\n"
        "xd.task(work).map(n=range(300))\n"
    )
    out = tmp_path / "out"
    out.mkdir()

    subprocess.run([sys.executable, script, out], check=True, timeout=60)

    assert len(list(out.iterdir())) == 300


def test_importing_the_room_costs_the_standard_library_only():
    code = (
        "import sys, crossdock.combine as room\n"
        "room.DaskRunner(); room.LocalRunner()\n"
        "print([name for name in ('dask', 'distributed', 'tenacity', 'pandas', 'pyarrow', 'cloudpickle')"
        " if name in sys.modules])"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_room_and_the_function_share_a_name():
    import crossdock.combine as room

    assert room.CombinedTask is xd.CombinedTask
    assert xd.combine(same.bind(1), same)() == 1
