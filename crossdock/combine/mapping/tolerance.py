"""When a map stops because of its failures. Decided on plain values.

With ``tolerate="data"`` one question decides: would the next item fail for the same reason? ``is_systemic`` answers it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from crossdock.errors import (
    CompositionError,
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    DeniedError,
    LedgerError,
    MissingExtraError,
    Retry,
    StalledError,
    StrictError,
    TaskFailed,
    ThrottledError,
    UnsupportedError,
)
from crossdock.model import Outcome, State

__all__ = ["Tolerance", "Tolerate", "is_systemic", "tolerance_of"]

Tolerate = Literal["none", "data", "all"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_ALWAYS: Final = (
    CredentialsError,
    MissingExtraError,
    CompositionError,
    LedgerError,
    ImportError,
    NameError,
    SyntaxError,
    NotImplementedError,
    MemoryError,
    SystemExit,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What failures a map goes on after.

    Attributes:
        tolerate: ``none`` stops at the first item without a value, ``data`` at the first whose failure is systemic,
            ``all`` never.
        max_failures: Stops after so many items without a value, whatever their failures; ``None`` is any number.
    """

    tolerate: Tolerate = "all"
    max_failures: int | None = None

    def verdict(self, outcome: Outcome, failures: int) -> str:
        """Why the map stops after this outcome, in words; empty if it goes on.

        Args:
            outcome: Of the item that just ended.
            failures: How many items ended without a value, this one included. Cancelled ones are none of them.
        """
        if outcome.ok or outcome.state is State.CANCELLED:
            return ""
        if self.tolerate == "none":
            return f"item {outcome.index} failed, and none may (tolerate='none')"
        if self.tolerate == "data" and outcome.error is not None and is_systemic(outcome.error):
            return f"the next would fail as item {outcome.index} did (tolerate='data')"
        if self.max_failures is not None and failures >= self.max_failures:
            return f"{failures} items failed (max_failures={self.max_failures})"
        return ""


def tolerance_of(tolerate: Any, max_failures: Any) -> Tolerance:
    """Check and keep.

    Raises:
        ConfigError: A value makes no sense.
    """
    if tolerate not in get_args(Tolerate):
        raise ConfigError(f"tolerate is 'none', 'data' or 'all', not {tolerate!r}")
    if max_failures is not None and (
        isinstance(max_failures, bool) or not isinstance(max_failures, int) or max_failures < 1
    ):
        raise ConfigError(f"max_failures is 1 or more, not {max_failures!r}")
    return Tolerance(tolerate=tolerate, max_failures=max_failures)


def is_systemic(error: BaseException) -> bool:
    """Whether the other items of a map would fail for the same reason. Pure.

    =========================================================================  =====================================
    what failed (of a ``TaskFailed``: its cause)                               systemic
    =========================================================================  =====================================
    ``CredentialsError``, ``MissingExtraError``, ``CompositionError``,         always
    ``LedgerError``; an import, a name or the syntax of the program; memory
    ``DeniedError``, ``ConfigError``, ``UnsupportedError``                     unless it names a key: then it is that
                                                                               object's own trouble
    ``ConnectionLostError``, ``ThrottledError``, ``StalledError``              if it names a place, and retries were
                                                                               used up
    ``OSError`` for want of space, files or a writable disk                    always
    everything else: ``NotFoundError``, ``IntegrityError``, ``ExistsError``,   never
    ``PreconditionError``, ``StrictError``, ``ValueError``, ...
    =========================================================================  =====================================

    An item that killed its workers is a ``ConnectionLostError`` that names no place: its own trouble.
    """
    exhausted = False
    while isinstance(error, TaskFailed) and error.__cause__ is not None:  # upstream failures: several
        exhausted = exhausted or error.retry is Retry.EXHAUSTED
        error = error.__cause__
    if isinstance(error, _ALWAYS):
        return True
    if isinstance(error, StrictError):
        return False
    if isinstance(error, DeniedError | ConfigError | UnsupportedError):
        return error.key is None
    if isinstance(error, ConnectionLostError | ThrottledError | StalledError):
        return bool(error.where) and (exhausted or error.retry is Retry.EXHAUSTED)
    return isinstance(error, OSError) and error.errno in _FULL
