"""The payload must not sneak back: what a combined task returns is small, or asked for.

A result is measured as it would be pickled for the scheduler, without keeping the copy: buffers are counted, not
copied, and measuring stops once the limit is passed.
"""

from __future__ import annotations

import pickle
import warnings
from typing import Any

from crossdock.combine.crossing import is_stream
from crossdock.errors import CompositionError
from crossdock.model import MIB, Receipt
from crossdock.options import format_size

__all__ = ["FAIL_BYTES", "WARN_BYTES", "LargeResultWarning", "check_result", "pickled_size"]

WARN_BYTES = 1 * MIB
FAIL_BYTES = 16 * MIB

_SMALL = frozenset({bool, float, int, type(None), Receipt})


class LargeResultWarning(UserWarning):
    """A combined task returned more than 1 MiB: payload on its way through the scheduler."""


def check_result(name: str, result: Any, *, allow_large: bool) -> None:
    """Warn above 1 MiB and refuse above 16 MiB, unless ``allow_large``; always refuse a stream.

    Raises:
        CompositionError: The result is a stream, or larger than 16 MiB.
    """
    if type(result) in _SMALL:
        return
    if is_stream(result):
        raise CompositionError(
            f"combined task {name!r} returned a stream ({type(result).__name__}), which is closed when the task ends",
            hint="let the second half consume it and return something small",
        )
    if allow_large:
        return
    size = pickled_size(result)
    if size <= WARN_BYTES:
        return
    hint = "return a receipt or a key, or say allow_large_result=True"
    if size > FAIL_BYTES:
        raise CompositionError(
            f"task {name!r} returned more than {format_size(FAIL_BYTES)}; only small results leave a worker",
            hint=hint,
        )
    text = f"task {name!r} returned {format_size(size)}; {hint}"
    warnings.warn(text, LargeResultWarning, stacklevel=2)


class _EnoughError(Exception):
    """The limit is passed; the exact size does not matter."""


class _Counter:
    """A file that counts instead of keeping."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.add(len(data))
        return len(data)

    def add(self, size: int) -> None:
        self.size += size
        if self.size > FAIL_BYTES:
            raise _EnoughError


def pickled_size(result: Any) -> int:
    """Bytes of the pickle, at most one write more than the limit; 0 for what cannot be pickled and so never travels."""
    if isinstance(result, str | bytes | bytearray):
        return len(result)
    counter = _Counter()
    try:
        pickle.Pickler(
            counter, protocol=5, buffer_callback=lambda buffer: counter.add(buffer.raw().nbytes)
        ).dump(result)
    except _EnoughError:
        return counter.size
    except Exception:
        return 0
    return counter.size
