"""The join at run time: what crosses it, who is to blame when it breaks, and who closes it.

Nothing is wrapped, so what the first returns is what the second gets: the same object, on the same thread. Whose
error it was is read from the traceback afterwards: a frame of the first's generator or stream in it means that
pulling failed, however many foreign readers stood between. (An iterator written in C leaves no frame, so it alone
is put behind a generator.) That costs nothing while all goes well.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

from crossdock.errors import CompositionError, CrossdockError, IntegrityError, Retry, TaskFailed
from crossdock.options import format_size

__all__ = ["PHASES", "Crossing", "is_stream"]

PHASES = ("source", "stitch", "sink", "commit", "task", "cache")

# Types that can neither be closed nor pulled: most of what crosses in programs that move no streams.
_INERT = frozenset({bool, bytes, dict, float, int, list, set, str, tuple, type(None)})


class Crossing:
    """Where one attempt stands, and the streams that cross in it. Belongs to one thread."""

    __slots__ = ("_marks", "_pulled", "_streams", "phase")

    def __init__(self, phase: str = "source", *, pulled: Callable[[], None] | None = None) -> None:
        """``pulled`` is called for each item that is pulled out of a plain iterator, if somebody wants to know."""
        self.phase = phase
        self._pulled = pulled
        self._marks: list[tuple[str, Any, Any]] = []  # phase, the stream or its store, the generator's frame
        self._streams: list[Any] = []

    def take(self, value: Any, phase: str) -> Any:
        """Note a value that crosses; a stream is remembered so that it can be blamed and closed.

        Raises:
            CompositionError: It is a coroutine: the half is async after all.
        """
        if type(value) in _INERT:
            return value
        if inspect.iscoroutine(value):
            value.close()
            raise CompositionError(
                f"the {phase} half returned a coroutine; tasks are synchronous",
                hint="wrap it in a plain function that calls asyncio.run(...)",
            )
        if _is_builtin_iterator(value):
            value = _pull(value)
        if is_stream(value):
            self._streams.append(value)
            frame = value.gi_frame if isinstance(value, types.GeneratorType) else None
            self._marks.append((phase, value, frame))
            if self._pulled is not None and isinstance(value, types.GeneratorType):
                value = _telling(value, self._pulled)
                self._streams.append(value)
        return value

    def check_read(self) -> None:
        """Refuse a second half that stopped in the middle of a stream whose length is known, and returned.

        A half that means to stop early closes the stream itself. A stream that was not read at all is fine: its name or
        its place may have been what was wanted.

        Raises:
            IntegrityError: Such a stream was read in part.
        """
        for _, stream, _ in self._marks:
            tell = getattr(stream, "tell", None)
            if not callable(tell) or not hasattr(type(stream), "info") or stream.closed:
                continue
            read = tell()
            size = stream.info.size if read else None
            if size is not None and 0 < read < size:
                self.phase = "sink"
                raise IntegrityError(
                    f"the second half returned after it read {format_size(read)} of {format_size(size)}",
                    operation="read",
                    key=stream.info.key,
                    retry=Retry.NEVER,
                    hint="read to the end, or close the stream to say that the rest is not wanted",
                )

    def commit(self) -> None:
        """Tell what crossed that the second half has succeeded: a read that keeps its place may move it now.

        Such a stream has a method ``__crossdock_commit__()``. Its failure is the attempt's, in the phase ``commit``.
        """
        for _, stream, _ in self._marks:
            told = getattr(type(stream), "__crossdock_commit__", None)
            if told is None:
                continue
            self.phase = "commit"
            try:
                told(stream)
            except Exception as error:
                error.phase = "commit"  # type: ignore[attr-defined] # it came out of the stream, but not of reading
                raise

    def standing(self, frame: types.FrameType | None) -> str:
        """The phase in whose code another thread stands: that of the innermost stream it pulls, else where we are."""
        while frame is not None:
            found = self._mark_of(frame)
            if found:
                return found
            frame = frame.f_back
        return self.phase

    def release(self) -> None:
        """Close what crosses from another thread, to wake a half that waits for it. What refuses is closed later."""
        for stream in tuple(self._streams):
            # A generator that is running says so; a connection may fail in any way it likes while it is torn down.
            with contextlib.suppress(Exception):
                stream.close()

    def blame(self, error: BaseException) -> str:
        """The phase an error belongs to: its own word, else the stream it came out of, else where we stood."""
        for each in _chain(error):
            said = getattr(each, "phase", None)
            if said in PHASES and not isinstance(each, TaskFailed):
                return str(said)
            marked = self._marked(each)
            if marked:
                return marked
            told = self._told(each)
            if told:
                return told
        return self.phase

    def _marked(self, error: BaseException) -> str:
        """The phase of the innermost frame in the traceback that belongs to a stream."""
        found = ""
        trace = error.__traceback__
        while trace is not None:
            found = self._mark_of(trace.tb_frame) or found
            trace = trace.tb_next
        return found

    def _mark_of(self, frame: types.FrameType) -> str:
        """The phase of the stream whose own code this frame is, or nothing."""
        # Only a method's own ``self``: the second's first argument is the stream too.
        method = frame.f_code.co_argcount > 0 and frame.f_code.co_varnames[0] == "self"
        owner = frame.f_locals.get("self") if method else None
        for phase, stream, generator in self._marks:
            if frame is generator or (owner is not None and owner is stream):
                return phase
        return ""

    def _told(self, error: BaseException) -> str:
        """What a store's error says itself: a sink reads ranges of the source without going through the stream."""
        if self.phase != "sink" or not isinstance(error, CrossdockError):
            return ""
        if error.operation == "complete":
            return "commit"
        if error.operation not in ("read", "stat"):
            return ""
        for phase, stream, _ in self._marks:
            store, info = getattr(stream, "store", None), None
            with contextlib.suppress(CrossdockError):  # closed before anything was known of it
                info = getattr(stream, "info", None)
            same_place = store is None or error.where == getattr(store, "url", None)
            same_key = error.key is None or error.key == getattr(info, "key", None)
            if info is not None and same_place and same_key:
                return phase
        return ""

    def close(self) -> None:
        """Close what crossed, the last first; twice is fine.

        Raises:
            BaseException: What the first stream that failed to close raised; the others are closed all the same.
        """
        failed: BaseException | None = None
        while self._streams:
            try:
                self._streams.pop().close()
            except BaseException as error:
                failed = failed or error
        if failed is not None:
            raise failed


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, nearest first."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_builtin_iterator(value: Any) -> bool:
    """``map``, ``zip``, ``itertools`` and their like: iterators in C without a frame or a ``close``."""
    return (
        type(value).__module__ in ("builtins", "itertools")
        and not isinstance(value, types.GeneratorType)
        and isinstance(value, Iterator)
    )


def _pull(iterator: Iterator[Any]) -> Iterator[Any]:
    yield from iterator


def _telling(iterator: Iterator[Any], pulled: Callable[[], None]) -> Iterator[Any]:
    for item in iterator:
        pulled()
        yield item


def is_stream(value: Any) -> bool:
    """Whether it is pulled and can be closed; a value that merely has ``close`` (a client) is left alone."""
    if not callable(getattr(value, "close", None)):
        return False
    return isinstance(value, Iterator) or hasattr(value, "read") or hasattr(value, "__arrow_c_stream__")
