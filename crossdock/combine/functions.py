"""``task``: a function becomes a task and stays a function: called anywhere, it runs here and now.

Inside a ``one_task()`` block its call is only described. It keeps its signature and type hints, for ``help()`` and
for type checkers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, overload

from crossdock.combine.described import Shape, check_function, innermost, read_signature
from crossdock.combine.execution import Execution
from crossdock.combine.mapping import Mappable
from crossdock.combine.reference import importable_name, imported
from crossdock.combine.retrying import Delay, RetryOn, RetryPolicy, retry_policy
from crossdock.errors import CompositionError
from crossdock.tasks import Task, active_recorder

__all__ = ["FunctionTask", "task"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")

_ONCE = RetryPolicy()


class FunctionTask(Mappable, Task, Generic[P, R_co]):
    """A function as a task. Made by ``xd.task``."""

    def __init__(self, function: Callable[P, R_co], *, name: str = "", policy: RetryPolicy = _ONCE) -> None:
        inner = innermost(function)
        self.name = name or getattr(inner, "__name__", "") or type(function).__name__
        if self.name == "__call__":
            self.name = type(function).__name__
        check_function(self.name, function)
        self.function = function
        self.policy = policy
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

    @property
    def has_retries(self) -> bool:
        """Whether it is tried again by itself; a half of a pair must not be."""
        return self.policy.retries > 0

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, once, without a context of its own: how a pair calls its halves."""
        return self.function(*args, **kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run here and now, or be described if a block is open on this thread.

        Raises:
            BaseException: What the function's last attempt raised, unchanged.
        """
        recorder = active_recorder()
        if recorder is not None:
            return recorder.describe(self, args, kwargs)  # type: ignore[return-value]
        return Execution(name=self.name, policy=self.policy).call(lambda _: self.function(*args, **kwargs))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method, it is bound as the function would be."""
        if instance is None:
            return self
        return FunctionTask(self.function.__get__(instance, owner), name=self.name, policy=self.policy)

    def map_target(self) -> tuple[str, Callable[..., Any], inspect.Signature | None]:
        """Name, the function for one item, and the signature: what ``map`` needs."""
        return self.name, self._run_item, self.cached_signature

    def _run_item(self, execution: Execution, values: Mapping[str, Any], /) -> Any:
        execution.policy = self.policy
        known = self.cached_signature
        if known is None:
            return execution.call(lambda _: self.run(**values))
        bound = inspect.BoundArguments(known, dict(values))
        return execution.call(lambda _: self.run(*bound.args, **bound.kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        place = importable_name(self, self.function)
        if place is not None:
            return imported, place
        return _rebuild, (self.function, self.name, self.policy)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def _rebuild(function: Callable[..., Any], name: str, policy: RetryPolicy) -> FunctionTask[..., Any]:
    return FunctionTask(function, name=name, policy=policy)


@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...


@overload
def task(
    *,
    name: str = "",
    retries: int = 0,
    retry_delay: Delay = 0.0,
    backoff: float = 1.0,
    jitter: float = 0.0,
    retry_on: RetryOn | None = None,
) -> Callable[[Callable[P, R]], FunctionTask[P, R]]: ...


@overload
def task(
    function: Callable[P, R],
    /,
    *,
    name: str = "",
    retries: int = 0,
    retry_delay: Delay = 0.0,
    backoff: float = 1.0,
    jitter: float = 0.0,
    retry_on: RetryOn | None = None,
) -> FunctionTask[P, R]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    retries: int = 0,
    retry_delay: Delay = 0.0,
    backoff: float = 1.0,
    jitter: float = 0.0,
    retry_on: RetryOn | None = None,
) -> Any:
    """Make a function, bound method, partial or callable object a task; also a decorator, with or without options.

    Args:
        function: What to run. Not async.
        name: What errors, metrics and Dask keys show; the function's name by default.
        retries: Further attempts, when called or mapped by itself; a half of a pair takes the pair's.
        retry_delay: See ``one_task``.
        backoff: See ``one_task``.
        jitter: See ``one_task``.
        retry_on: See ``one_task``.

    Raises:
        CompositionError: It is async, not callable, or a task already.

    Example:
        >>> @task
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> double(21)
        42
    """
    policy = retry_policy(
        retries=retries, retry_delay=retry_delay, backoff=backoff, jitter=jitter, retry_on=retry_on
    )

    def wrap(wrapped: Callable[..., Any]) -> FunctionTask[..., Any]:
        if isinstance(wrapped, Task):
            raise CompositionError(f"{wrapped!r} is a task already")
        return FunctionTask(wrapped, name=name, policy=policy)

    return wrap if function is None else wrap(function)
