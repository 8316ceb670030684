"""Which exit code says what: one pure function from an error to a number (CONTRACT section 4).

A run that came to its end carries its own code (``Report.exit_code``); no other module of this room names a number.
"""

from __future__ import annotations

import enum

from crossdock import errors

__all__ = ["ExitCode", "exit_code_of_error"]


class ExitCode(enum.IntEnum):
    """What the process tells its parent."""

    DONE = 0  # everything was done and verified
    UNEXPECTED = 1  # a bug, ours or a library's
    USAGE = 2  # wrong flag, URL or option: nothing was done
    NOTHING = 3  # nothing matched, or the source is missing
    DENIED = 4  # credentials or permission
    FAILED = 5  # not everything was done; the same command, or resume, goes on from here
    DIFFERENT = 6  # differences were found
    LIMIT = 7  # a limit the user set stopped it
    REFUSED = 8  # going on might have destroyed something
    INTERRUPTED = 130  # Ctrl-C or SIGTERM; the state is saved
    BROKEN_PIPE = 141  # the reader of stdout went away: what a shell shows for SIGPIPE


# First match wins, so a class stands before its bases.
_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    ((KeyboardInterrupt,), ExitCode.INTERRUPTED),
    ((BrokenPipeError,), ExitCode.BROKEN_PIPE),
    ((errors.UnsafeError,), ExitCode.REFUSED),
    ((errors.StrictError,), ExitCode.REFUSED),  # an UnsupportedError, but asked for: going on would be weaker
    (
        # RangeError: `cat --range` beyond the object; a range of our own making never ends a command, an object fails of it.
        (
            errors.ConfigError,
            errors.CompositionError,
            errors.MissingExtraError,
            errors.UnsupportedError,
            errors.RangeError,
        ),
        ExitCode.USAGE,
    ),
    ((errors.DeniedError,), ExitCode.DENIED),  # CredentialsError is one
    ((errors.NotFoundError,), ExitCode.NOTHING),
    # Somebody else's state is in the way: another driver owns the run, an object is there or was replaced.
    ((errors.LedgerError, errors.ExistsError, errors.PreconditionError), ExitCode.REFUSED),
    # The service or the network gave up, not the user: the same command may succeed later. Or the data is not what was said.
    (
        (
            errors.ThrottledError,
            errors.ConnectionLostError,
            errors.StalledError,
            errors.IntegrityError,
            errors.RowError,
            errors.UnprovenError,
            errors.TaskFailed,
        ),
        ExitCode.FAILED,
    ),
)


def exit_code_of_error(error: BaseException) -> ExitCode:
    """The exit code of a command that an error ended.

    A failed task counts as its cause, however deep, because credentials that are missing on a worker are as much the user's to
    mend as those missing here.
    """
    if isinstance(error, errors.TaskFailed) and isinstance(error.__cause__, errors.CrossdockError):
        return exit_code_of_error(error.__cause__)
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), ExitCode.UNEXPECTED)
