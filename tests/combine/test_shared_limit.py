"""One limit for all processes of a run: what each may have of it, on simulated services and a clock of its own."""

from __future__ import annotations

import uuid
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings, strategies as st
from shared_service import PLACE, Service

from crossdock import sharing
from crossdock.combine.runners.allotting import Allotter, CommonLimit, level_for
from crossdock.connectors.limits import Limiter
from crossdock.connectors.pace import REQUEST_COST, Pace, starting_limit
from crossdock.connectors.ration import Ration
from crossdock.errors import ThrottledError
from crossdock.sharing import Use, Word, interval_s, lapse_s

PROCESSES = 4

wishes = st.lists(st.integers(1, 300), min_size=1, max_size=40)


# -- shares ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 2_000), wishes)
def test_together_they_have_no_more_than_the_limit_or_one_each(limit, wanted):
    level = level_for(limit, wanted)
    together = sum(min(wish, level) for wish in wanted)

    assert together <= max(limit, len(wanted)) + 0.01 * len(wanted)
    if sum(wanted) > limit >= len(wanted):
        assert together >= limit - 0.01 * len(wanted)  # and nothing of it is left unused


@given(st.integers(10, 2_000), wishes, st.data())
def test_what_an_idle_process_does_not_want_goes_to_the_busy_ones(limit, wanted, data):
    idle = data.draw(st.integers(0, len(wanted) - 1))
    without = [wish for number, wish in enumerate(wanted) if number != idle]

    if sum(without) + 1 > limit:
        assert level_for(limit, [*without, 1]) >= level_for(limit, wanted) - 0.01


@given(st.floats(1, 50), st.lists(st.floats(0, 0.999), min_size=1, max_size=40))
def test_processes_round_apart_so_that_none_has_more_than_one_above_its_level(level, roundings):
    allowed = []
    for rounding in roundings:
        ration = Ration(Pace(limit=256), rounding)
        ration.obey("run", Word(level), now=0.0, processes=PROCESSES)
        allowed.append(ration.allowed(now=0.0))

    assert sum(allowed) < level * len(allowed) + len(allowed)
    assert min(allowed) >= int(level)


# -- the limit ---------------------------------------------------------------------------------------------------------


def use(*, wish=50, used=50, refused_under=-1, ended=0, refused=0):
    return Use(wish, used, ended, refused, refused_under)


def test_a_refusal_that_one_process_saw_slows_all():
    allotter = Allotter()
    for name in "ab":
        allotter.heard(message(name, use()), now=0.0, processes=2)
    _, ((*_, before, _, _),) = allotter.due(now=0.0, processes=2)
    allotter.heard(message("a", use(refused_under=0)), now=0.2, processes=2)
    workers, ((*_, after, cuts, _),) = allotter.due(now=0.2, processes=2)

    assert (before, workers, cuts) == (64, ["a", "b"], 1)
    assert after == 35  # each of them: 0.7 of the 100 that were under way


def message(name, said):
    return {
        "worker": name,
        "origin": name,
        "uses": [(*PLACE, *astuple(said))],
    }


def test_however_often_they_tell_workers_are_told_twice_a_second_and_newcomers_at_once():
    """And once a second where nothing changes, so that no word lapses."""
    allotter, told = Allotter(), []
    for tick in range(1_000):
        allotter.heard(message(f"w{tick // 100}", use(wish=tick, used=1)), now=tick / 100, processes=1)
        due = allotter.due(now=tick / 100, processes=1)
        told += [] if due is None else [(tick, due[0])]
    calm = 0
    for tick in range(1_000, 2_000):
        allotter.heard(message("w9", use(wish=1, used=1)), now=tick / 100, processes=1)
        calm += allotter.due(now=tick / 100, processes=1) is not None

    assert {tick for tick, _ in told} <= set(range(0, 1_000, 50))
    assert len(told) >= 10
    assert all(f"w{tick // 100}" in workers for tick, workers in told)
    assert 10 <= calm <= 21


def test_a_newcomer_between_two_words_is_told_alone():
    allotter = Allotter()
    for name, now in (("a", 0.0), ("b", 0.1)):
        allotter.heard(message(name, use()), now=now, processes=2)
        first = allotter.due(now=now, processes=2)
        assert first[0] == [name]
    allotter.heard(message("b", use()), now=0.2, processes=2)

    assert allotter.due(now=0.2, processes=2) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 3)), max_size=60))
def test_a_limit_is_cut_once_for_all_that_was_under_way(heard):
    """However often and in whatever order it is told, each cut answers a request that began after the one before."""
    limit = CommonLimit()
    for process, refused_under in heard:
        before = limit.cuts
        was_cut = limit.heard(f"{process}", use(refused_under=refused_under), now=0.0, processes=6)
        assert was_cut == (refused_under >= before)
        assert limit.cuts == before + was_cut
        assert limit.limit >= 1


def test_a_limit_that_limits_nobody_is_left_alone():
    limit = CommonLimit()
    for now in range(100):
        limit.heard("a", use(wish=10, used=10, ended=100 * now), now=now, processes=1)
        limit.look(now=now, processes=1)

    assert limit.limit == 64


def test_the_share_of_a_process_that_says_nothing_any_more_goes_to_the_others():
    limit = CommonLimit(limit=40)
    for name in "abcd":
        limit.heard(name, use(), now=0.0, processes=4)
    before = limit.word(now=0.0).level
    limit.heard("a", use(), now=9.0, processes=4)
    limit.look(now=9.0, processes=4)

    assert (before, limit.word(now=9.0).level >= 40) == (10, True)


def test_a_wish_to_wait_reaches_those_who_did_not_hear_it_and_grows_no_older():
    limit = CommonLimit()
    limit.heard("a", replace(use(), wait_s=5.0), now=100.0, processes=2)

    assert [limit.word(now=now).wait_s for now in (100.0, 103.0, 106.0)] == [5.0, 2.0, 0.0]


# -- a worker without news -----------------------------------------------------------------------------------------------


@given(st.floats(1, 300), st.integers(1, 256))
def test_a_word_that_nobody_renews_lapses_to_where_it_stood(level, own):
    """A driver that is lost neither holds its workers back nor lets them loose."""
    ration = Ration(Pace(limit=own))
    ration.obey("run", Word(level), now=0.0, processes=PROCESSES)
    stood = ration.allowed(now=lapse_s(PROCESSES))
    alone = ration.allowed(now=lapse_s(PROCESSES) + 0.1)

    assert stood == alone == max(1, min(int(level), own))


def test_a_worker_without_news_finds_its_limit_by_itself_again():
    ration, now = Ration(Pace(limit=100)), 0.0
    ration.obey("run", Word(4.0), now=now, processes=PROCESSES)
    limits = []
    for _ in range(60_000):  # the more are allowed, the faster it goes
        now += 0.02 / ration.allowed(now=now)
        ration.ended(REQUEST_COST, now=now, saturated=True)
        limits.append(ration.allowed(now=now))

    assert limits[0] == 4
    assert max(limits) > 50
    ration.throttled(ration.wanted(60, 0, now=now), 60, now=now)
    assert ration.allowed(now=now) <= int(0.7 * limits[-1])


def test_a_throttle_cuts_the_word_at_once_and_is_told_once_the_cut_of_all_is_over():
    ration = Ration(Pace(limit=100))
    ration.obey("run", Word(10.0), now=0.0, processes=PROCESSES)
    old, new = ration.wanted(10, 5, now=0.0), None
    ration.throttled(old, 10, now=0.1)
    ration.throttled(old, 9, now=0.1)  # was under way: no news
    cut = ration.allowed(now=0.1)
    ration.obey("run", Word(10.0), now=0.2, processes=PROCESSES)  # sent before the driver heard of it
    still = ration.allowed(now=0.2)
    told = ration.use("run", now=0.2).refused_under
    ration.obey("run", Word(8.0, cuts=1), now=0.3, processes=PROCESSES)
    new = ration.wanted(8, 5, now=0.3)
    ration.throttled(new, 8, now=0.4)  # others may not have heard of the cut yet
    deaf = ration.use("run", now=0.4).refused_under
    ration.throttled(ration.wanted(5, 5, now=1.0), 5, now=1.1)

    assert (cut, still, told, deaf) == (7, 7, 0, 0)
    assert ration.use("run", now=1.1).refused_under == 1


def test_a_word_that_was_overtaken_is_not_obeyed():
    ration = Ration(Pace(limit=100))
    ration.obey("run", Word(7.0, cuts=2), now=0.0, processes=PROCESSES)
    ration.obey("run", Word(50.0, cuts=1), now=0.1, processes=PROCESSES)

    assert ration.allowed(now=0.1) == 7


def test_of_two_runs_in_one_process_the_smaller_word_counts():
    ration = Ration(Pace(limit=100))
    ration.obey("one", Word(7.0), now=0.0, processes=PROCESSES)
    ration.obey("two", Word(5.0), now=4.0, processes=PROCESSES)

    assert ration.allowed(now=4.0) == 5
    assert ration.allowed(now=lapse_s(PROCESSES) + 0.1) == 5
    assert ration.allowed(now=lapse_s(PROCESSES) + 4.1) == 5


def test_a_run_that_ended_leaves_what_it_learned_of_throttling_and_nothing_else():
    divided, throttled = Ration(Pace(limit=100)), Ration(Pace(limit=100))
    divided.obey("run", Word(5.0), now=0.0, processes=PROCESSES)
    throttled.obey("run", Word(5.0, cuts=1), now=0.0, processes=PROCESSES)
    for ration in (divided, throttled):
        ration.forget("run")
        ration.forget("run")

    assert (divided.allowed(now=0.1), throttled.allowed(now=0.1)) == (100, 5)


def test_what_a_process_did_before_a_run_is_none_of_the_runs():
    ration = Ration(Pace(limit=100))
    for _ in range(50):
        ration.ended(REQUEST_COST, now=0.0, saturated=True)
    ration.throttled(0, 1, now=0.0)
    ration.begin("run", now=9.0)
    ration.ended(REQUEST_COST, now=9.0, saturated=True)
    ration.wanted(1, 0, now=9.0)
    said = ration.use("run", now=9.0)

    assert (said.ended, said.refused, said.refused_under) == (1, 0, -1)


def test_a_place_that_is_met_later_is_told_what_was_said_before():
    """As long as the run is on."""
    first, second, run = Limiter(Pace(limit=50)), Limiter(Pace(limit=50)), f"run-{uuid.uuid4()}"
    place = ("s3+https://met-later", "read")
    sharing.obey(run, [(*place, 3.0, 0, 0.0)])
    sharing.join(place, first)
    before = first.limit
    told = [use for use in sharing.uses(run) if use[:2] == place]
    sharing.forget(run)
    sharing.join(place, second)

    assert (before, first.limit, second.limit) == (3, 50, 50)
    assert told == []  # nothing was sent there yet


def test_a_newcomer_is_told_the_level_and_no_wait_of_long_ago():
    allotter = Allotter()
    allotter.heard(message("a", replace(use(), wait_s=9.0)), now=0.0, processes=1)
    _, ((*_, level, _, wait_s),) = allotter.due(now=0.0, processes=1)

    assert wait_s == 9
    assert allotter.words() == [(*PLACE, level, 0, 0.0)]


def test_a_wish_to_wait_is_told_by_who_heard_it_from_the_service_and_by_nobody_else():
    now = [0.0]
    told, heard = Limiter(clock=lambda: now[0]), Limiter(clock=lambda: now[0])

    def refuse():
        raise ThrottledError("slower", retry_after_s=5)

    with pytest.raises(ThrottledError):
        told.call(refuse)
    heard.call(lambda: None)
    wait_s = told.use("run").wait_s
    heard.obey("run", Word(8.0, wait_s=wait_s))

    assert wait_s == 5
    assert heard._not_before == 5
    assert heard.use("run").wait_s == 0


def test_many_processes_begin_with_few_requests_each_and_speak_more_seldom():
    assert [starting_limit(count) for count in (1, 8, 16, 1_000)] == [8, 8, 4, 1]
    assert [interval_s(count) for count in (1, 50, 1_000)] == [0.5, 0.5, 10]
    assert lapse_s(1_000) > 4 * interval_s(1_000)


# -- all of it -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "room", "threads", "at_most"),
    [(2, 8, 32, 0.4), (4, 8, 32, 0.4), (16, 40, 64, 0.3), (4, 40, 64, 1.0)],
)
def test_one_limit_is_refused_less_than_one_each_and_does_as_much(workers, room, threads, at_most):
    apart, together = (
        Service(workers=workers, room=room, threads=threads, shared=shared).run(20)
        for shared in (False, True)
    )

    assert together.refused <= at_most * apart.refused
    assert together.ended > 0.9 * apart.ended
    assert together.allotter.limits[PLACE].limit <= room + 2


@settings(deadline=None, max_examples=15)
@given(
    workers=st.integers(1, 12),
    room=st.integers(4, 80),
    threads=st.integers(1, 64),
    delay_s=st.floats(0.001, 0.1),
    seed=st.integers(0, 1_000),
)
def test_together_they_are_above_the_limit_for_an_interval_and_a_half_at_most(
    workers, room, threads, delay_s, seed
):
    """The limit and one each: what is more has gone when the next word is heard, which may be an interval after a report."""
    service = Service(workers=workers, room=room, threads=threads, delay_s=delay_s, seed=seed).run(6)

    assert service.over_s <= 1.5 * interval_s(workers) + 2 * delay_s
    assert service.ended > 0


def test_messages_that_are_lost_cost_little():
    service = Service(lost=0.3).run(20)

    assert service.ended > 0.8 * 20 * 40 / service.latency_s
    assert service.refused < 0.02 * service.ended


def test_a_driver_that_is_lost_neither_freezes_nor_unleashes():
    """From the tenth second on nobody hears anything: what is done stays the same, what is refused is as if each were alone."""
    service = Service().run(10)
    done, refused = service.ended, service.refused
    service.lost = 1.0
    service.run(10)
    alone = Service(shared=False).run(20)

    assert service.ended - done > 0.9 * done
    assert service.refused - refused <= 2 * alone.refused


def test_a_service_that_throttles_whatever_the_load_does_not_hold_a_run_at_one_request_each():
    service = Service(workers=2, room=10**9, refuses=0.05).run(20)

    assert service.ended > 20 * 4 / service.latency_s


def test_where_nobody_throttles_the_limit_is_not_in_the_way():
    together = Service(workers=2, room=10**9).run(10)

    assert together.ended > 0.95 * Service(workers=2, room=10**9, shared=False).run(10).ended
    assert together.refused == 0
