"""Hooks: what is called when a task ended. They hear of it; they never change it.

A hook runs where the task was called or mapped, once per item, in completion order. One that raises is logged and
changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.errors import ConfigError
from crossdock.model import Outcome

__all__ = ["Hook", "Hooks", "hooks_of"]

Hook = Callable[[Outcome], Any]

_logger = logging.getLogger("crossdock.hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who hears of an item's end."""

    on_success: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    on_completion: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.on_success or self.on_failure or self.on_completion)

    def fire(self, outcome: Outcome) -> None:
        """Tell those concerned, in the order they were given; never raises."""
        for hook in (*(self.on_success if outcome.ok else self.on_failure), *self.on_completion):
            try:
                hook(outcome)
            except Exception:
                _logger.exception("a hook of task %s failed; the task's outcome stands", outcome.task)


def hooks_of(*, on_success: Any = (), on_failure: Any = (), on_completion: Any = ()) -> Hooks:
    """Check and keep hooks, each given as one function or several.

    Raises:
        ConfigError: One cannot be called.
    """
    return Hooks(
        on_success=_several("on_success", on_success),
        on_failure=_several("on_failure", on_failure),
        on_completion=_several("on_completion", on_completion),
    )


def _several(name: str, given: Hook | Sequence[Hook] | None) -> tuple[Hook, ...]:
    hooks = () if given is None else (given,) if callable(given) else tuple(given)
    for hook in hooks:
        if not callable(hook):
            raise ConfigError(f"{name} takes functions of an Outcome, not {type(hook).__name__}")
    return hooks
