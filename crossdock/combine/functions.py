"""``task``: a function becomes a task and stays a function: called anywhere, it runs here and now.

Inside a ``one_task()`` block its call is only described. It keeps its signature and type hints, for ``help()`` and
for type checkers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from crossdock.combine.caching.key import Step, Work
from crossdock.combine.described import Shape, check_function, innermost, name_of, read_signature, settled
from crossdock.combine.execution import Execution
from crossdock.combine.mapping.mappable import Mappable, MapTarget
from crossdock.combine.reference import importable_name, imported
from crossdock.combine.settings import DEFAULTS, Settings, TaskOptions, settings_of, updated
from crossdock.errors import CompositionError
from crossdock.tasks import Task, active_recorder

__all__ = ["FunctionTask", "task"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class FunctionTask(Mappable, Task, Generic[P, R_co]):
    """A function as a task. Made by ``xd.task``."""

    def __init__(self, function: Callable[P, R_co], *, name: str = "", settings: Settings = DEFAULTS) -> None:
        inner = innermost(function)
        self.name = name or getattr(inner, "__name__", "") or type(function).__name__
        if self.name == "__call__":
            self.name = type(function).__name__
        check_function(self.name, function)
        self.function = function
        self.settings = settings
        functools.update_wrapper(self, function, updated=())
        self.__wrapped__ = function

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

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, once, without a context of its own: how a pair calls its halves."""
        return settled(self.name, self.function(*args, **kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run here and now, or be described if a block is open on this thread.

        Raises:
            BaseException: What the function's last attempt raised, unchanged.
        """
        recorder = active_recorder()
        if recorder is not None:
            return recorder.describe(self, args, kwargs)  # type: ignore[return-value]
        execution = Execution(name=self.name, settings=self.settings)
        if not self.settings.hooks:
            return self._call(execution, args, kwargs)  # type: ignore[no-any-return]
        execution.inputs = self._values(args, kwargs)
        try:
            value = self._call(execution, args, kwargs)
        except Exception as error:
            failure = execution.failed(error)
            failure.__cause__ = error
            self.settings.hooks.fire(execution.outcome(failure=failure))
            raise
        self.settings.hooks.fire(execution.outcome(value))
        return value  # type: ignore[no-any-return]

    def _call(self, execution: Execution, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return execution.call(
            lambda _: self.run(*args, **kwargs),
            lambda: self._work(execution, Step(self, args, kwargs)),
        )

    def _work(self, execution: Execution, step: Step) -> Work:
        if not execution.inputs:
            execution.ask_inputs = lambda: self._values(step.args, step.kwargs)
        return execution.work((step,), self.cached_signature)

    def _values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments by name, defaults among them."""
        known = self.cached_signature
        if known is None:
            return {**{f"argument {number}": each for number, each in enumerate(args)}, **kwargs}
        bound = known.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def with_options(self, *, name: str = "", **options: Unpack[TaskOptions]) -> Self:
        """The same task with some options changed; see ``TaskOptions``.

        Raises:
            ConfigError: An option is unknown or makes no sense.
        """
        return type(self)(self.function, name=name or self.name, settings=updated(self.settings, options))

    def __crossdock_fingerprint__(self) -> Any:
        """What it is, for the hash of its work: its name and its function."""
        return self.name, self.function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method, it is bound as the function would be."""
        if instance is None:
            return self
        return FunctionTask(self.function.__get__(instance, owner), name=self.name, settings=self.settings)

    def map_target(self) -> MapTarget:
        """What ``map`` needs."""
        return MapTarget(
            name=self.name, run=self._run_item, signature=self.cached_signature, settings=self.settings
        )

    def _run_item(self, execution: Execution, values: Mapping[str, Any], /) -> Any:
        known = self.cached_signature
        if known is None:
            return self._call(execution, (), values)
        bound = inspect.BoundArguments(known, dict(values))
        return self._call(execution, bound.args, bound.kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        place = importable_name(self, self.function)
        if place is not None:
            return imported, place
        return _rebuild, (self.function, self.name, self.settings)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def _rebuild(function: Callable[..., Any], name: str, settings: Settings) -> FunctionTask[..., Any]:
    return FunctionTask(function, name=name, settings=settings)


@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...


@overload
def task(
    *, name: str = "", **options: Unpack[TaskOptions]
) -> Callable[[Callable[P, R]], FunctionTask[P, R]]: ...


@overload
def task(
    function: Callable[P, R], /, *, name: str = "", **options: Unpack[TaskOptions]
) -> FunctionTask[P, R]: ...


def task(
    function: Callable[..., Any] | None = None, /, *, name: str = "", **options: Unpack[TaskOptions]
) -> Any:
    """Make a function, bound method, partial or callable object a task; also a decorator, with or without options.

    Args:
        function: What to run. Not async.
        name: What errors, metrics and Dask keys show; the function's name by default.
        **options: What holds when it is called or mapped by itself (a half of a pair takes the pair's):
            ``retries``, ``retry_delay``, ``backoff``, ``jitter``, ``retry_on``, ``timeout``,
            ``total_timeout``, ``cache``, ``on_success``, ``on_failure``, ``on_completion``, ``scratch_quota``,
            ``keep_scratch``, ``allow_large_result``, ``tags``: see ``xd.TaskOptions``.

    Raises:
        CompositionError: It is async, not callable, or a task already.
        ConfigError: An option is unknown or makes no sense.

    Example:
        >>> @task
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double(21)
        42
    """
    settings = settings_of(options)

    def wrap(wrapped: Callable[..., Any]) -> FunctionTask[..., Any]:
        if isinstance(wrapped, Task):
            raise CompositionError(
                f"{name_of(wrapped)!r} is a task already",
                hint="change its options with .with_options(...)"
                if isinstance(wrapped, Mappable)
                else "give its run: xd.task(instance.run, name=...)",
            )
        if isinstance(wrapped, type) and issubclass(wrapped, Task):
            raise CompositionError(
                f"{wrapped.__name__} is a class of tasks, not a task",
                hint=f"make one and give its run: xd.task({wrapped.__name__}(...).run)",
            )
        return FunctionTask(wrapped, name=name, settings=settings)

    return wrap if function is None else wrap(function)
