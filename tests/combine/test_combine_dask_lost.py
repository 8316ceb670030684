"""Workers of a ``DaskRunner`` that die: nothing lost, nothing reported twice, a culprit alone, an end if nobody is left."""

from __future__ import annotations

import collections
import functools
import math
import os
import random
import signal
import threading
import time
from pathlib import Path

import dask
import distributed
import pytest

import crossdock as xd
from crossdock.combine.runners.dask_noise import quiet
from crossdock.combine.runners.sharding import Shard, after_loss
from crossdock.errors import Retry
from crossdock.events import Note, listening


@pytest.fixture(scope="module")
def runner():
    with xd.DaskRunner(n_workers=2, threads=4, shard_size=20) as runner:
        yield runner


def notes_of(heard):
    return [event.text for event in heard if isinstance(event, Note)]


# -- what is decided -------------------------------------------------------------------------------------------------


def deaths_to_find(culprit, items, deaths=1):
    """Play a culprit's shard to its end: how many workers die, and which items are given up."""
    todo, died, given_up = [Shard(list(range(items)), list(range(items)))], 0, []
    while todo:
        shard = todo.pop()
        if culprit not in shard.items:
            continue
        died += deaths
        again = after_loss(shard, deaths)
        given_up += [] if again else shard.items
        todo += again
    return died, given_up


@pytest.mark.parametrize("items", [1, 2, 3, 20, 1_000, 2_000])
def test_a_culprit_is_found_within_a_bound_and_never_before_its_third_victim(items):
    for culprit in {0, items // 2, items - 1}:
        died, given_up = deaths_to_find(culprit, items)
        assert given_up == [culprit]
        assert 3 <= died <= math.ceil(math.log2(items)) + 4


def test_a_scheduler_that_repeats_losses_by_itself_costs_as_many_times_more():
    died, given_up = deaths_to_find(7, 20, deaths=4)

    assert given_up == [7]
    assert died <= 4 * (math.ceil(math.log2(20)) + 2)


def test_a_shard_that_was_lost_once_is_no_suspect_and_stays_whole():
    shard = Shard([4, 5], ["a", "b"])

    assert after_loss(shard, 1) == [shard]
    assert not shard.is_suspect
    halves = after_loss(shard, 1)
    assert [half.numbers for half in halves] == [[4], [5]]
    assert all(half.is_suspect for half in halves)


# -- what happens ----------------------------------------------------------------------------------------------------


def test_an_item_that_kills_its_worker_fails_alone(runner, tmp_path):
    """Sixty items in shards of twenty; deaths are counted by the victims themselves."""

    def work(x):
        if x == 25:
            (tmp_path / f"{os.getpid()}-{time.time_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    heard = []
    with listening(heard.append):
        result = xd.task(work).map(x=range(60), runner=runner)
        values = result.results(failed="none")
    (outcome,) = result.failed()
    deaths = len(list(tmp_path.iterdir()))

    assert values == [None if x == 25 else x for x in range(60)]
    assert isinstance(outcome.error.__cause__, xd.ConnectionLostError)
    assert "every worker that ran this item died" in str(outcome.error)
    assert outcome.error.retry is Retry.EXHAUSTED
    assert 3 <= deaths <= math.ceil(math.log2(20)) + 4
    lost = [text for text in notes_of(heard) if "was lost" in text]
    assert deaths <= len(lost)
    assert all(text.startswith("worker tcp://127.0.0.1:") for text in lost)


def test_a_culprit_is_found_on_a_cluster_of_somebody_else_whose_scheduler_repeats_losses(tmp_path):
    """Such a scheduler tells of a loss only after it tried again by itself: deaths come in pairs here, by four as Dask comes."""

    def work(x):
        if x == 2:
            (tmp_path / f"{os.getpid()}-{time.time_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
    with cluster, xd.DaskRunner(cluster=cluster, shard_size=2, window=2) as theirs:
        result = xd.task(work).map(x=range(8), runner=theirs)
        assert result.results(failed="none") == [0, 1, None, 3, 4, 5, 6, 7]
    (outcome,) = result.failed()

    assert "every worker that ran this item died" in str(outcome.error)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_scheduler_that_is_gone_ends_the_run_with_a_clear_error(tmp_path):
    """At once, whatever is under way; what had ended was reported."""
    with quiet(), dask.config.set({"distributed.comm.timeouts.connect": "500ms"}):
        cluster = distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            host="127.0.0.1",
            protocol="tcp://",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        )
        alone = xd.DaskRunner(cluster.scheduler_address, shard_size=1, window=1, threads=1)
        run = alone.run(functools.partial(held, folder=tmp_path), range(5))
        ended = [next(run)]
        cluster.sync(cluster.scheduler.close)
        with pytest.raises(xd.ConnectionLostError, match="the Dask scheduler is gone"):
            ended.extend(run)
        (tmp_path / "let go").touch()
        alone.close()
        cluster.close()

    assert ended[0] == (0, 0)


def test_workers_that_dask_gives_up_are_started_again(tmp_path):
    """Dask's local cluster drops a worker for good that is away when it looks, 15 s after a loss; here at once."""

    def work(x):
        mark = tmp_path / "killed"
        if x == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}),
        xd.DaskRunner(n_workers=1, shard_size=2) as fragile,
    ):
        result = xd.task(work).map(x=range(20), runner=fragile)
        assert result.results() == list(range(20))
        assert (tmp_path / "killed").exists()


def test_sigkill_during_five_hundred_items_loses_and_doubles_nothing(runner, tmp_path):
    """Workers are killed from outside while items run: each index ran at least once, and ended exactly once."""
    runner.workers()

    def work(x):
        with Path(tmp_path / f"ran-{x}").open("a") as file:
            file.write(f"{os.getpid()}\n")
        threading.Event().wait(0.01)
        return x

    result = xd.task(work).map(x=range(500), runner=runner)
    victims = []
    for position, _ in enumerate(result):
        if position in (60, 200):
            victims.append(random.choice(sorted(set(runner.workers().values()) - set(victims))))
            os.kill(victims[-1], signal.SIGKILL)
    outcomes = list(result)
    ran = {int(path.name.partition("-")[2]): path.read_text().split() for path in tmp_path.iterdir()}

    assert len(victims) == 2
    assert sorted(outcome.index for outcome in outcomes) == list(range(500))
    assert all(outcome.ok and outcome.value == outcome.index for outcome in outcomes)
    assert set(ran) == set(range(500))
    assert {str(victim) for victim in victims} <= {pid for pids in ran.values() for pid in pids}
    # What ran twice is no more than what was with the two that died: a shard each running, and what was queued behind it.
    assert sum(len(pids) > 1 for pids in ran.values()) <= 2 * 4 * 20
    assert max(collections.Counter(len(pids) for pids in ran.values())) <= 3


def held(x, folder):
    """The second item waits until it is let go."""
    if x == 1:
        (folder / "begun").touch()
        until = time.monotonic() + 60
        while not (folder / "let go").exists() and time.monotonic() < until:
            threading.Event().wait(0.02)
    return x


def test_when_no_worker_is_left_the_run_ends_with_a_clear_error(tmp_path):
    """What had ended was reported; a worker is taken away and no other comes."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        alone = xd.DaskRunner(cluster=cluster, shard_size=1, window=1, no_workers_timeout_s=0.5, threads=1)
        run = alone.run(functools.partial(held, folder=tmp_path), range(5))
        ended = [next(run)]

        def take_it_away():
            until = time.monotonic() + 60
            while not (tmp_path / "begun").exists() and time.monotonic() < until:
                threading.Event().wait(0.02)
            cluster.scale(0)

        thief = threading.Thread(target=take_it_away)
        thief.start()
        with pytest.raises(xd.ConnectionLostError, match="no worker is left, and none came back within"):
            ended.extend(run)
        (tmp_path / "let go").touch()
        thief.join()
        alone.close()

    assert ended[0] == (0, 0)
