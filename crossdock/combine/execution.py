"""One run of a task: the cache, then attempts, each with its context and its crossing, ending in a value or an error.

The order is one for all tasks: ask the cache; try, as often as the policy says, each attempt watched if it has limits;
keep the result. Whoever called or mapped the task then fires the hooks.
"""

from __future__ import annotations

import inspect
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from crossdock.combine.caching.key import Step, Work
from crossdock.combine.context import TaskContext, running
from crossdock.combine.crossing import Crossing
from crossdock.combine.inputs import inputs_text
from crossdock.combine.meter import Meter
from crossdock.combine.retrying import retry_of
from crossdock.combine.settings import DEFAULTS, Settings
from crossdock.errors import CrossdockError, Retry, TaskFailed
from crossdock.events import listening
from crossdock.model import Outcome, Receipt, State

__all__ = ["Execution"]

R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Execution:
    """One call or one mapped item of a task, while it is tried. Belongs to one thread.

    Attributes:
        name: The task's name.
        settings: Its one scope of retries, timeouts, cache and scratch.
        inputs: Its arguments by name, for texts and for a cache's own key.
        ask_inputs: The same, for who would have to work them out; asked when they are needed.
        phase: Where an attempt begins, and after a failure whose failure it was.
        attempts: How many were begun.
        state: ``DONE``, or ``CACHED`` if the body did not run.
    """

    name: str
    settings: Settings = DEFAULTS
    inputs: Mapping[str, Any] = field(default_factory=dict)
    ask_inputs: Callable[[], Mapping[str, Any]] | None = None
    phase: str = "task"
    run_id: str = ""
    item: int | None = None
    attempts: int = 0
    state: State = State.DONE
    meter: Meter = field(default_factory=Meter)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    def named_inputs(self) -> Mapping[str, Any]:
        """Its arguments by name."""
        if self.ask_inputs is not None:
            self.inputs, self.ask_inputs = self.ask_inputs(), None
        return self.inputs

    def work(
        self,
        steps: tuple[Step, ...],
        signature: inspect.Signature | None,
        stitch_function: Callable[[Any], Any] | None = None,
    ) -> Work:
        """What is done with which inputs, for the cache."""

        def values() -> Mapping[str, Any]:
            known = signature.parameters.values() if signature is not None else ()
            defaults = {each.name: each.default for each in known if each.default is not each.empty}
            return {**defaults, **self.named_inputs()}

        return Work(
            name=self.name,
            steps=steps,
            stitch_function=stitch_function,
            values=values,
            run_id=self.run_id,
            allow_large=self.settings.allow_large_result,
        )

    def call(self, body: Callable[[Crossing], R], work: Callable[[], Work] | None = None) -> R:
        """Run ``body`` as often as the policy says, unless the cache has its result; its own error comes through.

        Whatever crossed in an attempt is closed, and its scratch directory gone, when the attempt ends.

        Args:
            body: One attempt.
            work: What is done with which inputs, for the cache's key; only asked for if there is a cache.
        """
        cache = self.settings.cache
        if cache is None or work is None:
            return self._attempts(body)
        begins, self.phase = self.phase, "cache"
        kept = cache.recall(work())
        if kept.hit:
            self.state = State.CACHED
            return kept.value  # type: ignore[no-any-return]
        self.phase = begins
        result = self._attempts(body)
        self.phase = "cache"
        kept.keep(result)
        return result

    def _attempts(self, body: Callable[[Crossing], R]) -> R:
        begins = self.phase
        supervise = self.settings.supervised

        def attempt(number: int) -> R:
            self.attempts = number
            self.meter.restart()
            crossing = Crossing(begins, pulled=self.meter.touch if supervise else None)
            context = TaskContext(
                self.name,
                run_id=self.run_id,
                item=self.item,
                attempt=number,
                tags=self.settings.tags,
                keep_scratch=self.settings.keep_scratch == "on_failure",
                meter=self.meter,
            )
            with running(context), listening(self.meter) as before:
                self.meter.forward_to(before)
                if not supervise:
                    return self._guarded(body, crossing)
                return self._watched(body, crossing, context)

        return self.settings.policy.call(self.name, attempt)

    def _watched(self, body: Callable[[Crossing], R], crossing: Crossing, context: TaskContext) -> R:
        from crossdock.combine.supervision import supervised  # ctypes, which only watched tasks pay

        self.phase = ""
        try:
            return supervised(
                lambda: self._guarded(body, crossing),
                settings=self.settings,
                meter=self.meter,
                context=context,
                crossing=crossing,
            )
        finally:
            self.phase = self.phase or crossing.phase

    def _guarded(self, body: Callable[[Crossing], R], crossing: Crossing) -> R:
        try:
            result = body(crossing)
            crossing.check_read()
            crossing.commit()
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
        if self.attempts > 1 and self.settings.policy.wants(error):
            retry = Retry.EXHAUSTED
        text = str(error) if isinstance(error, CrossdockError) else f"{type(error).__name__}: {error}"
        return TaskFailed(
            text,
            task=self.name,
            phase=self.phase,
            inputs=inputs_text(self.named_inputs()),
            attempts=max(self.attempts, 1),
            retry=retry,
            retry_after_s=getattr(error, "retry_after_s", None),
        )

    def outcome(self, value: Any = None, failure: TaskFailed | None = None) -> Outcome:
        """How it ended, as data: one row for the pair."""
        receipt = value if isinstance(value, Receipt) else None
        cached = self.state is State.CACHED
        return Outcome(
            index=self.item or 0,
            state=self.state if failure is None else State.FAILED,
            task=self.name,
            run_id=self.run_id,
            value=value,
            error=failure,
            inputs=inputs_text(self.named_inputs()) if failure is None else failure.inputs,
            attempts=0 if cached else max(self.attempts, 1),
            started=self.started,
            duration_s=time.perf_counter() - self.clock,
            worker=_here(),
            bytes=receipt.size if receipt is not None and not cached else self.meter.bytes,
            objects=_objects_of(receipt) if receipt is not None and not cached else self.meter.objects,
            rows=receipt.rows if receipt is not None and receipt.rows and not cached else self.meter.rows,
            tags=self.settings.tags,
        )


def _objects_of(receipt: Receipt) -> int:
    """How many objects a receipt is of: a dataset's says so, and a table's, which has neither version nor digest, is of none."""
    said = getattr(receipt, "objects", None)
    if said is not None:
        return int(said)
    return 1 if receipt.version or receipt.digests else 0


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
