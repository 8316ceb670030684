"""Outcomes of items that did not run, or of which no worker could tell: made by the driver, with all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.combine.inputs import inputs_text
from crossdock.combine.retrying import retry_of
from crossdock.errors import CrossdockError, TaskFailed
from crossdock.model import Outcome, State

__all__ = ["Unrun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrun:
    """Whose items they are: what every outcome of the map says."""

    task: str
    run_id: str
    tags: tuple[str, ...]

    def upstream_failed(self, index: int, inputs: Mapping[str, Any], upstream: Outcome) -> Outcome:
        """It depends on an item of another map that has no value."""
        root = upstream.error
        while isinstance(root, TaskFailed) and isinstance(root.__cause__, TaskFailed):
            root = root.__cause__
        why = str(root) if root is not None else f"it ended as {upstream.state.value}"
        text = f"not run, because item {upstream.index} of {upstream.task!r}, which it depends on, has no value: {why}"
        return self._outcome(index, State.UPSTREAM_FAILED, text, inputs, cause=upstream.error)

    def cancelled(self, index: int, inputs: Mapping[str, Any], why: str) -> Outcome:
        """It did not begin, as far as anybody knows."""
        return self._outcome(index, State.CANCELLED, why, inputs)

    def refused(self, index: int, inputs: Mapping[str, Any], why: CrossdockError) -> Outcome:
        """It must not begin."""
        return self._outcome(index, State.FAILED, str(why), inputs, cause=why)

    def lost(self, index: int, inputs: Mapping[str, Any], error: BaseException) -> Outcome:
        """The runner's own trouble: its worker died, or what it answered cannot be read."""
        text = str(error) if isinstance(error, CrossdockError) else f"{type(error).__name__}: {error}"
        return self._outcome(index, State.FAILED, text, inputs, cause=error, attempts=1)

    def _outcome(
        self,
        index: int,
        state: State,
        text: str,
        inputs: Mapping[str, Any],
        *,
        cause: BaseException | None = None,
        attempts: int = 0,
    ) -> Outcome:
        shown = inputs_text(inputs)
        retry = retry_of(cause) if cause is not None else None
        error = TaskFailed(text, task=self.task, inputs=shown, retry=retry)
        error.__cause__ = cause
        return Outcome(
            index=index,
            state=state,
            task=self.task,
            run_id=self.run_id,
            error=error,
            inputs=error.inputs,
            attempts=attempts,
            tags=self.tags,
        )
