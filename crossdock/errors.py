"""The error tree: what happened is the class, whether to try again is ``error.retry``.

The two questions are independent (the idea is Apache OpenDAL's). Every error carries operation, place, key and
attempts, survives pickling with all its fields, and prints as one line: operation, place, cause, what to do next.
A vendor's own error is its ``__cause__``. This module knows nothing of the rest of the project.
"""

from __future__ import annotations

import enum
from typing import Any

__all__ = [
    "CompositionError",
    "ConfigError",
    "ConnectionLostError",
    "CredentialsError",
    "CrossdockError",
    "DeniedError",
    "ExistsError",
    "IntegrityError",
    "LedgerError",
    "MapLengthMismatch",
    "MissingExtraError",
    "NotFoundError",
    "PreconditionError",
    "RangeError",
    "Retry",
    "RowError",
    "StalledError",
    "StorageError",
    "StrictError",
    "TaskFailed",
    "ThrottledError",
    "UnexpectedError",
    "UnprovenError",
    "UnsafeError",
    "UnsupportedError",
]


class Retry(enum.Enum):
    """Whether the same call may succeed later."""

    NEVER = "never"
    LATER = "later"
    EXHAUSTED = "exhausted"  # it was tried again and gave up: the next layer must not multiply retries


class CrossdockError(Exception):
    """Root of all errors raised on purpose.

    Args:
        cause: What went wrong, in words.
        operation: The verb that failed, such as ``put`` or ``list``.
        where: The place as a URL without secrets.
        key: The object's key, if one is concerned.
        hint: What to do next.
        attempts: How often it was tried.
        retry: Whether it is worth trying again; each class has its default.
        retry_after_s: The server's own wish, in seconds.
    """

    default_retry = Retry.NEVER

    def __init__(
        self,
        cause: str = "",
        *,
        operation: str = "",
        where: str = "",
        key: str | None = None,
        hint: str = "",
        attempts: int = 1,
        retry: Retry | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.operation = operation
        self.where = where
        self.key = key
        self.hint = hint
        self.attempts = attempts
        self.retry = retry or self.default_retry
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy(), self.__cause__)

    @property
    def place(self) -> str:
        """Where it happened: the URL, with the key if there is one."""
        if self.key is None:
            return self.where
        return f"{self.where.rstrip('/')}/{_visible(self.key)}" if self.where else _visible(self.key)

    def __str__(self) -> str:
        head = " ".join(part for part in (self.operation, self.place) if part)
        text = ": ".join(part for part in (head, self.cause) if part)
        if self.attempts > 1:
            text += f" (after {self.attempts} attempts)"
        return _visible(f"{text}; {self.hint}" if self.hint else text)


def _visible(text: str) -> str:
    """One line, whatever a key or a server's message contains."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _rebuild(
    kind: type[CrossdockError], args: tuple[Any, ...], fields: dict[str, Any], cause: BaseException | None
) -> CrossdockError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    error.__cause__ = cause
    return error


class ConfigError(CrossdockError, ValueError):
    """An option, a URL or an argument is wrong; nothing was done."""


class MissingExtraError(CrossdockError, ImportError):
    """A connector needs a package that is not installed; the hint is the command that installs it."""


class UnsupportedError(CrossdockError):
    """This endpoint cannot do what was asked; its capabilities say so."""


class StrictError(UnsupportedError):
    """``strict`` was asked for, and this endpoint or object would get a weaker form of the promise; nothing was written."""


class UnsafeError(CrossdockError):
    """Going on might have destroyed something that was meant to stay; nothing was done."""


class UnprovenError(CrossdockError):
    """Less was proven of a copy than was required; the text says whether anything was written."""


class CompositionError(CrossdockError, TypeError):
    """Two tasks were put together in a way that has no meaning; the text names them."""


class MapLengthMismatch(CompositionError):  # noqa: N818 - the public name DESIGN section 4 fixes
    """Mapped arguments differ in length."""


class StorageError(CrossdockError):
    """A store refused or failed."""


class NotFoundError(StorageError, FileNotFoundError):
    """There is no such object or bucket."""

    __str__ = CrossdockError.__str__


class ExistsError(StorageError):
    """Something is already there and was not to be replaced."""


class DeniedError(StorageError):
    """The credentials are valid but not allowed to do this."""


class CredentialsError(DeniedError):
    """No credentials were found, or they are invalid; the text names what was looked for."""


class PreconditionError(StorageError):
    """The object is not in the state that was observed: replaced, created or deleted meanwhile."""


class RangeError(StorageError):
    """A range starts after the last byte."""


class ThrottledError(StorageError):
    """The service asks for fewer requests (SlowDown, 429, 503)."""

    default_retry = Retry.LATER


class ConnectionLostError(StorageError):
    """The connection failed, or the server answered 5xx; the outcome may be unknown."""

    default_retry = Retry.LATER


class StalledError(StorageError, TimeoutError):
    """No progress for longer than the timeout."""

    default_retry = Retry.LATER
    __str__ = CrossdockError.__str__


class IntegrityError(CrossdockError):
    """Bytes are not what a digest or a length promised; nothing wrong was left behind."""

    default_retry = Retry.LATER


class RowError(CrossdockError, ValueError):
    """A row cannot be read, or does not fit its schema; the text says which row, and which column where one is to blame."""


class LedgerError(CrossdockError):
    """A run directory cannot be read, written or owned."""


class TaskFailed(CrossdockError):  # noqa: N818 - the public name DESIGN section 4 fixes
    """A task gave up; ``__cause__`` is why.

    Args:
        task: The (combined) task's name.
        phase: ``source``, ``stitch``, ``sink``, ``commit``, ``cache`` or ``task``.
        inputs: A short text of each argument by name, without payload or secrets.
    """

    def __init__(
        self,
        cause: str = "",
        *,
        task: str = "",
        phase: str = "task",
        inputs: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(cause, **fields)
        self.task = task
        self.phase = phase
        self.inputs = dict(inputs or {})

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.retry is not Retry.NEVER

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.inputs.items())
        text = f"task {self.task}({given}) failed in its {self.phase}: {self.cause}"
        if self.attempts > 1:
            text += f" (after {self.attempts} attempts)"
        return _visible(f"{text}; {self.hint}" if self.hint else text)


class UnexpectedError(CrossdockError):
    """Something that should not happen; the vendor's error is the cause. Please report it."""
