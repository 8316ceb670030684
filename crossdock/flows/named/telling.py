"""Telling of a flow's end, once, whatever it was: an error before it began, one that it raised, or what it returned."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from crossdock.combine.hooks import RunHooks
from crossdock.combine.mapping.result import MapResult
from crossdock.notifications.record import RunEnded, RunStatus, ended_map, error_text

__all__ = ["FlowTelling"]


class FlowTelling:
    """A ``with`` block around everything from the first parameter on. Costs nothing if nobody is to be told.

    Args:
        hooks: Who is told; their references were checked.
        name: The flow's.
    """

    def __init__(self, hooks: RunHooks, name: str) -> None:
        self._hooks = hooks
        self._name = name
        self._began = False
        self._value: Any = None
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()

    def begun(self) -> None:
        """The flow's own code begins: from now on an error is no refusal."""
        self._began = True

    def returned(self, value: Any) -> None:
        """What the flow returned: a map's result and a report say more than that it ended."""
        self._value = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hooks:
            self._hooks.fire(self._ended(error))

    def _ended(self, error: BaseException | None) -> RunEnded:
        took = time.monotonic() - self._clock
        if error is None and isinstance(self._value, MapResult):
            value = self._value
            found = ended_map(
                value.in_order(),
                name=self._name,
                run_id=value.run_id,
                started=self._started,
                duration_s=took,
            )
        elif error is None and hasattr(self._value, "run_dir") and hasattr(self._value, "counts"):
            from crossdock.flows.reporting.telling import ended_of

            found = replace(ended_of(self._value, self._name), started=self._started, duration_s=took)
        else:
            found = RunEnded(
                name=self._name,
                status=self._status(error),
                started=self._started,
                duration_s=took,
                error="" if error is None or isinstance(error, KeyboardInterrupt) else error_text(error),
            )
        return found

    def _status(self, error: BaseException | None) -> RunStatus:
        if isinstance(error, KeyboardInterrupt):
            return "interrupted"
        if error is not None:
            return "failed" if self._began else "refused"
        return "failed" if getattr(self._value, "exit_code", 0) else "done"
