"""Live progress on stderr: a display for a terminal, a line every 30 seconds without one, or nothing.

Each display is an observer and a context manager around a run; ``progress`` picks one. None of them writes to stdout.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import IO, TYPE_CHECKING, Any, Self

from crossdock.cli.output import json_line, visible
from crossdock.cli.tally import Standing, Tally
from crossdock.events import Event, Listed, Note, Observer, Progress, ignore
from crossdock.options import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Lines", "Phases", "describe", "duration", "progress"]

LINE_INTERVAL_S = 30.0


@contextmanager
def progress(*, quiet: bool, json: bool = False) -> Iterator[Observer]:
    """The display that suits where stderr goes; with ``json`` phases and notes also go to stdout."""
    display: AbstractContextManager[Observer]
    if quiet:
        display = nullcontext(ignore)
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        display = _Display()
    else:
        display = Lines(sys.stderr)
    with display as shown:
        yield Phases(shown) if json else shown


class Phases:
    """Tells programs what a run is at: one JSON line when a phase begins, and one for each note."""

    def __init__(self, shown: Observer) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self._phase = ""

    def __call__(self, event: Event, /) -> None:
        """Take one event and pass it on."""
        self._shown(event)
        if isinstance(event, Note):
            self._tell({"type": "note", "text": event.text})
        elif isinstance(event, Listed):
            self._begin("listing", {})
        elif isinstance(event, Progress):
            counts = event.counts
            self._begin("moving", {"planned": counts.planned, "planned_bytes": counts.planned_bytes})

    def _begin(self, phase: str, about: dict[str, int]) -> None:
        with self._lock:
            begins, self._phase = self._phase != phase, phase
        if begins:
            self._tell({"type": "phase", "phase": phase, **about})

    def _tell(self, row: dict[str, object]) -> None:
        with (
            self._lock,
            suppress(BrokenPipeError),
        ):  # an observer never raises; the last line, from the main thread, does
            json_line(row)


class Lines:
    """A line now and then, for logs and pipes: no colour, no carriage return.

    The line comes from a thread of its own, so that a run that stands still says so too. Notes are written at once.
    """

    def __init__(self, stream: IO[str], interval_s: float = LINE_INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._tally = Tally()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="crossdock-progress", daemon=True)

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        if isinstance(event, Note):
            self._write(visible(event.text))
        else:
            self._tally(event)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._write(describe(self._tally.standing()))

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(f"{text}\n")
            self._stream.flush()


class _Display:
    """A bar and the numbers, redrawn four times a second; gone at the end, when the verdict takes its place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = Tally()
        self._console = Console(stderr=True, highlight=False)  # rich obeys NO_COLOR by itself
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,  # stdout is data
        )

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        if isinstance(event, Note):
            self._console.print(visible(event.text), markup=False)
        else:
            self._tally(event)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        standing = self._tally.standing()
        counts = standing.counts
        grid = Table.grid(padding=(0, 1))
        total, done = (counts.planned_bytes, standing.moved_bytes) if counts.planned_bytes else (None, 0)
        if counts.planned and not counts.planned_bytes:
            total, done = counts.planned, counts.planned - counts.pending
        bar: Any = ProgressBar(total=total, completed=done, width=30)
        grid.add_row(bar, Text(describe(standing), overflow="ellipsis", no_wrap=True))
        return grid


def describe(standing: Standing) -> str:
    """One line that says where a run stands."""
    counts = standing.counts
    if not counts.planned:
        seen = f"listing: {standing.listed_objects:,} objects, {format_size(standing.listed_bytes)}"
        return f"{seen}, {duration(standing.elapsed_s)}"
    done = counts.planned - counts.pending
    text = (
        f"{done:,} of {counts.planned:,} objects, "
        f"{format_size(standing.moved_bytes)} of {format_size(counts.planned_bytes)}, "
        f"{format_size(standing.rate_bytes_per_s)}/s"
    )
    text += f", ETA {duration(standing.eta_s)}" if standing.eta_s is not None else ""
    text += f", {standing.retries:,} retries" if standing.retries else ""
    return text + (f", {counts.failed:,} failed" if counts.failed else "")


def duration(seconds: float) -> str:
    """Seconds for people: ``4.2 s``, ``3 min 07 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
