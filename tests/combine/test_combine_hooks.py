"""Hooks of tasks and of maps: who is called, how often, in which order, and that nothing they do changes anything."""

import logging
import pickle
import signal
import threading

import pytest

import crossdock as xd
from crossdock.combine.hooks import RunHooks, hooks_of, run_hooks_of
from crossdock.model import State
from crossdock.notifications import post
from crossdock.testing import EmbeddedWebhook, Rule

CANARY = "canary-of-the-webhook"


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setattr(post, "pause", lambda _: None)
    with EmbeddedWebhook() as server:
        monkeypatch.setenv("HOOK", f"{server.url}/{CANARY}")
        yield server


@pytest.fixture(scope="module")
def dask():
    with xd.DaskRunner(n_workers=2, threads=2) as runner:
        yield runner


class Heard:
    """Remembers what each hook was called with; holds a lock, so it cannot be pickled by accident."""

    def __init__(self):
        self._lock = threading.Lock()
        self.calls = []
        self.threads = set()

    def __call__(self, name):
        def hear(ended):
            with self._lock:
                self.calls.append((name, ended))
                self.threads.add(threading.current_thread().name)

        return hear

    def options(self):
        return {name: self(name) for name in ("on_success", "on_failure", "on_completion")}

    def of(self, name):
        return [ended for each, ended in self.calls if each == name]

    def names(self):
        return [name for name, _ in self.calls]


def even(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def pair(**options):
    return xd.CombinedTask(
        xd.task(even, name="even").bind(xd.param("number")),
        xd.task(lambda x: x, name="same"),
        name="pair",
        **options,
    )


# -- a call --------------------------------------------------------------------------------------------------------


def traced(**options):
    first, second = xd.task(even, name="even"), xd.task(lambda x: x, name="same")

    @xd.one_task(name="pair", **options)
    def both(number):
        return second(first(number))

    return both


@pytest.mark.parametrize(
    "make", [lambda **o: xd.task(even, name="pair", **o), pair, traced], ids=["task", "combined", "traced"]
)
def test_a_call_is_heard_of_once_with_its_outcome(make):
    heard = Heard()
    one = make(**heard.options())
    one(number=2)
    with pytest.raises((ValueError, xd.TaskFailed)):
        one(number=3)
    done, failed = heard.of("on_completion")

    assert heard.names() == ["on_success", "on_completion", "on_failure", "on_completion"]
    assert (done.state, done.value, done.task) == (State.DONE, 2, "pair")
    assert (failed.state, failed.inputs) == (State.FAILED, {"number": "3"})
    assert "3 is odd" in str(failed.error)


def test_attempts_are_not_heard_of_one_by_one():
    heard, tries = Heard(), []

    def twice(number):
        tries.append(number)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return number

    xd.task(twice, retries=5, **heard.options())(1)

    assert len(tries) == 3
    assert heard.names() == ["on_success", "on_completion"]
    assert heard.of("on_success")[0].attempts == 3


def test_several_hooks_are_called_in_the_order_given():
    heard = Heard()
    xd.task(even, on_success=[heard("a"), heard("b")], on_completion=(heard("c"),))(2)

    assert heard.names() == ["a", "b", "c"]


def test_a_hook_that_raises_is_logged_and_the_next_is_called(caplog):
    heard = Heard()

    def broken(_):
        raise RuntimeError("broken hook")

    value = xd.task(even, name="even", on_success=[broken, heard("next")])(4)

    assert value == 4
    assert heard.names() == ["next"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "a hook of task even failed; the task's outcome stands" in caplog.text
    assert "broken hook" in caplog.text


def test_a_hook_that_raises_does_not_hide_the_tasks_own_error():
    def broken(_):
        raise RuntimeError("broken hook")

    with pytest.raises(ValueError, match="3 is odd"):
        xd.task(even, on_failure=broken)(3)


@pytest.mark.parametrize("given", [3, "text", ["text"], [print, None]])
def test_what_cannot_be_called_is_no_hook(given):
    with pytest.raises(xd.ConfigError, match="on_failure takes functions of"):
        hooks_of(on_failure=given)
    with pytest.raises(xd.ConfigError, match="on_failure takes functions of a RunEnded"):
        run_hooks_of(on_failure=given)


def test_nothing_given_is_nobody_to_tell():
    assert not run_hooks_of()
    assert not run_hooks_of(on_success=None, notify=None)
    assert run_hooks_of(notify=()) == RunHooks()


# -- items of a map ------------------------------------------------------------------------------------------------


def test_each_item_is_heard_of_once_in_completion_order_on_threads():
    heard = Heard()
    result = pair(**heard.options()).map(number=range(200))
    outcomes = list(result)

    assert heard.of("on_completion") == outcomes
    assert heard.of("on_success") == [outcome for outcome in outcomes if outcome.ok]
    assert heard.of("on_failure") == [outcome for outcome in outcomes if not outcome.ok]
    assert sorted(outcome.index for outcome in heard.of("on_completion")) == list(range(200))
    assert heard.threads == {"map-pair"}


def test_each_item_is_heard_of_once_on_dask_and_here(dask):
    """The hooks hold a lock: had they been sent to workers, nothing would have run."""
    heard = Heard()
    outcomes = list(pair(**heard.options()).map(number=range(100), runner=dask))

    assert [outcome.index for outcome in heard.of("on_completion")] == [outcome.index for outcome in outcomes]
    assert len(heard.of("on_success")) == len(heard.of("on_failure")) == 50
    assert sorted(outcome.index for outcome in heard.of("on_completion")) == list(range(100))
    assert heard.threads == {"map-pair"}


def test_a_mapped_hook_that_raises_changes_no_outcome(caplog):
    def broken(outcome):
        raise RuntimeError(f"broken for {outcome.index}")

    result = xd.task(even, name="even", on_completion=broken).map([0, 1, 2])

    assert [outcome.state for outcome in sorted(result, key=lambda each: each.index)] == [
        State.DONE,
        State.FAILED,
        State.DONE,
    ]
    assert sum("a hook of task even failed" in record.getMessage() for record in caplog.records) == 3


def test_items_from_the_cache_are_successes(tmp_path):
    heard = Heard()
    one = xd.task(even, name="even", cache=str(tmp_path))
    one.map([2, 4]).wait()
    one.with_options(**heard.options()).map([2, 4]).wait()

    assert {outcome.state for outcome in heard.of("on_success")} == {State.CACHED}
    assert heard.names().count("on_success") == 2
    assert heard.of("on_failure") == []


def test_items_whose_input_failed_are_failures_of_their_own():
    upstream, downstream = Heard(), Heard()
    first = xd.task(even, name="even", **upstream.options()).map([1, 2])
    xd.task(even, name="next", **downstream.options()).map(first).wait()

    assert [outcome.state for outcome in upstream.of("on_failure")] == [State.FAILED]
    assert [outcome.state for outcome in downstream.of("on_failure")] == [State.UPSTREAM_FAILED]
    assert [outcome.state for outcome in downstream.of("on_success")] == [State.DONE]
    assert len(downstream.of("on_completion")) == 2


def test_items_that_were_cancelled_only_complete():
    """Nothing failed in them: a hundred pages for what a person stopped would teach to ignore pages."""
    heard = Heard()
    result = xd.task(even, name="even", **heard.options()).map(
        [1, *range(0, 200, 2)], tolerate="none", window=1
    )
    result.wait()
    cancelled = result.counts[State.CANCELLED]

    assert cancelled > 0
    assert [outcome.state for outcome in heard.of("on_failure")] == [State.FAILED]
    assert sum(each.state is State.CANCELLED for each in heard.of("on_completion")) == cancelled
    assert len(heard.of("on_completion")) == 101


# -- a map as a whole ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("numbers", "status"), [([2, 4], "done"), ([2, 3], "failed")])
def test_a_map_is_told_of_once(hook, numbers, status):
    heard = Heard()
    result = pair().map(number=numbers, notify=xd.webhook("env:HOOK"), **heard.options())
    result.wait()
    (record,) = heard.of("on_completion")
    (posted,) = hook.posted

    assert (record.name, record.run_id, record.status) == ("pair", result.run_id, status)
    assert sum(record.counts.values()) == 2
    assert heard.names() == ["on_success" if status == "done" else "on_failure", "on_completion"]
    assert (posted.json()["status"], posted.json()["run_id"]) == (status, result.run_id)


def test_causes_are_grouped_with_a_sample(hook):
    pair().map(number=range(9), notify=[xd.webhook("env:HOOK")]).wait()
    (cause,) = hook.posted[0].json()["failures"]

    assert (cause["reason"], cause["count"]) == ("ValueError", 4)
    assert "is odd" in cause["sample"]


def test_a_map_on_dask_is_told_of_here(hook, dask):
    """The notifier's variable is set in this process only; workers were started before."""
    pair().map(number=range(10), runner=dask, notify=[xd.webhook("env:HOOK")]).wait()

    assert hook.posted[0].json()["counts"] == {"done": 5, "failed": 5}
    assert len(hook.posted) == 1


def test_a_map_whose_input_breaks_is_told_of(hook):
    def numbers():
        yield 2
        raise OSError("no more input")

    result = pair().map(number=numbers(), notify=[xd.webhook("env:HOOK")])
    with pytest.raises(OSError, match="no more input"):
        result.wait()
    record = hook.posted[0].json()

    assert (record["status"], record["error"]) == ("failed", "OSError: no more input")


def test_ctrl_c_on_a_map_is_told_as_interrupted(hook, monkeypatch):
    began, waiting, go_on = threading.Event(), threading.Event(), threading.Event()

    def slow(number):
        began.set()
        assert go_on.wait(60)
        return number

    def press():
        assert began.wait(60)
        assert waiting.wait(60)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def wait_for(ready):
        waiting.set()
        inner(ready)

    def interrupt():
        stop()
        go_on.set()

    result = xd.task(slow, name="slow").map(range(100), window=1, notify=[xd.webhook("env:HOOK")])
    inner, stop = result._collected.wait_for, result._drive.interrupt
    monkeypatch.setattr(result._collected, "wait_for", wait_for)
    monkeypatch.setattr(result._drive, "interrupt", interrupt)
    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        result.wait()
    thread.join()
    record = hook.posted[0].json()

    assert record["status"] == "interrupted"
    assert record["counts"]["cancelled"] > 0
    assert len(hook.posted) == 1


def test_cancelling_is_told_as_interrupted(hook):
    began, go_on = threading.Event(), threading.Event()

    def slow(number):
        began.set()
        assert go_on.wait(60)
        return number

    result = xd.task(slow, name="slow").map(range(100), window=1, notify=[xd.webhook("env:HOOK")])
    assert began.wait(60)
    result.cancel()
    go_on.set()
    result.wait()

    assert hook.posted[0].json()["status"] == "interrupted"


def test_a_notification_that_fails_changes_nothing(hook, caplog):
    rule = hook.faults.add(Rule(operation="post", status=500))
    result = pair().map(number=[2, 4], notify=[xd.webhook("env:HOOK"), xd.slack("env:HOOK")])

    assert result.results() == [2, 4]
    assert hook.faults.fired[rule] == 6
    assert "2 notifications failed" in result.summary()
    assert CANARY not in caplog.text
    assert sum("a notification by" in record.getMessage() for record in caplog.records) == 2


def test_the_summary_says_nothing_of_notifications_that_arrived(hook):
    assert "notification" not in pair().map(number=[2], notify=xd.webhook("env:HOOK")).summary()
    assert len(hook.posted) == 1


@pytest.mark.parametrize("where", ["map", "task"])
def test_a_map_nobody_would_hear_of_does_not_begin(monkeypatch, where):
    monkeypatch.delenv("MISSPELT", raising=False)
    ran = []
    options = {"on_failure": xd.slack("env:MISSPELT")}
    one = xd.task(ran.append, name="one", **(options if where == "task" else {}))
    with pytest.raises(xd.ConfigError, match="env:MISSPELT"):
        one.map([1, 2], **(options if where == "map" else {}))

    assert ran == []


# -- notifiers as hooks --------------------------------------------------------------------------------------------


def test_a_notifier_is_a_hook_of_a_task_and_travels_as_a_reference(hook):
    one = xd.task(even, name="even", on_failure=xd.webhook("env:HOOK"))
    data = pickle.dumps(one.settings)
    with pytest.raises(ValueError, match="3 is odd"):
        one(3)
    one(2)
    (posted,) = hook.posted

    assert CANARY.encode() not in data
    assert (posted.json()["type"], posted.json()["state"], posted.json()["inputs"]) == (
        "item_ended",
        "failed",
        {"number": "3"},
    )


def test_ten_messages_are_sent_about_the_items_of_one_map(hook, caplog):
    xd.task(even, name="even", on_failure=xd.webhook("env:HOOK")).map(range(1, 60, 2)).wait()

    assert len(hook.posted) == 10
    assert "is told of no more" in caplog.text


def test_a_notifier_that_fails_as_a_hook_is_one_line_without_a_traceback(hook, caplog):
    rule = hook.faults.add(Rule(operation="post", status=404))
    value = xd.task(even, name="even", on_success=xd.slack("env:HOOK"))(2)

    assert hook.faults.fired[rule] == 1
    assert value == 2
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("a notification by slack env:HOOK failed: answered 404", None)
    ]
