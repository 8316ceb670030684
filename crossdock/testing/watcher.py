"""The oracles O1 and O3 of the contract: nothing wrong is ever seen at a destination, nothing is left behind.

``Watcher`` reads destination keys from a thread of its own while a run writes them, by a route that is not the run's, and
keeps every sighting that is neither one version of the source nor what was there before. ``threads_left`` names our
threads that are still alive.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Sighting", "Watcher", "threads_left"]

_PATIENCE_S = 30.0
_PAUSE_S = 0.001  # between two looks, so that the run gets its turn
_OURS = "crossdock-"  # a connection that is kept for the next write has another name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A body that should not have been there. ``size`` is ``None`` where nothing was there."""

    key: str
    size: int | None
    sha256: str
    look: int  # the number of the look that saw it


def _mark(body: bytes | None) -> tuple[int | None, str]:
    return (None, "") if body is None else (len(body), hashlib.sha256(body).hexdigest())


class Watcher:
    """Looks at keys over and over, from a thread of its own, while a ``with`` block runs.

    What may be seen is said before it can be: what is at the destination before the block begins (``allow(key, None)`` if
    nothing is), and every version of the source *before* it is written there. Memory: a digest for each body allowed, and
    the body seen last under each key.

    Args:
        read: The bytes under a key, ``None`` if there are none; another route than the run's: a back door, or a second
            client. Called from the watcher's thread. What it raises is raised when the block ends.
        keys: What to look at, in turn.

    Example:
        >>> watcher = Watcher({"a": b"new"}.get, ["a"])
        >>> watcher.allow("a", None, b"new")
        >>> with watcher:
        ...     ...  # run what is watched
        Ellipsis
        >>> watcher.assert_exact()
    """

    def __init__(self, read: Callable[[str], bytes | None], keys: Iterable[str]) -> None:
        self._read = read
        self.keys = tuple(keys)
        self._allowed: dict[str, set[tuple[int | None, str]]] = {key: set() for key in self.keys}
        self._seen: dict[str, set[tuple[int | None, str]]] = {key: set() for key in self.keys}
        self._wrong: list[Sighting] = []
        self._last: dict[str, tuple[bytes | None, tuple[int | None, str]]] = {}
        self._looks = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def allow(self, key: str, *bodies: bytes | None) -> None:
        """These may be seen under a key from now on; ``None``: nothing may be there."""
        marks = {_mark(body) for body in bodies}
        with self._changed:
            self._allowed[key] |= marks

    def look(self) -> None:
        """Look at every key once, now, in the caller's thread: for the moment between two chunks of a source."""
        for key in self.keys:
            self._take(key, self._read(key))
        with self._changed:
            self._looks += 1
            self._changed.notify_all()

    @property
    def looks(self) -> int:
        """How often all keys were looked at."""
        with self._changed:
            return self._looks

    @property
    def wrong(self) -> tuple[Sighting, ...]:
        """What should not have been there."""
        with self._changed:
            return tuple(self._wrong)

    def versions_seen(self, key: str) -> int:
        """How many different states of a key were seen, allowed or not."""
        with self._changed:
            return len(self._seen[key])

    def wait_for_looks(self, count: int) -> None:
        """Wait until every key was looked at ``count`` times more.

        Raises:
            TimeoutError: The watcher does not come round.
        """
        with self._changed:
            until = self._looks + count
            done = self._changed.wait_for(
                lambda: self._looks >= until or self._error is not None, _PATIENCE_S
            )
        if self._error is not None:
            raise self._error
        if not done:
            raise TimeoutError(f"the watcher did not look {count} times within {_PATIENCE_S:.0f} s")

    def assert_exact(self) -> None:
        """It did look, and saw nothing that was not allowed."""
        if not self.looks:
            raise AssertionError("the watcher never looked")
        if self.wrong:
            raise AssertionError(f"what should never be there was seen: {self.wrong[:5]}")

    def _take(self, key: str, body: bytes | None) -> None:
        last = self._last.get(key)
        mark = (
            last[1] if last is not None and last[0] == body else _mark(body)
        )  # to compare is cheaper than to hash
        self._last[key] = body, mark
        with self._changed:
            self._seen[key].add(mark)
            if mark not in self._allowed[key]:
                self._wrong.append(Sighting(key=key, size=mark[0], sha256=mark[1], look=self._looks))

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PAUSE_S):
                self.look()
        except BaseException as error:  # raised again where somebody hears it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait_for_looks(1)  # the end state, too
        finally:
            self._stop.set()
            self._thread.join(_PATIENCE_S)
        if kind is None and self._error is not None:
            raise self._error


def threads_left() -> list[str]:
    """Names of threads that writes of ours started and that are still alive, in order."""
    return sorted(
        thread.name for thread in threading.enumerate() if thread.name.startswith(_OURS) and thread.is_alive()
    )
