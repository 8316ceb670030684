"""Who is tried again, how often and after how long. Tenacity does the trying; this module decides.

There is one owner of retries: Dask is told to make none, and what a lower layer gave up on (``EXHAUSTED``) is tried
again only because this task asks for retries itself.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from crossdock.errors import ConfigError, CrossdockError, Retry
from crossdock.pausing import pause

__all__ = ["Delay", "RetryOn", "RetryPolicy", "retry_of", "retry_policy"]

T = TypeVar("T")

Delay = float | timedelta | Sequence[float | timedelta] | Callable[[int], float | timedelta]
RetryOn = (
    type[BaseException]
    | tuple[type[BaseException], ...]
    | list[type[BaseException]]
    | Callable[[BaseException], bool]
)

_logger = logging.getLogger("crossdock.task")

# Errors of the program or of the data: the same call fails the same way. Of OSError, those that name a place.
_PERMANENT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    LookupError,
    NameError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
    SyntaxError,
    TypeError,
    ValueError,
)


def retry_of(error: BaseException) -> Retry:
    """Whether the same call may succeed later: what the error says, or what its class suggests."""
    if isinstance(error, CrossdockError):
        return error.retry
    permanent = not isinstance(error, Exception) or isinstance(error, _PERMANENT)
    return Retry.NEVER if permanent else Retry.LATER


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a task is tried again; see ``retry_policy`` for the meaning of each field."""

    retries: int = 0
    retry_delay: Delay = 0.0
    backoff: float = 1.0
    jitter: float = 0.0
    retry_on: RetryOn | None = None

    def wants(self, error: BaseException) -> bool:
        """Whether another attempt makes sense after this error."""
        if not isinstance(error, Exception):
            return False
        if self.retry_on is None:
            return retry_of(error) is not Retry.NEVER
        if isinstance(self.retry_on, type | tuple | list):
            return isinstance(
                error, tuple(self.retry_on) if isinstance(self.retry_on, list) else self.retry_on
            )
        return self.retry_on(error)

    def delay_s(self, attempt: int, error: BaseException | None = None) -> float:
        """Seconds to wait after attempt number ``attempt`` failed; at least what the server asked for."""
        base = _seconds(self._written_delay(attempt)) * self.backoff ** (attempt - 1)
        base += base * self.jitter * random.random()  # noqa: S311 - spreads requests, guards nothing
        return max(base, getattr(error, "retry_after_s", None) or 0.0)

    def _written_delay(self, attempt: int) -> float | timedelta:
        if callable(self.retry_delay):
            return self.retry_delay(attempt)
        if isinstance(self.retry_delay, Sequence):
            return self.retry_delay[min(attempt, len(self.retry_delay)) - 1]
        return self.retry_delay

    def call(self, name: str, attempt: Callable[[int], T]) -> T:
        """Call ``attempt(number)`` until it succeeds, must not be tried again, or ``retries`` are used up.

        Raises:
            BaseException: What the last attempt raised.
        """
        if self.retries == 0:
            return attempt(1)
        return self._with_tenacity(name, attempt)

    def _with_tenacity(self, name: str, attempt: Callable[[int], T]) -> T:
        import tenacity  # 70 ms, which only tasks with retries pay

        errors: list[Exception] = []

        def numbered() -> T:
            try:
                return attempt(len(errors) + 1)
            except Exception as error:
                errors.append(error)
                raise

        def note(state: Any) -> None:
            text = "task %s: attempt %d of %d failed, again in %.3g s: %s"
            _logger.info(text, name, len(errors), self.retries + 1, state.next_action.sleep, errors[-1])

        def sleep(seconds: float) -> None:
            if not pause(seconds):
                raise _StoppedError

        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=lambda _: self.delay_s(len(errors), errors[-1]),
            retry=tenacity.retry_if_exception(self.wants),
            sleep=sleep,
            before_sleep=note,
            reraise=True,
        )
        try:
            return again(numbered)
        except _StoppedError:
            raise errors[-1] from errors[-1].__cause__


class _StoppedError(Exception):
    """The runner stops while a retry waits."""


def retry_policy(
    *,
    retries: Any = 0,
    retry_delay: Any = 0.0,
    backoff: float = 1.0,
    jitter: float = 0.0,
    retry_on: RetryOn | None = None,
) -> RetryPolicy:
    """Check and keep how a task is tried again.

    Args:
        retries: Further attempts after the first.
        retry_delay: Before each further attempt: seconds, a ``timedelta``, a list of them (the last repeats), or a
            function of the number of the attempt that failed.
        backoff: Each delay is this many times the one before.
        jitter: Up to this share of the delay is added at random.
        retry_on: Which errors: classes or a predicate. By default what may pass: never an error of the program
            (``TypeError``, ``ValueError``, ...) nor one that says it is permanent.

    Raises:
        ConfigError: A value makes no sense.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigError(f"retries is a number of further attempts, 0 or more, not {retries!r}")
    if isinstance(retry_on, list):
        retry_on = tuple(retry_on)
    kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    good = all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)
    if retry_on is not None and not good and (isinstance(retry_on, type | tuple) or not callable(retry_on)):
        raise ConfigError(f"retry_on takes error classes or a function of the error, not {retry_on!r}")
    if backoff < 1 or jitter < 0:
        raise ConfigError(f"backoff is at least 1 and jitter at least 0, not {backoff!r} and {jitter!r}")
    if isinstance(retry_delay, Sequence) and not retry_delay:
        raise ConfigError("retry_delay is an empty list", hint="leave it out for no delay")
    if not callable(retry_delay):
        delays = retry_delay if isinstance(retry_delay, Sequence) else [retry_delay]
        if any(not isinstance(each, int | float | timedelta) or _seconds(each) < 0 for each in delays):
            raise ConfigError(f"retry_delay takes seconds or timedeltas of 0 or more, not {retry_delay!r}")
    return RetryPolicy(
        retries=retries, retry_delay=retry_delay, backoff=backoff, jitter=jitter, retry_on=retry_on
    )


def _seconds(delay: float | timedelta) -> float:
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
