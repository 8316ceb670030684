"""``CombinedTask``: two tasks as one, in one process, on one thread. What crosses never leaves it."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from crossdock.combine.caching.key import Step, Work
from crossdock.combine.crossing import Crossing
from crossdock.combine.described import NOTHING, check_stitch, name_of
from crossdock.combine.execution import Execution
from crossdock.combine.guard import check_result
from crossdock.combine.join import Join, join_calls, open_call
from crossdock.combine.mapping.mappable import Mappable, MapTarget
from crossdock.combine.settings import Settings, TaskOptions, settings_of, updated
from crossdock.combine.stitch import Into, arguments, place
from crossdock.errors import CompositionError
from crossdock.tasks import Call, Task

__all__ = ["CombinedTask", "NeverRunWarning", "combine", "run_join"]

Stitch = Callable[[Any], Any]


class NeverRunWarning(UserWarning):
    """A combined task was described and never run: a block alone does nothing."""


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
        **options: What holds for the pair as a whole: ``retries``, ``retry_delay``, ``backoff``, ``jitter``, ``retry_on``, ``timeout``,
            ``total_timeout``, ``cache``, ``on_success``, ``on_failure``, ``on_completion``, ``scratch_quota``,
            ``keep_scratch``, ``allow_large_result``, ``tags``: see ``xd.TaskOptions``.

    Raises:
        CompositionError: The two cannot mean one thing; the text names them and says what to write.
        ConfigError: An option is unknown or makes no sense.

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
        **options: Unpack[TaskOptions],
    ) -> None:
        settings = settings_of(options)
        check_stitch(stitch_function)
        join = join_calls(
            open_call(first, "first"),
            open_call(second, "second"),
            stitched=stitch_function is not None,
            written=first,
        )
        self._describe(name, stitch_function, settings, join)

    @classmethod
    def opened(cls, name: str, stitch_function: Stitch | None, settings: Settings) -> CombinedTask:
        """A task whose block is still open: it has no halves yet."""
        self = cls.__new__(cls)
        self.name = name
        self.stitch_function = stitch_function
        self.settings = settings
        self._join = None
        self._use = None
        return self

    def close_block(self, join: Join, place: tuple[str, int]) -> None:
        """Take the halves the block described; from now on, being dropped without a run is worth a warning."""
        self._describe(self.name, self.stitch_function, self.settings, join)
        self._use = _Use(self.name, place)
        weakref.finalize(self, _warn_if_never_run, self._use, os.getpid())

    def _describe(self, name: str, stitch_function: Stitch | None, settings: Settings, join: Join) -> None:
        self.name = name or join.name
        self.stitch_function = stitch_function
        self.settings = settings
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
        execution = Execution(name=self.name, settings=self.settings, inputs=values)
        return called(execution, lambda: self._run_item(execution, values))

    def with_options(self, *, name: str = "", **options: Unpack[TaskOptions]) -> CombinedTask:
        """The same pair with some options changed; see ``TaskOptions``.

        Raises:
            ConfigError: An option is unknown or makes no sense.
        """
        return _rebuild(
            name or self.name, self.stitch_function, updated(self.settings, options), self._closed()
        )

    def map_target(self) -> MapTarget:
        """What ``map`` needs."""
        self._closed()
        return MapTarget(
            name=self.name,
            run=self._run_item,
            signature=self.cached_signature,
            settings=self.settings,
            destination=self._destination if hasattr(self.second, "destination") else None,
        )

    def _run_item(self, execution: Execution, values: Mapping[str, Any], /) -> Any:
        return run_join(self._filled(values), self.stitch_function, execution, self.cached_signature)

    def _destination(self, values: Mapping[str, Any], /) -> str | None:
        return destination_of(self._filled(values), self.stitch_function)

    def _filled(self, values: Mapping[str, Any]) -> Join:
        join = self._closed()
        return join.filled({**self._defaults(join), **values})

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
        return _rebuild, (self.name, self.stitch_function, self.settings, self._closed())

    def __repr__(self) -> str:
        if self._join is None:
            return f"<combined task {self.name} (block open)>"
        return f"<combined task {self.name}{self.cached_signature}>"


def called(execution: Execution, run: Callable[[], Any]) -> Any:
    """One call of a pair: its value, or one ``TaskFailed``; its hooks hear of either.

    Raises:
        TaskFailed: A half failed.
        CompositionError: The two cannot mean one thing, or the arguments are not the task's parameters.
    """
    hooks = execution.settings.hooks
    try:
        value = run()
    except Exception as error:
        failure = execution.failed(error)
        failure.__cause__ = error
        if hooks:
            hooks.fire(execution.outcome(failure=failure))
        raise failure from error
    if hooks:
        hooks.fire(execution.outcome(value))
    return value


def run_join(
    join: Join, stitch_function: Stitch | None, execution: Execution, signature: inspect.Signature | None
) -> Any:
    """Run a pair with real values: first, stitch, second; then close what crossed.

    ``signature`` is the pair's own.

    Raises:
        BaseException: What the last attempt raised; ``execution.phase`` says whose it was.
    """

    def body(crossing: Crossing) -> Any:
        output = crossing.take(join.first.task.run(*join.first.args, **join.first.kwargs), "source")
        if stitch_function is None:
            args, kwargs = place(join.second, output)
        else:
            crossing.phase = "stitch"
            stitched = stitch_function(output)
            if isinstance(stitched, Into):
                stitched.main = _taken(crossing, stitched.main, output)
            else:
                stitched = _taken(crossing, stitched, output)
            args, kwargs = arguments(join.second, stitched)
        crossing.phase = "sink"
        result = _no_coroutine(join.second.task.run(*args, **kwargs), join)
        check_result(execution.name, result, allow_large=execution.settings.allow_large_result)
        return result

    def work() -> Work:
        steps = tuple(Step(half.task, half.args, half.kwargs) for half in (join.first, join.second))
        return execution.work(steps, signature, stitch_function)

    execution.phase = "source"
    return execution.call(body, work)


def destination_of(join: Join, stitch_function: Stitch | None) -> str | None:
    """Where a pair with real values would write, if its halves can say so before they run.

    The second says it with ``destination``, which is called as ``run`` would be, but with a name instead of the first's
    output: what the first's ``output_name`` gives for its arguments, or ``None`` where a stitch function or the run
    itself still decides.
    """
    placed = getattr(join.second.task, "destination", None)
    if not callable(placed):
        return None
    named = getattr(join.first.task, "output_name", None) if stitch_function is None else None
    name = named(*join.first.args, **join.first.kwargs) if callable(named) else None
    args, kwargs = place(join.second, name)
    found = placed(*args, **kwargs)
    return found if isinstance(found, str) else None


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
    **options: Unpack[TaskOptions],
) -> CombinedTask:
    """Two tasks as one; the same as ``CombinedTask(first, second, ...)``."""
    return CombinedTask(first, second, stitch_function=stitch_function, name=name, **options)


def _rebuild(name: str, stitch_function: Stitch | None, settings: Settings, join: Join) -> CombinedTask:
    task = CombinedTask.opened(name, stitch_function, settings)
    task._describe(name, stitch_function, settings, join)  # noqa: SLF001 - the other half of __reduce__
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
