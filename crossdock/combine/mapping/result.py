"""The outcomes of a map: read in any order, as often as one likes, while it runs and afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from crossdock.combine.mapping.again import FailedItems
from crossdock.combine.mapping.driving import Drive, MapJob
from crossdock.combine.mapping.given import OutcomesInOrder
from crossdock.combine.mapping.saving import save_outcomes
from crossdock.combine.mapping.summary import summary_text
from crossdock.errors import ConfigError, TaskFailed
from crossdock.model import Outcome, State

__all__ = ["MapResult"]


class MapResult(OutcomesInOrder):
    """The outcomes of a map, as they come and when all are there. Thread-safe.

    Iterating yields each ``Outcome`` in completion order, from the first, as often as one likes. Ctrl-C while waiting
    cancels what has not begun, waits for what runs, and goes on as ``KeyboardInterrupt``.

    Outcomes stay in memory as long as the result does, some 0.6 kB each (2 kB with a receipt) and what the task returned; arguments only
    of items that failed. A map does not wait for who reads it: one that feeds another runs ahead of it, to its end.

    Attributes:
        name: The task's name.
        run_id: The map's own id: in its outcomes, in ``xd.current()``, in logs.
    """

    def __init__(self, job: MapJob) -> None:
        self.name = job.name
        self.run_id = job.run_id
        self._drive = Drive(job)
        self._collected = self._drive.collected

    # -- waiting -------------------------------------------------------------------------------------------------

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._drive.interrupt()
            self._drive.join()
            raise

    def wait(self) -> MapResult:
        """Wait until every item ended, and every hook was called.

        Raises:
            BaseException: What the input iterator or the runner itself raised, after what had begun ended.
        """
        with self._waiting():
            self._collected.wait_for(lambda: False)
            self._drive.join()
        if self._collected.error is not None:
            raise self._collected.error
        return self

    def cancel(self) -> None:
        """Begin no further items; what runs goes on to its end, without further retries. Returns at once."""
        self._drive.cancel()

    def __iter__(self) -> Iterator[Outcome]:
        """Outcomes in completion order, each as soon as it is known.

        Raises:
            BaseException: As ``wait``, after the last.
        """
        yield from self._collected.as_they_come(self._waiting)
        self.wait()

    def in_order(self) -> Iterator[Outcome]:
        """Outcomes in input order, each as soon as it and all before it are known.

        Raises:
            BaseException: As ``wait``, after the last.
        """
        yield from self._collected.in_order(self._waiting)
        self.wait()

    @property
    def known_total(self) -> int | None:
        """How many outcomes there will be; ``None`` as long as that is not known. Does not wait."""
        if self._drive.total is not None:
            return self._drive.total
        return len(self._collected.arrived) if self._collected.ended else None

    @property
    def counts(self) -> dict[State, int]:
        """How many items ended in which state, so far. Does not wait."""
        return self._collected.counts

    # -- afterwards ----------------------------------------------------------------------------------------------

    def results(self, failed: Literal["raise", "drop", "none"] = "raise") -> list[Any]:
        """All values in input order; waits.

        Args:
            failed: ``raise`` an ``ExceptionGroup`` if any item failed, ``drop`` failed items, or put ``None``
                (``"none"``) in their place.

        Raises:
            ExceptionGroup: See ``raise_if_failed``.
        """
        if failed not in ("raise", "drop", "none"):
            raise ConfigError(f"failed is 'raise', 'drop' or 'none', not {failed!r}")
        if failed == "raise":
            self.raise_if_failed()
        return [outcome.value for outcome in self._sorted() if outcome.ok or failed == "none"]

    def failed(self) -> FailedItems:
        """Outcomes of all items without a value, in input order; waits.

        A list, which can be mapped again: ``task.map(result.failed())`` runs these items with the arguments they had.
        """
        outcomes = self._sorted()
        return FailedItems([outcome for outcome in outcomes if not outcome.ok], self._drive.kept)

    def raise_if_failed(self) -> None:
        """Wait, and raise all failures as one group.

        Raises:
            ExceptionGroup: Some item failed, was cancelled, or depends on one that did; one ``TaskFailed`` each.
        """
        failed = self.failed()
        if failed:
            text = f"{len(failed)} of {len(self)} items of {self.name!r} failed"
            raise ExceptionGroup(text, [_as_exception(outcome) for outcome in failed])

    def summary(self) -> str:
        """Some lines for a person: how items ended, what moved and how fast, attempts, durations, causes; waits."""
        self.wait()
        text = summary_text(self.name, self._collected.sorted(), self._drive.duration_s or 0.0)
        untold = self._drive.told.failed
        return f"{text}\n  {untold} notification{'s' * (untold > 1)} failed" if untold else text

    def save(self, url: str | os.PathLike[str], **options: Any) -> str:
        """Write one row for each outcome, in input order; waits. Replaces what is there, in one step.

        Holds the file in memory while it is written: about 100 bytes an outcome as Parquet, 1 kB as text.

        Args:
            url: Any URL or path that ends in ``.parquet``, ``.jsonl`` or ``.csv``.
            **options: Of the connector, such as ``endpoint_url``.

        Returns:
            The URL of what was written.

        Raises:
            ConfigError: The URL ends in something else, or an option is unknown.
            StorageError: It could not be written; what was there is as it was.
        """
        return save_outcomes(self._sorted(), os.fspath(url), options)

    def _sorted(self) -> list[Outcome]:
        self.wait()
        return self._collected.sorted()

    def __len__(self) -> int:
        """How many items there were; waits."""
        self.wait()
        return len(self._collected.arrived)

    def __bool__(self) -> bool:
        """Always true: an empty map is still a result."""
        return True

    def __repr__(self) -> str:
        ended = len(self._collected.arrived)
        return f"<map of {self.name}: {ended} items ended{'' if self._collected.ended else ', running'}>"


def _as_exception(outcome: Outcome) -> Exception:
    if isinstance(outcome.error, Exception):
        return outcome.error
    return TaskFailed(f"ended as {outcome.state.value}", inputs=dict(outcome.inputs))
