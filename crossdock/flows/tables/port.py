"""What a table flow gives the engine: which rows its manifest has, how a unit of them is done, and what is done once at the end.

``convert``, ``ingest`` and ``export`` are runs as ``migrate`` is: list, plan, manifest, shards mapped over a runner, ledger,
report. What differs is what a worker does. A **unit** is what becomes one thing at the destination, all of it or nothing: rows
of the manifest that follow one another and share a ``destination``. A shard holds whole units, one or many.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from crossdock.flows.ledger.records import Failure
from crossdock.model import Counts, Receipt

if TYPE_CHECKING:
    from crossdock.events import Observer
    from crossdock.flows.planning.rows import Row
    from crossdock.flows.runs.directory import RunDirectory
    from crossdock.flows.runs.manifest import Manifest

__all__ = ["Learned", "TableFlow", "Unit", "UnitEnd", "UnitWork"]

Learned = Mapping[str, Any]
"""What a plan found out that every worker has to know, as plain values (JSON): kept with the run, so that it stays the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Rows of the manifest that become one thing at the destination.

    Attributes:
        run_id: Of the run, so that what an attempt of this very run wrote can be told from what an earlier run wrote.
        shard: The shard it is in.
        destination: What its rows share: a key, or a name that the flow gave.
        rows: All of its rows that are work, in the manifest's order.
        left: Numbers of the rows that are to be done now.
        done: Numbers of those that an earlier attempt did and recorded. What the unit becomes has to hold both.
        is_repeat: An attempt at its shard began before: it may have done everything and died before it could say so.
        announced: When an earlier attempt said that it may begin an upload for it (``UnitWork.announced``).
    """

    run_id: str
    shard: int
    destination: str
    rows: tuple[Row, ...]
    left: frozenset[int]
    done: frozenset[int] = frozenset()
    is_repeat: bool = False
    announced: datetime | None = None

    @property
    def wanted(self) -> tuple[Row, ...]:
        """The rows that what it becomes has to hold, in order: those left, and those done. Others failed for good."""
        return tuple(row for row in self.rows if row.number in self.left or row.number in self.done)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEnd:
    """How a unit ended. Every row that was left and is not among ``failures`` is recorded by it, at once.

    Attributes:
        receipt: The proof of what was written, or of what an earlier attempt of this run had written (its method is then
            ``found``); ``None`` if nothing had to be.
        skipped: Why nothing had to be written, in words; empty with a receipt.
        rows: By row of the manifest, how many rows of the table it gave; only those that are known.
        rows_written: Rows in what was written; less than the sum of ``rows`` where a step dropped some.
        bytes_written: Bytes of what was written; ``None`` where that has no meaning (a database).
        failures: Rows that failed alone, by number: the others went on without them.
    """

    receipt: Receipt | None = None
    skipped: str = ""
    rows: Mapping[int, int] = field(default_factory=dict)
    rows_written: int = 0
    bytes_written: int | None = None
    failures: Mapping[int, Failure] = field(default_factory=dict)


class UnitWork(Protocol):
    """What a worker does with a unit. A picklable recipe: building one opens nothing."""

    @property
    def at_a_time(self) -> int:
        """Units at a time in one process, over all shards it works on; bounded by memory."""

    def announced(self, unit: Unit) -> int | None:
        """The number of the row whose destination key an upload may be begun for; ``None`` if none will be.

        It is recorded before anything begins, so that what a killed process leaves open can be told and removed.
        """

    def __call__(self, unit: Unit, stop: threading.Event) -> UnitEnd:
        """Do one unit: all of it or nothing. Called on any worker, perhaps twice at once, perhaps again after a crash.

        It looks at the destination first where that may be done already (``unit.is_repeat``, or by evidence of its own), and
        writes conditionally on what it saw, so that of two attempts one wins and the other finds the same. Once ``stop`` is set
        it reads no more and fails; a failure after that is not recorded, and the rows stay pending.

        Raises:
            LedgerError: The run directory cannot be used: no failure of the unit.
            Exception: Every row that was left fails with it (``ledger.failures.failure_of``). Nothing is at the destination that
                was not there before.
        """


class TableFlow(Protocol):
    """One table flow with everything it was asked: on the driver only.

    It may also have ``driving(directory)``, a context manager that is held while the run is driven, around ``work`` and ``finish``: for
    what is to be the same for all workers and cannot be kept, such as a snapshot of a database.
    """

    @property
    def kind(self) -> str:
        """``convert``, ``ingest`` or ``export``: what ``run.json`` says, and by which ``resume`` knows how to go on."""

    @property
    def source_url(self) -> str:
        """Where rows come from, for messages."""

    @property
    def sink_url(self) -> str:
        """Where they go."""

    def asked(self) -> dict[str, Any]:
        """What a run keeps of the question; equal for equal questions, plain values, no secrets.

        As ``questions.question.asked_of`` gives it: ``source`` and ``sink`` with ``store`` and ``prefix`` at least, ``one``,
        ``exact``; besides, under ``table``, what makes the flow: that is compared too when a directory is given again.
        """

    def check(self) -> None:
        """Both ends answer; a few requests. Called when a run is gone on with; whoever starts one has asked already.

        Raises:
            CrossdockError: One of them does not.
        """

    def rows(self, observer: Observer) -> Iterator[Row]:
        """The rows of the manifest: those of one unit follow one another and share ``destination``. Lazily; listed once.

        Actions: ``COPY`` is work, ``SKIP`` has its evidence as reason, ``REFUSE`` fails without being tried. Units of more than
        50,000 rows are not possible.

        Raises:
            NotFoundError: Nothing is there, or nothing matches.
            CrossdockError: A page failed: that is always fatal.
        """

    @property
    def excluded(self) -> int:
        """How many objects ``rows`` left out by the filters; known once it was read to its end."""

    def learn(self, manifest: Manifest) -> Learned:
        """What workers have to know, found out once, after the manifest is written and before any unit is begun.

        Raises:
            CrossdockError: It cannot be found out; no run is left.
        """

    def work(
        self, learned: Learned, *, concurrency: int | None, bandwidth_bytes_per_s: int | None
    ) -> UnitWork:
        """What is mapped over the runner.

        Args:
            learned: What ``learn`` returned, as the run kept it.
            concurrency: Units at a time in each process, if the user said so; else the flow's own choice.
            bandwidth_bytes_per_s: Bound of payload for all processes together, if the user said so.
        """

    def finish(self, directory: RunDirectory, counts: Counts) -> Mapping[str, Any]:
        """What is done once, on the driver, when no unit is pending: publish, or look what is left over.

        Called before the run counts as complete, whatever failed: ``counts`` says how many, and a flow that publishes all or
        nothing does nothing then. Idempotent: a crash after it and before the run says so makes ``resume`` call it again.

        Returns:
            What the run keeps of it under ``finished`` in ``run.json``, as plain values.
        """
