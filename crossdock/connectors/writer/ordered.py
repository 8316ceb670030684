"""Digests that need their bytes in order, of bytes that arrive in parallel: MD5 and SHA-256, whole or by the source's parts.

Pieces of one stretch are taken in the order of their offsets, whichever thread brings them first; different stretches
are hashed in parallel. Nothing is buffered: a piece that is early waits in its thread, whose memory the budget counts.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from crossdock.connectors.digests import Hasher
from crossdock.errors import ConnectionLostError, IntegrityError
from crossdock.model import Digests
from crossdock.ports import Chunk

__all__ = ["OrderedHasher", "OtherPartFailedError"]


class OtherPartFailedError(ConnectionLostError):
    """This part was not sent because another one failed; never what is reported."""


class _Stretch:
    __slots__ = ("end", "hasher", "next")

    def __init__(self, start: int, end: int, names: Iterable[str]) -> None:
        self.next, self.end = start, end
        self.hasher = Hasher(names)


class OrderedHasher:
    """Digests of consecutive stretches of one object. Thread-safe.

    Never a deadlock as long as pieces are begun in the order of their offsets: the first that is not yet taken waits
    for nobody.

    Args:
        sizes: Of the stretches, in bytes; together the object.
        names: The digests to compute of each.
    """

    def __init__(self, sizes: Sequence[int], names: Iterable[str]) -> None:
        chosen = frozenset(names)
        ends = [*accumulate(sizes)]
        self._starts = [0, *ends[:-1]]
        self._stretches = [
            _Stretch(start, end, chosen) for start, end in zip(self._starts, ends, strict=True)
        ]
        self._turn = threading.Condition()
        self._broken = False

    def update(self, start: int, data: Chunk) -> None:
        """Take the bytes from ``start`` on, each exactly once; waits until those before them in their stretch were taken.

        Raises:
            IntegrityError: There are more bytes than the object has.
            OtherPartFailedError: ``break_up`` was called.
        """
        view, at = memoryview(data).cast("B"), start
        index = bisect_right(self._starts, at) - 1
        while view:
            if index >= len(self._stretches) or at > self._stretches[index].end:
                raise IntegrityError("there are more bytes than the source said", operation="read")
            stretch = self._stretches[index]
            piece, view = view[: stretch.end - at], view[stretch.end - at :]
            self._take(stretch, at, piece)
            at, index = at + len(piece), index + 1

    def _take(self, stretch: _Stretch, at: int, piece: memoryview) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._broken or stretch.next == at)
            if self._broken:
                raise OtherPartFailedError("another part failed", operation="put part")
        stretch.hasher.update(piece)  # nobody else's turn, so no lock
        with self._turn:
            stretch.next += len(piece)
            self._turn.notify_all()

    def break_up(self) -> None:
        """Let nobody wait for bytes that will not come."""
        with self._turn:
            self._broken = True
            self._turn.notify_all()

    def digests(self) -> list[Digests]:
        """Digests of each stretch, of what was taken so far."""
        return [stretch.hasher.digests() for stretch in self._stretches]
