"""What a task is: a function that runs when called, or is described when a ``one_task()`` block is open.

This root module holds only what sources and sinks need to be tasks: the base class, the described call and the
hook by which ``crossdock.combine`` listens. Combining itself lives there.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable

from crossdock.errors import CompositionError
from crossdock.model import Receipt

__all__ = [
    "Call",
    "Confirming",
    "Recorder",
    "Task",
    "Versioned",
    "active_recorder",
    "combiner",
    "recording",
    "set_combiner",
]


@runtime_checkable
class Versioned(Protocol):
    """What a source may also be able to do: tell which version it would read. A cache asks."""

    def version_of(self, *args: Any, **kwargs: Any) -> Any:
        """Plain values that change when what ``run`` would read with these arguments changes. At most one request.

        Raises:
            UnsupportedError: Nothing tells versions apart.
            StorageError: It cannot be asked.
        """


@runtime_checkable
class Confirming(Protocol):
    """What a sink may also be able to do: tell whether what it wrote is still there. A cache asks."""

    def confirms(self, receipt: Receipt, /) -> bool:
        """Whether the destination holds exactly what the receipt proves. At most one request.

        Raises:
            StorageError: It cannot be asked.
        """


class Recorder(Protocol):
    """Who describes calls while a block is open on this thread."""

    def describe(self, task: Task, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call:
        """Note one call and hand back its description.

        Raises:
            CompositionError: The call has no meaning here.
        """


_open = threading.local()


def active_recorder() -> Recorder | None:
    """The innermost block open on this thread, if any."""
    stack: list[Recorder] = getattr(_open, "stack", [])
    return stack[-1] if stack else None


class recording:  # noqa: N801 - reads as a verb in a with statement
    """Bind a recorder to this thread for the length of a ``with`` block; calls made here are described to it."""

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        stack = getattr(_open, "stack", None)
        if stack is None:
            stack = _open.stack = []
        stack.append(self._recorder)

    def __exit__(self, *_: object) -> None:
        _open.stack.pop()


class Task:
    """A unit of work: derive from it and write ``run``, or wrap a function with ``xd.task``.

    Calling a task runs it here and now. Inside a ``one_task()`` block a call is only described. A task is picklable
    if its fields are. ``name`` is what errors, metrics and Dask keys show.
    """

    name: str = ""

    def run(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the subclass writes its own
        """Do the work; subclasses write it."""
        raise CompositionError(
            f"{type(self).__name__} defines no run(); write one or wrap a function with xd.task"
        )

    @property
    def signature_of(self) -> Callable[..., Any]:
        """The callable whose signature callers must fit."""
        return self.run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run here and now, or be described if a block is open on this thread."""
        recorder = active_recorder()
        if recorder is not None:
            return recorder.describe(self, args, kwargs)
        result = self.run(*args, **kwargs)
        if isinstance(result, types.CoroutineType):
            result.close()
            raise CompositionError(
                f"task {self.name or type(self).__name__!r} is async; tasks are synchronous",
                hint="let run be a plain function that calls asyncio.run(...)",
            )
        return result

    def map(self, *_: Any, **__: Any) -> Any:
        """Not offered by a bare task: mapping belongs to functions and pairs.

        Raises:
            CompositionError: Always; it says what to write.
        """
        raise CompositionError(
            f"{self.name or type(self).__name__!r} cannot be mapped as it is",
            hint="combine it with another task and map the pair, or map xd.task(instance.run)",
        )

    def with_options(self, *_: Any, **__: Any) -> Any:
        """Not offered by a bare task: options belong to functions and pairs.

        Raises:
            CompositionError: Always; it says what to write.
        """
        raise CompositionError(
            f"{self.name or type(self).__name__!r} takes no task options",
            hint="give them to the pair it is a half of, or to xd.task(instance.run, retries=...)",
        )

    def bind(self, *args: Any, **kwargs: Any) -> Call:
        """Describe a call without making it; for ``combine`` and ``CombinedTask``."""
        return Call(task=self, args=args, kwargs=kwargs)

    def combine(
        self, first: Task | Call, *, stitch_function: Callable[[Any], Any] | None = None, **others: Any
    ) -> Any:
        """One task out of ``first`` and this one; see ``xd.CombinedTask``.

        Args:
            first: The task (or a bound call of it) whose output comes in.
            stitch_function: Maps the first's output to this task's input.
            **others: This task's other arguments, by name.
        """
        return combiner()(first, self.bind(**others), stitch_function=stitch_function)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A described call: which task, with which arguments. Not its result: nothing has run.

    Touching it as if it were the result is an error that says what to write instead.
    """

    task: Task
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None

    def _not_a_result(self, action: str) -> NoReturn:
        name = self.task.name or type(self.task).__name__
        raise CompositionError(
            f"the call of {name!r} is only described inside one_task(), so it cannot be {action} here",
            hint="give a stitch_function: it receives the real output when the combined task runs",
        )

    def __getitem__(self, _: Any) -> NoReturn:
        self._not_a_result("indexed")

    def __iter__(self) -> NoReturn:
        self._not_a_result("iterated")

    def __len__(self) -> NoReturn:
        self._not_a_result("measured")

    def __bool__(self) -> NoReturn:
        self._not_a_result("tested")

    def __add__(self, _: Any) -> NoReturn:
        self._not_a_result("computed with")

    __radd__ = __sub__ = __mul__ = __truediv__ = __mod__ = __or__ = __add__

    def __format__(self, _: str) -> NoReturn:
        self._not_a_result("formatted")

    def __str__(self) -> NoReturn:
        self._not_a_result("formatted")

    def __repr__(self) -> str:
        return f"<described call of {self.task.name or type(self.task).__name__}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._not_a_result(f"asked for .{name}")


_combiner: Callable[..., Any] | None = None


def set_combiner(make: Callable[..., Any]) -> None:
    """Called by ``crossdock.combine`` when it is imported: how ``Task.combine`` builds a combined task."""
    global _combiner  # noqa: PLW0603 - the one seam between a task and the room that combines tasks
    _combiner = make


def combiner() -> Callable[..., Any]:
    """How to build a combined task.

    Raises:
        CompositionError: Nobody imported ``crossdock.combine`` yet.
    """
    if _combiner is None:
        raise CompositionError("combining needs crossdock.combine; write `import crossdock as xd` first")
    return _combiner
