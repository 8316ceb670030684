"""One run of a task: attempts, each with its context and its crossing, ending in a value or in one error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from crossdock.combine.context import TaskContext, running
from crossdock.combine.crossing import Crossing
from crossdock.combine.inputs import inputs_text
from crossdock.combine.retrying import RetryPolicy, retry_of
from crossdock.errors import CrossdockError, Retry, TaskFailed

__all__ = ["Execution"]

R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Execution:
    """One call or one mapped item of a task, while it is tried. Belongs to one thread.

    Attributes:
        name: The task's name.
        policy: Its one retry scope.
        inputs: Its arguments by name, for the error's text only.
        phase: Where an attempt begins, and after a failure whose failure it was.
        attempts: How many were begun.
    """

    name: str
    policy: RetryPolicy
    inputs: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "task"
    run_id: str = ""
    item: int | None = None
    attempts: int = 0

    def call(self, body: Callable[[Crossing], R]) -> R:
        """Run ``body`` as often as the policy says; its own error comes through.

        Whatever crossed in an attempt is closed, and its scratch directory gone, when the attempt ends.
        """
        begins = self.phase

        def attempt(number: int) -> R:
            self.attempts = number
            crossing = Crossing(begins)
            with running(TaskContext(self.name, run_id=self.run_id, item=self.item, attempt=number)):
                return self._guarded(body, crossing)

        return self.policy.call(self.name, attempt)

    def _guarded(self, body: Callable[[Crossing], R], crossing: Crossing) -> R:
        try:
            result = body(crossing)
        except BaseException as error:
            self.phase = crossing.blame(error)
            try:
                crossing.close()
            except Exception as also:
                error.add_note(f"closing the first's stream failed too: {type(also).__name__}: {also}")
            raise
        try:
            crossing.close()
        except BaseException as error:
            self.phase = crossing.blame(error)
            raise
        return result

    def failed(self, error: BaseException) -> TaskFailed:
        """The one error a caller sees; raise it ``from error``."""
        retry = retry_of(error)
        if self.attempts > 1 and self.policy.wants(error):
            retry = Retry.EXHAUSTED
        text = str(error) if isinstance(error, CrossdockError) else f"{type(error).__name__}: {error}"
        return TaskFailed(
            text,
            task=self.name,
            phase=self.phase,
            inputs=inputs_text(self.inputs),
            attempts=max(self.attempts, 1),
            retry=retry,
            retry_after_s=getattr(error, "retry_after_s", None),
        )
