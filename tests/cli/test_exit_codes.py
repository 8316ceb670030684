"""Errors become the exit codes of CONTRACT section 4."""

import pytest

from crossdock import errors
from crossdock.cli.exit_codes import ExitCode, exit_code_of_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.MissingExtraError("x"), 2),
        (errors.MapLengthMismatch("x"), 2),
        (errors.UnsupportedError("x"), 2),
        (errors.StrictError("x"), 8),
        (errors.UnsafeError("x"), 8),
        (errors.UnprovenError("x"), 5),
        (errors.NotFoundError("x"), 3),
        (errors.DeniedError("x"), 4),
        (errors.CredentialsError("x"), 4),
        (errors.ConnectionLostError("x"), 5),
        (errors.StalledError("x"), 5),
        (errors.ThrottledError("x"), 5),
        (errors.IntegrityError("x"), 5),
        (errors.RowError("x"), 5),
        (errors.TaskFailed("x"), 5),
        (errors.LedgerError("x"), 8),
        (errors.ExistsError("x"), 8),
        (errors.PreconditionError("x"), 8),
        (errors.UnexpectedError("x"), 1),
        (errors.RangeError("x"), 2),
        (KeyError("x"), 1),
        (FileNotFoundError("x"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_code(error, code):
    assert code == exit_code_of_error(error)


def test_a_failed_task_counts_as_its_cause():
    failed = errors.TaskFailed("outer")
    failed.__cause__ = errors.TaskFailed("inner")
    failed.__cause__.__cause__ = errors.CredentialsError("none found")

    assert exit_code_of_error(failed) == ExitCode.DENIED


def test_every_public_error_class_has_a_code_on_purpose():
    """A new error class must be decided here: only these may be unexpected."""
    classes = [getattr(errors, name) for name in errors.__all__ if name != "Retry"]
    unexpected = {kind.__name__ for kind in classes if exit_code_of_error(kind("x")) is ExitCode.UNEXPECTED}

    assert {"CrossdockError", "StorageError", "UnexpectedError"} == unexpected
