"""``map``: one task over many items, each with its own outcome.

A map starts at once and is driven by a thread of its own, so that several maps feed each other item by item without
a barrier.
"""

from __future__ import annotations

import inspect
import os
import socket
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crossdock.combine.execution import Execution
from crossdock.combine.guard import check_result
from crossdock.combine.hooks import Hooks, RunHook, run_hooks_of
from crossdock.combine.mapping.again import FailedItems
from crossdock.combine.mapping.binding import columns_of
from crossdock.combine.mapping.destinations import Ask, Destinations
from crossdock.combine.mapping.driving import MapJob
from crossdock.combine.mapping.result import MapResult
from crossdock.combine.mapping.tolerance import Tolerate, tolerance_of
from crossdock.combine.reference import importable_name
from crossdock.combine.settings import Settings
from crossdock.errors import CompositionError, ConfigError
from crossdock.model import Outcome
from crossdock.notifications.notifier import Notifier
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
    destination: Ask | None = None


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
        tolerate: Tolerate = "all",
        max_failures: int | None = None,
        on_success: RunHook | Sequence[RunHook] | None = None,
        on_failure: RunHook | Sequence[RunHook] | None = None,
        on_completion: RunHook | Sequence[RunHook] | None = None,
        notify: Notifier | Sequence[Notifier] | None = None,
        **kwargs: Any,
    ) -> MapResult:
        """Run this task once per row of its mapped arguments; starts now, does not wait.

        Lists, tuples, iterators and results of other maps are iterated, side by side and equally long; text, bytes,
        mappings, paths, tables and frames, and whatever is ``unmapped``, go to every item. By position, a ``product``
        gives all combinations of several arguments, and ``result.failed()`` what failed before, with the arguments it
        had. Iterators are pulled as the runner has room, by a thread of the map. An item that fails, fails alone.

        Where the halves of a pair say before they run where an item goes (sources and sinks do), the second item with
        the same destination fails before it starts.

        Args:
            *args: Arguments by position; ``product``, or failed items.
            runner: Where to run; threads in this process by default. A runner given here is not closed here.
            window: How many items may be under way, for the default runner.
            tolerate: After which failures to begin further items: ``all``; ``data``: those of an item's own data, not
                those the next item would meet too, such as missing credentials (``tolerance.is_systemic``); ``none``.
                What was not begun ends as ``cancelled``.
            max_failures: Begin nothing more after so many items without a value.
            on_success: Called once with a ``RunEnded`` when all items ended well; one function or several.
            on_failure: The same, when some did not.
            on_completion: The same, in either case.
            notify: The same for notifiers, such as ``xd.slack("env:SLACK_WEBHOOK")``.
            **kwargs: Arguments by name.

        Raises:
            MapLengthMismatch: Arguments of known length differ. (Others: raised by whatever waits for the result.)
            CompositionError: Unknown or missing arguments, nothing to map over, or a ``one_task()`` block is open.
            ConfigError: An option makes no sense, or a notifier leads nowhere.
        """
        target = self.map_target()
        name = target.name
        if active_recorder() is not None:
            raise CompositionError(
                f"map of {name!r} inside a one_task() block has no meaning; map after the block"
            )
        if window is not None and (runner is not None or window < 1):
            raise ConfigError(
                "window is 1 or more, and for the default runner only", hint="give it to the runner itself"
            )
        if runner is not None and (isinstance(runner, type) or not callable(getattr(runner, "run", None))):
            raise ConfigError(
                f"runner is a runner such as xd.LocalRunner() or xd.DaskRunner(...), not {runner!r}"
            )
        _refuse_outcomes(name, args)
        tolerance = tolerance_of(tolerate, max_failures)
        run_hooks = run_hooks_of(
            on_success=on_success, on_failure=on_failure, on_completion=on_completion, notify=notify
        )
        hooks = target.settings.hooks
        hooks.check()
        columns = columns_of(name, target.signature, args, kwargs)
        function = ItemFunction(
            name=name,
            run=_without_hooks(self, target).run,
            settings=replace(target.settings, hooks=Hooks()) if hooks else target.settings,
            names=columns.names,
            constants=columns.constants,
            run_id=uuid.uuid4().hex[:12],
        )
        return MapResult(
            MapJob(
                function=function,
                columns=columns,
                name=name,
                run_id=function.run_id,
                tags=target.settings.tags,
                runner=runner,
                window=window,
                tolerance=tolerance,
                hooks=hooks,
                run_hooks=run_hooks,
                destinations=_destinations(args, target.destination),
            )
        )


def _refuse_outcomes(name: str, args: tuple[Any, ...]) -> None:
    """Outcomes of another map are not its values; what failed is run again in one way only."""
    by_position = any(
        isinstance(given, list | tuple) and given and isinstance(given[0], Outcome)
        for given in args
        if not isinstance(given, FailedItems)
    )
    if by_position:
        raise CompositionError(
            f"map of {name!r} is given outcomes of another map as arguments",
            hint="failed items run again with task.map(result.failed()), some of them with .failed().where(...); "
            "values are result.results(), and a task about outcomes takes them by name",
        )


def _without_hooks(task: Mappable, target: MapTarget) -> MapTarget:
    """What goes to workers: hooks are called here, and may hold what cannot be pickled."""
    with_options = getattr(task, "with_options", None)
    function = getattr(task, "function", None)
    if not target.settings.hooks or with_options is None:
        return target
    if function is not None and importable_name(task, function) is not None:
        return target  # it goes by its name
    bare: Mappable = with_options(on_success=(), on_failure=(), on_completion=())
    return bare.map_target()


def _destinations(args: tuple[Any, ...], ask: Ask | None) -> Destinations | None:
    """Who writes where; for items mapped again, beside those that did before."""
    for given in args:
        if isinstance(given, FailedItems) and given.kept.destinations is not None:
            return given.kept.destinations.asking(ask)
    return None if ask is None else Destinations(ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFunction:
    """What a runner calls for each item: never raises for an item's own failure. Picklable as the task is."""

    name: str
    run: RunItem
    settings: Settings
    names: tuple[str, ...]
    constants: dict[str, Any]
    run_id: str
    driver: tuple[str, int] = field(default_factory=lambda: (socket.gethostname(), os.getpid()))

    def __call__(self, item: tuple[int, tuple[Any, ...]], /) -> Outcome:
        """Run one item, ``(index, values)``."""
        index, given = item
        values = {**self.constants, **dict(zip(self.names, given, strict=True))}
        execution = Execution(
            name=self.name, settings=self.settings, inputs=values, run_id=self.run_id, item=index
        )
        try:
            value = self._fit_to_leave(self.run(execution, values))
        except (Exception, SystemExit) as error:
            failure = execution.failed(error)
            failure.__cause__ = error
            _let_go(error)
            return execution.outcome(failure=failure)
        return execution.outcome(value)

    def _fit_to_leave(self, value: Any) -> Any:
        """The value, unless nothing would ever pull it, or it is payload on its way out of a worker.

        Raises:
            CompositionError: It is a generator, or larger than 16 MiB and leaves this process.
        """
        if inspect.isgenerator(value):
            value.close()
            raise CompositionError(
                f"task {self.name!r} returned a generator, and nothing would pull it",
                hint="combine it with a task that consumes it, or return list(...)",
            )
        if (socket.gethostname(), os.getpid()) != self.driver:
            check_result(self.name, value, allow_large=self.settings.allow_large_result)
        return value


def _let_go(error: BaseException) -> None:
    """Free what the frames of a kept error hold: buffers of payload would stay as long as the outcome does."""
    following: BaseException | None = error
    for _ in range(20):
        if following is None:
            return
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__
