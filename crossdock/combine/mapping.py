"""``map``: one task over many items, each with its own outcome.

A map starts at once and is driven by a thread of its own, so that several maps feed each other item by item without
a barrier.
"""

from __future__ import annotations

import inspect
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import thread as _futures_first  # noqa: F401 - its exit hook must be registered before ours
from dataclasses import dataclass
from typing import Any, Literal

from crossdock.combine.columns import Columns
from crossdock.combine.execution import Execution
from crossdock.combine.mapresult import MapResult
from crossdock.combine.settings import Settings
from crossdock.errors import CompositionError, ConfigError
from crossdock.model import Outcome
from crossdock.ports import Runner
from crossdock.tasks import active_recorder

__all__ = ["ItemFunction", "MapTarget", "Mappable"]

RunItem = Callable[[Execution, Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTarget:
    """What ``map`` needs of a task.

    Attributes:
        name: What errors, metrics and Dask keys show.
        run: Runs one item, given its execution and its arguments by name.
        signature: ``None`` for a builtin that does not say.
        settings: The task's one scope.
        destination: Where an item with these arguments would write, as a URL, if that can be said before it runs.
    """

    name: str
    run: RunItem
    signature: inspect.Signature | None
    settings: Settings
    destination: Callable[[Mapping[str, Any]], str | None] | None = None


class Mappable:
    """What tasks that can be mapped have in common."""

    def map_target(self) -> MapTarget:
        """What ``map`` needs."""
        raise NotImplementedError

    def map(
        self,
        *args: Any,
        runner: Runner | None = None,
        window: int | None = None,
        tolerate: Literal["all", "none"] = "all",
        **kwargs: Any,
    ) -> MapResult:
        """Run this task once per row of its mapped arguments; starts now, does not wait.

        Lists, tuples, iterators and results of other maps are iterated, side by side and equally long; text, bytes,
        mappings, paths, tables and frames, and whatever is ``unmapped``, go to every item. Iterators are pulled as
        the runner has room, by the map's own thread. An item that fails, fails alone.

        Args:
            *args: Arguments by position.
            runner: Where to run; threads in this process by default. A runner given here is not closed here.
            window: How many items may be under way, for the default runner.
            tolerate: ``none`` cancels what has not begun as soon as one item fails.
            **kwargs: Arguments by name.

        Raises:
            MapLengthMismatch: Arguments of known length differ. (Others: raised by whatever waits for the result.)
            CompositionError: Unknown or missing arguments, nothing to map over, or a ``one_task()`` block is open.
        """
        target = self.map_target()
        name = target.name
        if active_recorder() is not None:
            raise CompositionError(
                f"map of {name!r} inside a one_task() block has no meaning; map after the block"
            )
        if tolerate not in ("all", "none"):
            raise ConfigError(f"tolerate is 'all' or 'none', not {tolerate!r}")
        if window is not None and (runner is not None or window < 1):
            raise ConfigError(
                "window is 1 or more, and for the default runner only", hint="give it to the runner itself"
            )
        columns = Columns(name, _named(name, target.signature, args, kwargs))
        function = ItemFunction(
            name=name,
            run=target.run,
            settings=target.settings,
            names=columns.names,
            constants=columns.constants,
            run_id=uuid.uuid4().hex[:12],
        )
        return MapResult(
            function, columns, name=name, runner=runner, window=window, stop_on_failure=tolerate == "none"
        )


def _named(
    name: str, known: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Mapped arguments by parameter name."""
    if known is None:
        if args:
            raise CompositionError(f"{name!r} does not say its parameters: map it by name")
        return kwargs
    try:
        arguments = known.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise CompositionError(
            f"{name!r} cannot be mapped like this: {error}", hint=f"its signature is {name}{known}"
        ) from None
    for each in arguments:
        if known.parameters[each].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise CompositionError(
                f"{name!r} cannot be mapped over its open-ended {each!r}; map named parameters"
            )
    return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFunction:
    """What a runner calls for each item: never raises for an item's own failure. Picklable as the task is."""

    name: str
    run: RunItem
    settings: Settings
    names: tuple[str, ...]
    constants: dict[str, Any]
    run_id: str

    def __call__(self, item: tuple[int, tuple[Any, ...]], /) -> Outcome:
        """Run one item, ``(index, values)``."""
        index, given = item
        values = {**self.constants, **dict(zip(self.names, given, strict=True))}
        execution = Execution(
            name=self.name, settings=self.settings, inputs=values, run_id=self.run_id, item=index
        )
        try:
            value = self.run(execution, values)
        except (Exception, SystemExit) as error:
            failure = execution.failed(error)
            failure.__cause__ = error
            _let_go(error)
            return execution.outcome(failure=failure)
        return execution.outcome(value)


def _let_go(error: BaseException) -> None:
    """Free what the frames of a kept error hold: buffers of payload would stay as long as the outcome does."""
    following: BaseException | None = error
    for _ in range(20):
        if following is None:
            return
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__
