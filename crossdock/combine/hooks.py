"""Hooks: what is called when an item or a run ended. They hear of it; they never change it.

A hook runs where the task was called or mapped, or the run was driven, in the order in which it was given. One that
raises is logged and changes nothing. Notifiers (``xd.slack`` and the like) are hooks too, and never raise.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError
from crossdock.model import Outcome, State
from crossdock.notifications.notifier import Delivery, Notifier
from crossdock.notifications.record import RunEnded

__all__ = ["Hook", "Hooks", "RunHook", "RunHooks", "Told", "hooks_of", "run_hooks_of"]

Hook = Callable[[Outcome], Any]
RunHook = Callable[[RunEnded], Any]

_logger = logging.getLogger("crossdock.hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who hears of an item's end. Picklable as its functions are."""

    on_success: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    on_completion: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.on_success or self.on_failure or self.on_completion)

    def check(self) -> None:
        """Find out whether the notifiers among them lead anywhere; for who maps, before anything runs.

        Raises:
            ConfigError: A reference gives nothing, or nothing that can be used.
        """
        _check((*self.on_success, *self.on_failure, *self.on_completion))

    def fire(self, outcome: Outcome) -> None:
        """Tell those concerned, in the order they were given; never raises.

        A value is success (also ``cached`` and ``skipped``), none is failure (also ``upstream_failed``); an item that
        was cancelled is neither, only its completion is told.
        """
        told: tuple[Hook, ...] = ()
        if outcome.ok:
            told = self.on_success
        elif outcome.state is not State.CANCELLED:
            told = self.on_failure
        for hook in (*told, *self.on_completion):
            _call(hook, outcome, f"task {outcome.task} failed; the task's outcome stands")


@dataclass(frozen=True, slots=True)
class Told:
    """How many notifications of a run arrived, and how many did not."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """Who hears of a run's end: functions and notifiers, each called once with one ``RunEnded``."""

    on_success: tuple[RunHook, ...] = ()
    on_failure: tuple[RunHook, ...] = ()
    on_completion: tuple[RunHook, ...] = ()
    notify: tuple[Notifier, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.on_success or self.on_failure or self.on_completion or self.notify)

    def fire(self, record: RunEnded) -> Told:
        """Tell those concerned: functions first, then notifiers; never raises but for Ctrl-C.

        Takes as long as the functions take, and for each notifier at most its bound (half a minute; after an
        interruption five seconds).
        """
        told = self.on_success if record.ok else self.on_failure
        hooks: tuple[Callable[[RunEnded], Any], ...] = (*told, *self.on_completion, *self.notify)
        deliveries: list[Any] = [
            _call(hook, record, f"run {record.run_id or record.name} failed; the run's outcome stands")
            for hook in hooks
        ]
        arrived = [each.ok for each in deliveries if isinstance(each, Delivery)]
        return Told(sent=sum(arrived), failed=len(arrived) - sum(arrived))


def hooks_of(*, on_success: Any = (), on_failure: Any = (), on_completion: Any = ()) -> Hooks:
    """Check and keep hooks, each given as one function or several.

    Raises:
        ConfigError: One cannot be called.
    """
    return Hooks(
        on_success=_several("on_success", on_success, "an Outcome"),
        on_failure=_several("on_failure", on_failure, "an Outcome"),
        on_completion=_several("on_completion", on_completion, "an Outcome"),
    )


def run_hooks_of(
    *,
    on_success: RunHook | Sequence[RunHook] | None = (),
    on_failure: RunHook | Sequence[RunHook] | None = (),
    on_completion: RunHook | Sequence[RunHook] | None = (),
    notify: Notifier | Sequence[Notifier] | None = (),
) -> RunHooks:
    """Check and keep who is told of a run's end; call it before the run begins.

    Every secret reference is resolved once: to learn after six hours that nobody was told is too late. Nothing is sent.

    Raises:
        ConfigError: A hook cannot be called, ``notify`` holds something else than notifiers, or a reference gives
            nothing that can be used.
        MissingExtraError: ``xd.apprise`` without its package.
    """
    hooks = RunHooks(
        on_success=_several("on_success", on_success, "a RunEnded"),
        on_failure=_several("on_failure", on_failure, "a RunEnded"),
        on_completion=_several("on_completion", on_completion, "a RunEnded"),
        notify=_notifiers(notify),
    )
    _check((*hooks.on_success, *hooks.on_failure, *hooks.on_completion, *hooks.notify))
    return hooks


def _several(name: str, given: Any, of: str) -> tuple[Any, ...]:
    hooks = _tuple(given)
    for hook in hooks:
        if not callable(hook):
            raise ConfigError(f"{name} takes functions of {of}, not {type(hook).__name__}")
        if inspect.iscoroutinefunction(hook):
            raise ConfigError(f"{name} takes plain functions; an async one would never be awaited")
    return hooks


def _notifiers(given: Any) -> tuple[Notifier, ...]:
    notifiers = _tuple(given)
    for each in notifiers:
        if not isinstance(each, Notifier):  # its text is not shown: it may be a secret
            raise ConfigError(
                f"notify takes notifiers, not {type(each).__name__}",
                hint='such as xd.slack("env:SLACK_WEBHOOK"); a function of your own goes to on_completion',
            )
    return notifiers


def _tuple(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return (
        (given,)
        if callable(given) or isinstance(given, str) or not isinstance(given, Iterable)
        else tuple(given)
    )


def _check(hooks: tuple[Any, ...]) -> None:
    for hook in hooks:
        if isinstance(hook, Notifier):
            hook.check()


def _call(hook: Callable[[Any], Any], ended: Outcome | RunEnded, of: str) -> Any:
    try:
        return hook(ended)
    except Exception:
        _logger.exception("a hook of %s", of)
        return None
