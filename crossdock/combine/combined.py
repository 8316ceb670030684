"""``CombinedTask``: two tasks as one, in one process, on one thread. What crosses never leaves it."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crossdock.combine.crossing import Crossing
from crossdock.combine.described import NOTHING, name_of
from crossdock.combine.execution import Execution
from crossdock.combine.guard import check_result
from crossdock.combine.join import Join, join_calls, open_call
from crossdock.combine.mapping import Mappable
from crossdock.combine.retrying import Delay, RetryOn, RetryPolicy, retry_policy
from crossdock.combine.stitch import Into, arguments, place
from crossdock.errors import CompositionError
from crossdock.tasks import Call, Task

__all__ = ["CombinedTask", "NeverRunWarning", "Settings", "combine", "run_join"]

Stitch = Callable[[Any], Any]


class NeverRunWarning(UserWarning):
    """A combined task was described and never run: a block alone does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for the pair as a whole."""

    stitch_function: Stitch | None = None
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    allow_large_result: bool = False


class _Use:
    """Whether a described task was ever run; shared with the finaliser, so it must not know the task."""

    __slots__ = ("name", "place", "used")

    def __init__(self, name: str, place: tuple[str, int]) -> None:
        self.name = name
        self.place = place
        self.used = False


class CombinedTask(Mappable, Task):
    """Two tasks as one: the first's output becomes the second's input, here, without ever being a result.

    Called, it runs both halves one after the other on this thread; a stream is pulled by the second while the first
    produces it. It has one name, one retry scope, one error and one context. Thread-safe and picklable as its halves
    are.

    Args:
        first: A task, or a bound call of it (``first.bind("k")``); its inputs are given or ``param(...)``.
        second: The same. Where its arguments show ``first`` is the open place; otherwise it is the first positional
            parameter that is not given.
        stitch_function: Maps the first's output to the second's input; see ``crossdock.combine.stitch``.
        name: What errors, metrics and Dask keys show.
        retries: Further attempts of the whole pair.
        retry_delay: Before each: seconds, a ``timedelta``, a list of them, or a function of the attempt's number.
        backoff: Each delay is this many times the one before.
        jitter: Up to this share of the delay is added at random.
        retry_on: Which errors: classes or a predicate; by default those that may pass.
        allow_large_result: Let a result above 1 MiB out without a warning, and above 16 MiB at all.

    Raises:
        CompositionError: The two cannot mean one thing; the text names them and says what to write.

    Example:
        >>> import crossdock as xd
        >>> read, count = xd.task(lambda word: word * 2), xd.task(len)
        >>> xd.CombinedTask(read.bind(xd.param("word")), count)(word="ab")
        4
    """

    is_combined = True
    _join: Join | None
    _use: _Use | None

    def __init__(
        self,
        first: Task | Call,
        second: Task | Call,
        *,
        stitch_function: Stitch | None = None,
        name: str = "",
        retries: int = 0,
        retry_delay: Delay = 0.0,
        backoff: float = 1.0,
        jitter: float = 0.0,
        retry_on: RetryOn | None = None,
        allow_large_result: bool = False,
    ) -> None:
        policy = retry_policy(
            retries=retries, retry_delay=retry_delay, backoff=backoff, jitter=jitter, retry_on=retry_on
        )
        join = join_calls(
            open_call(first, "first"),
            open_call(second, "second"),
            stitched=stitch_function is not None,
            written=first,
        )
        self._describe(
            name,
            Settings(stitch_function=stitch_function, policy=policy, allow_large_result=allow_large_result),
            join,
        )

    @classmethod
    def opened(cls, name: str, settings: Settings) -> CombinedTask:
        """A task whose block is still open: it has no halves yet."""
        self = cls.__new__(cls)
        self.name = name
        self._settings = settings
        self._join = None
        self._use = None
        return self

    def close_block(self, join: Join, place: tuple[str, int]) -> None:
        """Take the halves the block described; from now on, being dropped without a run is worth a warning."""
        self._describe(self.name, self._settings, join)
        self._use = _Use(self.name, place)
        weakref.finalize(self, _warn_if_never_run, self._use, os.getpid())

    def _describe(self, name: str, settings: Settings, join: Join) -> None:
        self.name = name or join.name
        self._settings = settings
        self._join = join
        self._use = None
        self.cached_signature = join.signature()

    @property
    def first(self) -> Task:
        """The half that produces."""
        return self._closed().first.task

    @property
    def second(self) -> Task:
        """The half that consumes."""
        return self._closed().second.task

    @property
    def __signature__(self) -> inspect.Signature:
        return self.cached_signature

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run both halves.

        Raises:
            TaskFailed: A half failed; it says which, with which inputs, after how many attempts, and why.
            CompositionError: The arguments are not this task's parameters; nothing ran.
        """
        values = self._values(args, kwargs)
        execution = Execution(name=self.name, policy=self._settings.policy, inputs=values, phase="source")
        try:
            return self._run_item(execution, values)
        except Exception as error:
            raise execution.failed(error) from error

    def map_target(self) -> tuple[str, Callable[..., Any], inspect.Signature | None]:
        """Name, the function for one item, and the signature: what ``map`` needs."""
        self._closed()
        return self.name, self._run_item, self.cached_signature

    def _run_item(self, execution: Execution, values: Mapping[str, Any], /) -> Any:
        join = self._closed()
        execution.phase, execution.policy = "source", self._settings.policy
        return run_join(join.filled({**self._defaults(join), **values}), self._settings, execution)

    def _defaults(self, join: Join) -> dict[str, Any]:
        return {each.name: each.default for each in join.params if each.default is not NOTHING}

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The combined task's own parameters, by name."""
        self._closed()
        if not args and not kwargs and not self.cached_signature.parameters:
            return {}
        try:
            return self.cached_signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise CompositionError(
                f"combined task {self.name!r} cannot be called like this: {error}",
                hint=f"its signature is {self.name}{self.cached_signature}",
            ) from None

    def _closed(self) -> Join:
        if self._join is None:
            raise CompositionError(
                f"combined task {self.name or 'one_task()'!r} cannot run: its block is still open, or failed",
                hint="call it after the with block",
            )
        if self._use is not None:
            self._use.used = True
        return self._join

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.name, self._settings, self._closed())

    def __repr__(self) -> str:
        if self._join is None:
            return f"<combined task {self.name} (block open)>"
        return f"<combined task {self.name}{self.cached_signature}>"


def run_join(join: Join, settings: Settings, execution: Execution) -> Any:
    """Run a pair with real values: first, stitch, second; then close what crossed.

    Raises:
        BaseException: What the last attempt raised; ``execution.phase`` says whose it was.
    """

    def body(crossing: Crossing) -> Any:
        output = crossing.take(join.first.task.run(*join.first.args, **join.first.kwargs), "source")
        if settings.stitch_function is None:
            args, kwargs = place(join.second, output)
        else:
            crossing.phase = "stitch"
            stitched = settings.stitch_function(output)
            if isinstance(stitched, Into):
                stitched.main = _taken(crossing, stitched.main, output)
            else:
                stitched = _taken(crossing, stitched, output)
            args, kwargs = arguments(join.second, stitched)
        crossing.phase = "sink"
        result = _no_coroutine(join.second.task.run(*args, **kwargs), join)
        check_result(execution.name, result, allow_large=settings.allow_large_result)
        return result

    return execution.call(body)


def _taken(crossing: Crossing, stitched: Any, output: Any) -> Any:
    """What the stitch function made; the first's own output, passed on, is not taken twice."""
    return stitched if stitched is output else crossing.take(stitched, "stitch")


def _no_coroutine(result: Any, join: Join) -> Any:
    """The second's result; a coroutine means it is async after all.

    Raises:
        CompositionError: It is a coroutine.
    """
    if inspect.iscoroutine(result):
        result.close()
        raise CompositionError(
            f"task {name_of(join.second.task)!r} returned a coroutine; tasks are synchronous"
        )
    return result


def combine(
    first: Task | Call,
    second: Task | Call,
    *,
    stitch_function: Stitch | None = None,
    name: str = "",
    retries: int = 0,
    retry_delay: Delay = 0.0,
    backoff: float = 1.0,
    jitter: float = 0.0,
    retry_on: RetryOn | None = None,
    allow_large_result: bool = False,
) -> CombinedTask:
    """Two tasks as one; the same as ``CombinedTask(first, second, ...)``."""
    return CombinedTask(
        first,
        second,
        stitch_function=stitch_function,
        name=name,
        retries=retries,
        retry_delay=retry_delay,
        backoff=backoff,
        jitter=jitter,
        retry_on=retry_on,
        allow_large_result=allow_large_result,
    )


def _rebuild(name: str, settings: Settings, join: Join) -> CombinedTask:
    task = CombinedTask.opened(name, settings)
    task._describe(name, settings, join)  # noqa: SLF001 - the other half of __reduce__
    return task


def _warn_if_never_run(use: _Use, pid: int) -> None:
    """The finaliser: also runs at interpreter exit, but not in a forked child."""
    if use.used or pid != os.getpid() or sys.is_finalizing():
        return
    warnings.warn_explicit(
        f"combined task {use.name!r} was described and never run; "
        f"write `with one_task({use.name!r}) as t: ...` and call t()",
        NeverRunWarning,
        *use.place,
    )
