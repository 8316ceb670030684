"""``ingest`` of what tasks give: lists of an API, queries, frames. Each described call is one unit.

An incremental read's cursor moves after the rows are visible, never before. Where it stands when a call was read to its end is
written into the run's directory before the rows are staged, so that a run that dies between the two, or before it is published,
still knows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.connectors.cursors import Cursor
from crossdock.connectors.rest.records import RowBatches
from crossdock.connectors.sql.loading import TableLoad
from crossdock.errors import ConfigError, CrossdockError
from crossdock.events import Observer
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.directory import RunDirectory
from crossdock.flows.runs.files import RunFiles
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.ingest import demand_no_bandwidth
from crossdock.flows.tables.into import Into, NothingToDo
from crossdock.flows.tables.loading import demand_home, load_unit
from crossdock.flows.tables.port import Learned, Unit, UnitEnd, UnitWork
from crossdock.formats import cast, chain
from crossdock.model import Counts, ObjectInfo
from crossdock.tasks import Call, Task

__all__ = ["CallsFlow", "calls_of"]

_AT_A_TIME = 4
_NO_RECORDS = "there were no records"


def calls_of(given: Any) -> tuple[Call, ...] | None:
    """The described calls that a user wrote; ``None`` if it is something else.

    Raises:
        ConfigError: Tasks that were not told what to read, or none at all.
    """
    if isinstance(given, Call):
        return (given,)
    if isinstance(given, Task) or not isinstance(given, list | tuple):
        return None
    found = tuple(given)
    if not found or not all(isinstance(each, Call) for each in found):
        raise ConfigError(
            "a list of sources holds described calls of tasks",
            operation="ingest",
            hint='write [api.batches.bind("users"), api.batches.bind("teams")]',
        )
    return found


@dataclass(kw_only=True)
class CallsFlow:
    """One ingest of described calls; see ``TableFlow``."""

    calls: tuple[Call, ...]
    into: Into
    steps: tuple[Callable[[Any], Any], ...] = ()
    kind: str = "ingest"
    excluded: int = 0
    _files: RunFiles | None = None

    def __post_init__(self) -> None:
        self._fingerprints = [_told(each) for each in self.calls]
        cursors = [each.url for each in map(_cursor, self.calls) if each is not None]
        if len({*cursors}) < len(cursors):
            raise ConfigError(
                "two reads share a cursor, so one would undo the other's progress",
                operation="ingest",
                where=cursors[0],
                hint="give every list a URL of its own",
            )

    @property
    def source_url(self) -> str:
        """Where rows come from."""
        first = _name(self.calls[0])
        return first if len(self.calls) == 1 else f"{first} and {len(self.calls) - 1} more"

    @property
    def sink_url(self) -> str:
        """Where they go."""
        return self.into.url

    def asked(self) -> dict[str, Any]:
        """See ``TableFlow``; of the calls only fingerprints are kept."""
        return {
            "source": {"store": self.source_url, "prefix": "", "options": {}},
            "sink": self.into.asked(),
            "one": None,
            "exact": None,
            "table": {
                "calls": self._fingerprints,
                "steps": [fingerprint(step, name="step") for step in self.steps],
            },
        }

    def check(self) -> None:
        """The database answers, and the sources' credentials resolve."""
        self.into.end.database.check(to_write=True)
        for call in self.calls:
            preflight = getattr(call.task, "preflight", None)
            if preflight is not None:
                preflight()

    def rows(self, observer: Observer) -> Iterator[Row]:
        """A row for each call, in order; nothing is asked."""
        del observer
        for number, call in enumerate(self.calls):
            name = f"{number:06} {_name(call)}"
            yield Row(
                source=ObjectInfo(key=name, size=None),
                name=name,
                destination=f"unit {number:06}",
                action=Action.COPY,
                reason="to read",
            )

    def learn(self, manifest: Manifest) -> Learned:
        """The columns, told by the first call that has any; and whether they fit. An API is asked for its first records."""
        stitch = chain(*self.steps) if self.steps else None
        for call in self.calls:
            with Batches.of(call.task.run(*call.args, **(call.kwargs or {}))) as batches:
                if not batches.schema.names:
                    continue
                with batches if stitch is None else Batches.of(stitch(batches)) as made:
                    found = made.schema.remove_metadata()
            suited = self.into.load("look", found).suited(found)
            return self.into.planned(manifest.run_id, suited)
        return {}

    @contextmanager
    def driving(self, directory: RunDirectory) -> Iterator[None]:
        """Know the run's directory while it is driven: there is written where incremental reads stand."""
        self._files = directory.files
        yield

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> UnitWork:
        """See ``TableFlow``."""
        demand_no_bandwidth(bandwidth_bytes_per_s, "ingest")
        if "load" not in learned:
            return NothingToDo(why=_NO_RECORDS)
        files = self._files
        if files is None:
            raise CrossdockError("a flow without a run", operation="ingest")
        load = self.into.begun(learned)
        return CallLoading(
            calls=self.calls,
            steps=self.steps,
            load=load,
            files=files,
            at_a_time=concurrency or _AT_A_TIME,
            home=self.into.home,
        )

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:
        """Publish, and then move the cursors.

        Raises:
            PreconditionError: Another run moved a cursor meanwhile; the rows are visible.
        """
        finished = self.into.finished(directory, counts)
        if not finished["published"]:
            return finished
        moved = []
        for number, call in enumerate(self.calls):
            cursor = _cursor(call)
            if cursor is not None and directory.files.exists(_place_name(number)):
                place, _ = directory.files.get_json(_place_name(number))
                cursor.advance(place)
                moved.append(cursor.url)
        return {**finished, "cursors": moved}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLoading:
    """How described calls are staged; a ``UnitWork``. Picklable if the calls are.

    Memory for each call at a time: what its source holds, one batch. One connection.
    """

    calls: tuple[Call, ...]
    steps: tuple[Callable[[Any], Any], ...]
    load: TableLoad
    files: RunFiles
    at_a_time: int
    home: str

    def announced(self, unit: Unit) -> int | None:
        """No upload is begun."""
        del unit
        return None

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """See ``UnitWork``."""
        demand_home(self.load, self.home)
        number = unit.rows[0].number
        first = _Reading(self.calls[number], stop, self.files, number)
        fit = cast(self.load.schema)
        try:
            receipt = load_unit(first, self.load, unit.destination, (*self.steps, fit))
        except _NoRecordsError:
            return UnitEnd(skipped=_NO_RECORDS)
        rows = {} if receipt.method == "found" else {number: receipt.rows}
        return UnitEnd(receipt=receipt, rows=rows, rows_written=receipt.rows)


class _NoRecordsError(Exception):
    """A list without records has no columns either, and nothing is to be staged."""


class _Reading(Task):
    """The first half: what a call gives, and at its end the place where an incremental read stands."""

    name = "read"

    def __init__(self, call: Call, stop: threading.Event, files: RunFiles, number: int) -> None:
        self._call = call
        self._stop = stop
        self._files = files
        self._number = number

    def run(self) -> Batches:
        """Start to read.

        Raises:
            _NoRecordsError: There is nothing, not even columns.
        """
        batches = Batches.of(self._call.task.run(*self._call.args, **(self._call.kwargs or {})))
        if not batches.schema.names:
            batches.close()
            raise _NoRecordsError
        return Batches(batches.schema, self._passed(batches), close=batches.close)

    def _passed(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if self._stop.is_set():
                raise CrossdockError("the run was stopped", operation="ingest")
            yield batch
        place = batches.place() if isinstance(batches, RowBatches) else None
        if place is not None:
            # Before the rows are staged: whatever dies from here on, what is staged has its place.
            self._files.put_json(_place_name(self._number), place)


def _place_name(number: int) -> str:
    return f"cursors/{number:06}.json"


def _cursor(call: Call) -> Cursor | None:
    since = (call.kwargs or {}).get("since")
    return since if isinstance(since, Cursor) else None


def _name(call: Call) -> str:
    """Short, without arguments by name: they may hold more than a listing should show."""
    first = next((each for each in call.args if isinstance(each, str)), "")
    return f"{call.task.name or type(call.task).__name__} {first}".strip()


def _told(call: Call) -> str:
    """Equal for the same task with the same arguments.

    Raises:
        ConfigError: Something in it has no fingerprint, so it could not be told from another.
    """
    return fingerprint((type(call.task).__name__, call.task, call.args, call.kwargs or {}), name="the source")
