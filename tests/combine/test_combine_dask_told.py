"""What a ``DaskRunner`` asks its workers before work starts, and what they tell while it goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import distributed
import pytest

import crossdock as xd
from crossdock.combine.runners import preflight, telling
from crossdock.events import BytesMoved, BytesRead, Note, Retried, emit, listening


@pytest.fixture(scope="module")
def runner():
    with xd.DaskRunner(n_workers=2, threads=4) as runner:
        yield runner


@pytest.fixture(scope="module")
def threads_of_the_driver():
    """A cluster whose one worker is a thread of this process."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


def notes_of(heard):
    return [event.text for event in heard if isinstance(event, Note)]


# -- logs and events -------------------------------------------------------------------------------------------------


def chatty(n):
    emit(BytesMoved(bytes=3))
    emit(BytesRead(bytes=2))
    if n == 1:
        emit(Note(text="look here"))
        emit(Retried(operation="put", place="s3://b/k", cause="503", attempt=1, delay_s=0.5))
        xd.current().logger.warning("odd %s", n)
        xd.current().logger.info("below the level")
        logging.getLogger("crossdock.deep.inside").error("from a library of ours")
    return n


def check_what_was_told(heard, records, result):
    about_task, from_library = sorted(records, key=lambda record: record.name, reverse=True)
    assert (about_task.name, about_task.getMessage()) == ("crossdock.task", "odd 1")
    assert (from_library.name, from_library.levelname) == ("crossdock.deep.inside", "ERROR")
    run_id = next(iter(result)).run_id
    for record in records:
        assert (record.task, record.run_id, record.item, record.attempt) == ("chatty", run_id, 1, 1)
    assert sum(event.bytes for event in heard if isinstance(event, BytesMoved)) == 30
    assert sum(event.bytes for event in heard if isinstance(event, BytesRead)) == 20
    assert notes_of(heard)[-1:] == ["look here"]
    assert [(event.place, event.cause) for event in heard if isinstance(event, Retried)] == [
        ("s3://b/k", "503")
    ]


def carried(caplog):
    return [record for record in caplog.records if record.name in ("crossdock.task", "crossdock.deep.inside")]


def test_logs_and_events_of_workers_reach_the_driver(runner, caplog):
    heard = []
    with listening(heard.append), caplog.at_level(logging.WARNING):
        result = xd.task(chatty).map(n=range(10), runner=runner).wait()

    check_what_was_told(heard, carried(caplog), result)
    assert {record.worker for record in carried(caplog)} <= set(runner.workers())


def test_a_worker_that_is_a_thread_of_the_driver_doubles_nothing(threads_of_the_driver, caplog):
    heard = []
    with (
        listening(heard.append),
        caplog.at_level(logging.WARNING),
        xd.DaskRunner(cluster=threads_of_the_driver) as here,
    ):
        result = xd.task(chatty).map(n=range(10), runner=here).wait()
    records = [record for record in carried(caplog) if record.name == "crossdock.task"]

    assert [record.getMessage() for record in records] == ["odd 1"]
    assert (records[0].task, records[0].item) == ("chatty", 1)
    assert sum(event.bytes for event in heard if isinstance(event, BytesMoved)) == 30
    assert result.results() == list(range(10))


def test_the_level_is_asked_for(runner, caplog):
    with (
        caplog.at_level(logging.DEBUG),
        xd.DaskRunner(client=runner._connect().client, worker_log_level="INFO") as other,
    ):
        xd.task(chatty).map(n=[1], runner=other).wait()
    heard_at_info = [record.getMessage() for record in carried(caplog) if record.name == "crossdock.task"]
    caplog.clear()
    with (
        caplog.at_level(logging.DEBUG),
        xd.DaskRunner(client=runner._connect().client, worker_log_level=None) as other,
    ):
        xd.task(chatty).map(n=[1], runner=other).wait()

    assert heard_at_info == ["odd 1", "below the level"]
    assert carried(caplog) == []


def test_what_workers_tell_is_heard_while_the_item_still_runs(runner, tmp_path):
    """The item ends only after its own note was heard at the driver."""

    def work(_):
        emit(Note(text="begun"))
        emit(BytesMoved(bytes=1))
        until = time.monotonic() + 30
        while not (tmp_path / "heard").exists() and time.monotonic() < until:
            threading.Event().wait(0.02)
        return (tmp_path / "heard").exists()

    def hear(event):
        if isinstance(event, Note) and event.text == "begun":
            (tmp_path / "heard").touch()

    with listening(hear):
        assert xd.task(work).map([0], runner=runner).results() == [True]


def test_several_maps_of_several_threads_share_a_runner_and_hear_their_own(runner):
    def work(n, who):
        emit(Note(text=who))
        return n * 2

    def one(who):
        heard = []
        with listening(heard.append):
            values = xd.task(work).map(n=range(30), who=who, runner=runner).results()
        return values, set(notes_of(heard))

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(one, "abcd"))

    assert [values for values, _ in ended] == [[n * 2 for n in range(30)]] * 4
    assert [heard for _, heard in ended] == [{"a"}, {"b"}, {"c"}, {"d"}]


def test_a_message_is_bounded_and_what_is_left_out_is_counted():
    box = telling.Outbox("w", None, logging.WARNING)
    for number in range(1_000):
        box.event(Note(text="x" * 10_000))
        box.event(BytesMoved(bytes=number))
    message = box.take()

    assert message["moved"] == sum(range(1_000))
    assert sum(len(fields["text"]) for _, fields in message["entries"]) <= 64 * 1024
    assert len(message["entries"]) + message["left_out"] == 1_000
    assert box.take() is None


def test_a_record_whose_format_is_wrong_is_carried_as_it_stands():
    box = telling.Outbox("w", None, logging.WARNING)
    box.record(logging.LogRecord("crossdock.x", logging.WARNING, "f.py", 1, "%d apples", ("three",), None))
    ((_, fields),) = box.take()["entries"]

    assert fields["msg"].startswith("%d apples (TypeError")


def test_the_dashboard_is_named_once_per_cluster(threads_of_the_driver, runner, caplog):
    client = runner._connect().client
    heard = []
    with (
        listening(heard.append),
        caplog.at_level(logging.INFO, "crossdock.dask"),
        xd.DaskRunner(n_workers=1) as fresh,
    ):
        xd.task(abs, name="first").map([1], runner=fresh).wait()
        xd.task(abs, name="second").map([1], runner=fresh).wait()
        with xd.DaskRunner(client=fresh._connect().client) as same:
            xd.task(abs, name="third").map([1], runner=same).wait()
        link = fresh.dashboard_link

    assert notes_of(heard) == [f"The Dask dashboard of this run is at {link}"]
    assert [record.message for record in caplog.records if record.name == "crossdock.dask"] == notes_of(heard)
    assert link.startswith("http://127.0.0.1:")
    assert client.status == "running"


# -- before work starts ----------------------------------------------------------------------------------------------


class Place:
    """Something a task holds that wants to be asked; it fails where a file says so."""

    def __init__(self, folder, name="here", error=None):
        self.folder = Path(folder)
        self.preflight_place = f"{folder} {name}"
        self.error = error

    def preflight(self):
        (self.folder / f"asked-{os.getpid()}-{time.time_ns()}").touch()
        if self.error is not None and os.getpid() != int((self.folder / "driver").read_text()):
            raise self.error


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "driver").write_text(str(os.getpid()))
    return tmp_path


def asked(folder):
    return [int(path.name.split("-")[1]) for path in folder.glob("asked-*")]


def holding(*places):
    def work(x):
        (places[0].folder / "ran").touch()
        return x, len(places)

    return xd.task(work)


def test_every_worker_is_asked_once_for_each_place_before_anything_runs(runner, folder):
    task = holding(Place(folder), Place(folder), Place(folder, "there"))
    assert task.map(x=range(50), runner=runner).results() == [(x, 3) for x in range(50)]
    assert task.map(x=range(50), runner=runner).results() == [(x, 3) for x in range(50)]

    assert sorted(asked(folder)) == sorted(2 * list(runner.workers().values()))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            xd.CredentialsError("no credentials", operation="check", where="s3://b", hint="set them"),
            xd.CredentialsError,
            "s3://b",
        ),
        (
            xd.NotFoundError("no such bucket", operation="check", where="s3://b"),
            xd.NotFoundError,
            "no such bucket",
        ),
        (RuntimeError("odd"), xd.UnexpectedError, "RuntimeError: odd"),
    ],
)
def test_a_worker_that_is_not_fit_is_one_clear_error_and_nothing_runs(runner, folder, error, kind, words):
    with pytest.raises(kind, match=words) as caught:
        holding(Place(folder, words, error)).map(x=range(5), runner=runner).results()

    assert "on worker tcp://127.0.0.1:" in str(caught.value)
    assert ", and 1 more" in str(caught.value)
    assert not (folder / "ran").exists()


def test_preflight_can_be_switched_off(runner, folder):
    place = Place(folder, "off", xd.NotFoundError("no such bucket"))
    with xd.DaskRunner(client=runner._connect().client, preflight=False) as careless:
        assert holding(place).map(x=[1], runner=careless).results() == [(1, 1)]

    assert asked(folder) == []


def test_credentials_that_do_not_resolve_on_a_worker_are_named_with_the_worker(runner, monkeypatch):
    """The variables were set after the workers started: they are here and not there."""
    monkeypatch.setenv("CANARY_KEY", "key-of-a-test")
    monkeypatch.setenv("CANARY_SECRET", "canary-of-a-test")
    source = xd.S3Source(
        "b",
        endpoint_url="http://127.0.0.1:9",
        key="env:CANARY_KEY",
        secret="env:CANARY_SECRET",
        region="us-east-1",
    )
    with xd.one_task("read") as read:
        xd.task(lambda stream: sum(map(len, stream)), name="count")(source(xd.param("key")))
    with pytest.raises(xd.CredentialsError, match=r"on worker tcp://.*env:CANARY_") as caught:
        read.map(key=["k"], runner=runner).results()

    assert "canary-of-a-test" not in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_named(runner, unused_port):
    source = xd.S3Source(
        "b", endpoint_url=f"http://127.0.0.1:{unused_port}", key="k", secret="s", region="us-east-1"
    )
    with pytest.raises(xd.StorageError, match="on worker tcp://"):
        xd.task(lambda key: source(key).read()).map(key=["k"], runner=runner).results()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_package_that_workers_lack_is_named(runner, tmp_path, monkeypatch):
    """The driver can import it, the workers (started before) cannot."""
    (tmp_path / "only_here.py").write_text("def work(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with pytest.raises(xd.MissingExtraError, match=r"No module named 'only_here'.*install only_here there"):
        xd.task(only_here.work).map(x=[1], runner=runner).results()


class Slow:
    url = "slow://place"

    def __init__(self, until):
        self.until = until

    def preflight(self):
        self.until.wait(60)


def test_a_place_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(preflight, "_BOUND_S", 0.1)
    until = threading.Event()
    try:
        with pytest.raises(xd.ConnectionLostError, match=r"no answer within .* asking for slow://place"):
            preflight._reaches([Slow(until)])
    finally:
        until.set()


def test_places_are_found_wherever_the_task_holds_them(folder):
    place = Place(folder)
    with xd.one_task("pair") as pair:
        xd.task(len)(xd.task(lambda p: [p])(place))

    @xd.one_task(name="traced")
    def traced(x):
        return xd.task(len)(xd.task(lambda p: [p])(place))

    for task in (holding(place), pair, traced, xd.task(lambda x: GLOBAL_PLACE and x), xd.task(by_name)):
        _, found = preflight.pickled_with_checks(task)
        assert len(found) == 1


GLOBAL_PLACE = Place(".")


def by_name(x):
    """Pickled by its name: what it refers to does not travel with it, and is looked at all the same."""
    return [GLOBAL_PLACE for _ in [x]]


def test_a_worker_that_comes_later_is_checked_with_its_first_shard_and_the_fit_ones_do_the_work(folder):
    """It refuses, that is said once, and no item fails of it."""
    (folder / "unfit").mkdir()
    place = Unfit(folder, folder / "unfit")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        xd.DaskRunner(cluster=cluster, shard_size=1, threads=1) as runner,
    ):
        heard = []

        def work(x):
            (folder / f"ran-{os.getpid()}-{x}").touch()
            if x == 0:
                until = time.monotonic() + 60
                while not list((folder / "unfit").iterdir()) and time.monotonic() < until:
                    threading.Event().wait(0.02)
            return x, place is not None

        def hear(event):
            heard.append(event)

        with listening(hear):
            result = xd.task(work).map(x=range(20), runner=runner)
            (fit,) = runner.workers().values()
            (folder / "fit").write_text(str(fit))
            cluster.scale(2)
            values = result.results()
    refusals = [text for text in notes_of(heard) if "cannot take part" in text]

    assert values == [(x, True) for x in range(20)]
    assert {int(path.name.split("-")[1]) for path in folder.glob("ran-*")} == {fit}
    assert len(refusals) == 1
    assert "not here" in refusals[0]


class Unfit:
    """Passes on the process named in ``fit``, or if there is no such file yet."""

    def __init__(self, folder, marks):
        self.folder, self.marks = folder, marks

    def preflight(self):
        fit = self.folder / "fit"
        if fit.exists() and fit.read_text() != str(os.getpid()):
            (self.marks / str(os.getpid())).touch()
            raise xd.NotFoundError("not here", operation="check", where="s3://b")


def test_other_versions_of_what_they_speak_with_are_worth_a_warning(runner, monkeypatch, caplog):
    monkeypatch.setattr("crossdock.combine.runners.cluster.versions", lambda: {"cloudpickle": "0.1"})
    heard = []
    with listening(heard.append), xd.DaskRunner(client=runner._connect().client) as other:
        assert xd.task(abs).map([-1], runner=other).results() == [1]
        assert xd.task(abs).map([-2], runner=other).results() == [2]
    texts = [text for text in notes_of(heard) if "cloudpickle" in text]

    assert len(texts) == 1
    assert "(here 0.1)" in texts[0]
    assert [record.getMessage() for record in caplog.records if "cloudpickle" in record.getMessage()] == texts


# -- at a terminal ---------------------------------------------------------------------------------------------------


def test_a_warning_of_a_worker_is_on_stderr_once(tmp_path):
    """Workers share the terminal: they must not print what the driver says for them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import crossdock as xd\n"
        "def work(n):\n"
        "    if n == 3: xd.current().logger.warning('look at three')\n"
        "    return n\n"
        "if __name__ == '__main__':\n"
        "    with xd.DaskRunner(n_workers=1) as runner:\n"
        "        xd.task(work).map(n=range(10), runner=runner).wait()\n"
    )
    done = subprocess.run([sys.executable, script], check=True, timeout=60, capture_output=True, text=True)

    assert done.stderr == "look at three\n"
