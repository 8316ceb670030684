"""Bytes kept for a while: in memory while they are few, then in a temporary file of the running task."""

from __future__ import annotations

import tempfile
from typing import IO, cast

from crossdock.errors import CompositionError

__all__ = ["spooled"]


def spooled(memory_bytes: int) -> IO[bytes]:
    """A file in memory up to this size, above it in the task's scratch directory, or the system's where no task runs."""
    return tempfile.SpooledTemporaryFile(max_size=memory_bytes, dir=cast("str", _Scratch()))


class _Scratch:
    """The directory for a temporary file, asked for when one is needed: the running task's, else the system's."""

    def __fspath__(self) -> str:
        import crossdock

        try:
            return str(crossdock.current().scratch)
        except CompositionError:
            return tempfile.gettempdir()
