"""``one_task``: two calls written as a plain nested call become one combined task.

As a context manager the two calls are described once, with ``param(...)`` where values come later. As a decorator the
function's body is traced on each call, with the real values, and then the two halves run.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from crossdock.combine.combined import CombinedTask, Stitch, called, destination_of, run_join
from crossdock.combine.described import (
    Shape,
    check_call,
    check_described,
    check_function,
    check_stitch,
    name_of,
    read_signature,
)
from crossdock.combine.execution import Execution
from crossdock.combine.join import Join, join_calls
from crossdock.combine.mapping.mappable import Mappable, MapTarget
from crossdock.combine.reference import importable_name, imported
from crossdock.combine.settings import Settings, TaskOptions, settings_of, updated
from crossdock.errors import CompositionError
from crossdock.tasks import Call, Task, active_recorder, recording

__all__ = ["Block", "TracedTask", "one_task"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Notes:
    """The recorder of one block: notes calls on its thread and joins them when the block closes."""

    def __init__(self, name: str) -> None:
        self._name = name or "one_task()"
        self._calls: list[Call] = []

    def describe(self, task: Task, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call:
        """Note one call; a bare task among its arguments is that task's call without arguments."""
        if getattr(task, "is_combined", False):
            raise CompositionError(
                f"{name_of(task)!r} is a combined task and cannot be a half of {self._name!r}",
                hint="call it outside the block; exactly two plain tasks make one",
            )
        call = Call(
            task=task,
            args=tuple(map(self._argument, args)),
            kwargs={name: self._argument(value) for name, value in kwargs.items()},
        )
        check_described(task, call.args, call.kwargs or {})
        self._calls.append(call)
        return call

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Task):
            return self.describe(value, (), {})
        if isinstance(value, Call) and value not in self._calls:
            raise CompositionError(f"{value!r} was described outside the block {self._name!r}")
        return value

    def join(self, *, stitched: bool) -> Join:
        """Put the two calls together."""
        if len(self._calls) != 2:
            seen = ", ".join(repr(name_of(call.task)) for call in self._calls) or "none"
            raise CompositionError(
                f"block {self._name!r} holds {len(self._calls)} task calls ({seen}), not exactly two",
                hint="write second(first(...)); further steps belong into one of the halves or into a stitch_function",
            )
        first, second = self._calls
        crossing = [value for value in (*second.args, *(second.kwargs or {}).values()) if value is first]
        if not crossing:
            raise CompositionError(
                f"no open place: neither {name_of(first.task)!r} nor {name_of(second.task)!r} takes the other's output",
                hint=f"write {name_of(second.task)}({name_of(first.task)}(...))",
            )
        return join_calls(first, second, stitched=stitched, checked=True)

    @property
    def last(self) -> Call | None:
        """The call made last: the second's."""
        return self._calls[-1] if self._calls else None


def _refuse_nesting(name: str) -> None:
    if active_recorder() is not None:
        raise CompositionError(
            f"one_task() block {name!r} is opened inside another one",
            hint="close the outer block first; a combined task has exactly two halves",
        )


class Block:
    """What ``one_task(...)`` gives: use it once in a ``with`` statement, or as a decorator on any number of functions.

    A block belongs to the thread that opened it: calls made on other threads run as usual.
    """

    def __init__(self, name: str, stitch_function: Stitch | None, settings: Settings) -> None:
        self._name = name
        self._stitch_function = stitch_function
        self._settings = settings
        self._task: CombinedTask | None = None

    def __enter__(self) -> CombinedTask:
        _refuse_nesting(self._name)
        if self._task is not None:
            raise CompositionError(
                f"block {self._name!r} was opened before", hint="write one_task(...) again"
            )
        caller = sys._getframe(1)  # noqa: SLF001 - the line to point at if the task is never run
        self._place = (caller.f_code.co_filename, caller.f_lineno)
        self._thread = threading.get_ident()
        self._notes = _Notes(self._name)
        self._recording = recording(self._notes)
        self._task = CombinedTask.opened(self._name, self._stitch_function, self._settings)
        self._recording.__enter__()
        return self._task

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.get_ident() != self._thread:
            raise CompositionError(
                f"block {self._name!r} is closed on another thread than the one that opened it"
            )
        self._recording.__exit__(kind, error, trace)
        task, self._task = self._task, None
        if error is None and task is not None:
            join = self._notes.join(stitched=self._stitch_function is not None)
            task.close_block(join, self._place)
            self._task = task

    def __call__(self, function: Callable[P, R], /) -> TracedTask[P, R]:
        """Decorate a function whose body writes ``second(first(...))``."""
        return TracedTask(function, self._name, self._stitch_function, self._settings)


class TracedTask(Mappable, Task, Generic[P, R_co]):
    """A function under ``@one_task``: each call is traced with its real values, then the two halves run.

    Its signature and type hints are the function's.
    """

    is_combined = True

    def __init__(
        self, function: Callable[P, R_co], name: str, stitch_function: Stitch | None, settings: Settings
    ) -> None:
        if isinstance(function, Task):
            raise CompositionError(
                f"{name_of(function)!r} is a task already",
                hint="decorate a function that writes second(first(...))",
            )
        self.name = name or getattr(function, "__name__", type(function).__name__)
        check_function(self.name, function)
        self.function = function
        self.settings = settings
        self._stitch_function = stitch_function
        functools.update_wrapper(self, function, updated=())

    @property
    def signature_of(self) -> Callable[..., Any]:
        """The function itself."""
        return self.function

    @functools.cached_property
    def shape(self) -> Shape:
        """The function's signature, read once."""
        return Shape(read_signature(self.function))

    @property
    def cached_signature(self) -> inspect.Signature | None:
        """The function's signature; ``None`` for a builtin that does not say."""
        return self.shape.signature

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Trace, then run both halves; see ``CombinedTask.run``."""
        return super().__call__(*args, **kwargs)  # type: ignore[no-any-return]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Trace the function with these values and run the pair it describes.

        Raises:
            TaskFailed: A half failed.
            CompositionError: The arguments do not fit, or the function does not describe exactly two calls.
        """
        check_call(self, args, kwargs, whole=True)
        join = self._trace(args, kwargs)
        execution = Execution(
            name=self.name, settings=self.settings, ask_inputs=lambda: self._values(args, kwargs)
        )
        return called(
            execution, lambda: run_join(join, self._stitch_function, execution, self.cached_signature)
        )

    def with_options(self, *, name: str = "", **options: Unpack[TaskOptions]) -> TracedTask[P, R_co]:
        """The same task with some options changed; see ``TaskOptions``.

        Raises:
            ConfigError: An option is unknown or makes no sense.
        """
        settings = updated(self.settings, options)
        return TracedTask(self.function, name or self.name, self._stitch_function, settings)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method, it is bound as the function would be."""
        if instance is None:
            return self
        return TracedTask(
            self.function.__get__(instance, owner), self.name, self._stitch_function, self.settings
        )

    def map_target(self) -> MapTarget:
        """What ``map`` needs."""
        return MapTarget(
            name=self.name,
            run=self._run_item,
            signature=self.cached_signature,
            settings=self.settings,
            destination=self._destination,
        )

    def _run_item(self, execution: Execution, values: Mapping[str, Any], /) -> Any:
        return run_join(self._traced(values), self._stitch_function, execution, self.cached_signature)

    def _destination(self, values: Mapping[str, Any], /) -> str | None:
        return destination_of(self._traced(values), self._stitch_function)

    def _traced(self, values: Mapping[str, Any]) -> Join:
        if self.cached_signature is None:
            return self._trace((), dict(values))
        bound = inspect.BoundArguments(self.cached_signature, dict(values))
        return self._trace(bound.args, bound.kwargs)

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Join:
        _refuse_nesting(self.name)
        notes = _Notes(self.name)
        with recording(notes):
            returned: Any = self.function(*args, **kwargs)
        join = notes.join(stitched=self._stitch_function is not None)
        if returned is not None and returned is not notes.last:
            raise CompositionError(
                f"the function of combined task {self.name!r} returns {type(returned).__name__}, not its second call",
                hint=f"write `return {name_of(join.second.task)}({name_of(join.first.task)}(...))`",
            )
        return join

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        """The arguments by name: for the text of an error, so only read when there is one."""
        known = self.cached_signature
        return kwargs if known is None else known.bind(*args, **kwargs).arguments

    def __reduce__(self) -> tuple[Any, ...]:
        place = importable_name(self, self.function)
        if place is not None:
            return imported, place
        return TracedTask, (self.function, self.name, self._stitch_function, self.settings)

    def __repr__(self) -> str:
        return f"<combined task {self.name}{self.cached_signature}>"


@overload
def one_task(function: Callable[P, R], /) -> TracedTask[P, R]: ...


@overload
def one_task(
    name: str = "", *, stitch_function: Stitch | None = None, **options: Unpack[TaskOptions]
) -> Block: ...


def one_task(name: Any = "", *, stitch_function: Stitch | None = None, **options: Unpack[TaskOptions]) -> Any:
    """Combine two tasks by writing their nested call, in a ``with`` block or in a decorated function.

    Args:
        name: What errors, metrics and Dask keys show.
        stitch_function: Maps the first's output to the second's input.
        **options: What holds for the pair as a whole: ``retries``, ``retry_delay``, ``backoff``, ``jitter``, ``retry_on``, ``timeout``,
            ``total_timeout``, ``cache``, ``on_success``, ``on_failure``, ``on_completion``, ``scratch_quota``,
            ``keep_scratch``, ``allow_large_result``, ``tags``: see ``xd.TaskOptions``.

    Raises:
        CompositionError: Not exactly two tasks, not exactly one open place, a missing input, a nested block, ...
        ConfigError: An option is unknown or makes no sense.

    Example:
        >>> import crossdock as xd
        >>> read, count = xd.task(lambda word: word * 2), xd.task(len)
        >>> with xd.one_task("measure") as measure:
        ...     count(read(xd.param("word")))
        >>> measure(word="ab")
        4
    """
    settings = settings_of(options)
    check_stitch(stitch_function)
    if callable(name):
        return Block("", stitch_function, settings)(name)
    return Block(name, stitch_function, settings)
