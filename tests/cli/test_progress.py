"""What progress says, and that without a terminal it is plain lines."""

import io
import threading

from crossdock.cli.progress import Lines, describe, duration
from crossdock.cli.tally import Standing, Tally
from crossdock.events import BytesMoved, Listed, Note, Progress, Retried
from crossdock.model import MIB, Counts


class Clock:
    """Time that passes when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def counts(**numbers):
    return Progress(counts=Counts(**numbers))


def test_listing_is_told_before_anything_is_planned():
    tally = Tally(Clock())
    tally(Listed(objects=1200, bytes=3 * MIB))

    assert describe(tally.standing()) == "listing: 1,200 objects, 3.0 MiB, 0.0 s"


def test_rate_and_eta_follow_the_bytes_moved_in_this_process():
    clock = Clock()
    tally = Tally(clock)
    tally(counts(planned=10, planned_bytes=100 * MIB))
    for _ in range(5):
        clock.now += 1
        tally(BytesMoved(bytes=10 * MIB))
    standing = tally.standing()

    assert standing.moved_bytes == 50 * MIB
    assert standing.rate_bytes_per_s == 10 * MIB
    assert standing.eta_s == 5.0


def test_workers_elsewhere_are_known_by_the_counts_alone():
    clock = Clock()
    tally = Tally(clock)
    tally(counts(planned=4, planned_bytes=40 * MIB))
    clock.now += 2
    tally(counts(planned=4, copied=1, planned_bytes=40 * MIB, copied_bytes=10 * MIB))

    assert tally.standing().moved_bytes == 10 * MIB
    assert tally.standing().rate_bytes_per_s == 5 * MIB


def test_bytes_of_an_earlier_attempt_count_as_moved_but_not_for_the_rate():
    clock = Clock()
    tally = Tally(clock)
    tally(counts(planned=4, copied=3, planned_bytes=40 * MIB, copied_bytes=30 * MIB))
    clock.now += 1

    assert tally.standing().moved_bytes == 30 * MIB
    assert tally.standing().rate_bytes_per_s == 0.0
    assert tally.standing().eta_s is None


def test_the_rate_forgets_what_was_long_ago():
    clock = Clock()
    tally = Tally(clock)
    tally(BytesMoved(bytes=1000 * MIB))
    for _ in range(100):
        clock.now += 1
        tally(BytesMoved(bytes=MIB))

    assert tally.standing().rate_bytes_per_s == MIB


def test_one_line_says_all_numbers():
    standing = Standing(
        counts=Counts(planned=10, copied=4, failed=1, planned_bytes=10 * MIB, copied_bytes=4 * MIB),
        moved_bytes=4 * MIB,
        rate_bytes_per_s=2 * MIB,
        retries=3,
    )

    expected = "5 of 10 objects, 4.0 MiB of 10.0 MiB, 2.0 MiB/s, ETA 3.0 s, 3 retries, 1 failed"
    assert expected == describe(standing)


def test_durations_read_as_people_say_them():
    assert [duration(4.21), duration(187), duration(7500)] == ["4.2 s", "3 min 07 s", "2 h 05 min"]


class Pipe(io.StringIO):
    """A stream that says when the second line has been written."""

    def __init__(self):
        super().__init__()
        self.second = threading.Event()

    def write(self, text):
        written = super().write(text)
        if self.getvalue().count("\n") >= 2:
            self.second.set()
        return written


def test_lines_come_by_the_clock_even_if_nothing_happens():
    pipe = Pipe()
    with Lines(pipe, interval_s=0.01) as lines:
        lines(Note(text="a worker was lost"))
        came = pipe.second.wait(30)

    assert came
    assert pipe.getvalue().splitlines()[0] == "a worker was lost"
    assert pipe.getvalue().splitlines()[1].startswith("listing: 0 objects")
    assert "\r" not in pipe.getvalue()
    assert "\x1b" not in pipe.getvalue()


def test_lines_stop_at_the_end_of_the_block():
    before = threading.active_count()
    with Lines(io.StringIO()) as lines:
        lines(Retried(operation="put", place="gs://b/k", cause="503", attempt=1, delay_s=0.1))

    assert before == threading.active_count()
