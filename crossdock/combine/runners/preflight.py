"""Before work starts: does each worker run our software, can it load the task, does it reach the stores with its credentials?

Anything in the mapped task with a method ``preflight()`` is asked on each worker, once per ``preflight_place`` (or per object):
sources, sinks, and whatever a task of your own holds. It raises an error of crossdock's and takes a request or two.
"""

from __future__ import annotations

import asyncio
import io
import queue
import threading
import time
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import cloudpickle

from crossdock.combine.runners.onworker import function_of
from crossdock.combine.runners.sharding import mismatch_text, software
from crossdock.combine.runners.wire import decode, portable_error
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CrossdockError,
    MissingExtraError,
    UnexpectedError,
)

__all__ = [
    "Check",
    "Checkable",
    "asked_here",
    "check_here",
    "made_with",
    "on_worker",
    "pickled_with_checks",
    "versions",
]

_BOUND_S = 20.0  # of all places together: the layer below tries each twice
_AT_ONCE = 8
_TRAVELS_WITH = ("dask", "distributed", "cloudpickle")  # both ends should have the same of


class Checkable(Protocol):
    """What a task may hold and offer: proves on the machine where it is called that work can be done from there."""

    def preflight(self) -> None:
        """Raise an error of ``crossdock.errors`` if not; takes a request or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a worker has to show for one function. Travels with its shards, for workers that come later.

    Attributes:
        name: What errors call the task.
        places: What is asked for its ``preflight``, each pickled.
        software: The driver's.
    """

    name: str
    places: tuple[bytes, ...]
    software: tuple[str, str]


# -- on the driver ---------------------------------------------------------------------------------------------------


class _Collector(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles, and notes what it meets on the way that has a ``preflight``."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.found: list[Checkable] = []

    def reducer_override(self, value: Any) -> Any:
        self._note(value)
        # What is pickled by name brings nothing along: look at what its code refers to.
        function = (getattr(value, "__dict__", None) or {}).get("__wrapped__", value)
        if isinstance(function, types.FunctionType):
            for each in _referred(function):
                self._note(each)
        return super().reducer_override(value)

    def _note(self, value: Any) -> None:
        # The class is asked: a described call or a parameter answers any other question with an error.
        if callable(getattr(type(value), "preflight", None)):
            self.found.append(value)


def _referred(function: types.FunctionType) -> Iterator[Any]:
    """Values of the global and enclosing names that a function's code uses."""
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet assigned
            continue


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def pickled_with_checks(function: Any) -> tuple[bytes, list[Checkable]]:
    """A function as bytes, and what in it wants to be asked before work starts; one of each place.

    Raises:
        Exception: What cannot be pickled, raises what it likes.
    """
    file = io.BytesIO()
    collector = _Collector(file)
    collector.dump(function)
    return file.getvalue(), _distinct(collector.found)


def _distinct(found: Iterable[Checkable]) -> list[Checkable]:
    kept: dict[Any, Checkable] = {}
    for each in found:
        kept.setdefault(getattr(each, "preflight_place", None) or id(each), each)
    return list(kept.values())


def made_with(name: str, places: list[Checkable]) -> Check:
    """The check of a task, and of what was met when it was pickled."""
    pickled = tuple(cloudpickle.dumps(place, protocol=5) for place in places)
    return Check(name=name, places=pickled, software=software())


def on_worker(worker: str, error: CrossdockError, others: int = 0) -> CrossdockError:
    """A worker's error, for who reads it at the driver."""
    also = f", and {others} more" if others else ""
    error.cause = f"on worker {worker}{also}: {error.cause}"
    error.operation = error.operation or "preflight"
    return error


# -- on the worker ---------------------------------------------------------------------------------------------------


_reached: set[bytes] = (
    set()
)  # places that answered this process; asking again for each run would cost requests
_reached_lock = threading.Lock()


def check_here(check: Check, function: bytes) -> CrossdockError | None:
    """Why this process cannot work for the task, as an error that can travel; ``None`` if it can.

    Waits some twenty seconds at most. A place that answered is not asked again.
    """
    try:
        _software(check)
        _loads(check, function)
        with _reached_lock:
            new = [place for place in check.places if place not in _reached]
        if new:
            _reaches([decode(place) for place in new])
    except CrossdockError as error:
        return portable_error(error)  # type: ignore[no-any-return]
    with _reached_lock:
        if len(_reached) > 4_096:  # remembering for ever would cost memory
            _reached.clear()
        _reached.update(new)
    return None


def _software(check: Check) -> None:
    if check.software != software():
        raise ConfigError(
            mismatch_text(check.software, software()),
            operation="preflight",
            hint="install the same versions on both sides",
        )


def _loads(check: Check, function: bytes) -> None:
    try:
        function_of(function)
    except CrossdockError:
        raise
    except ImportError as error:
        missing = f": install {error.name}" if error.name else ""
        raise MissingExtraError(
            f"task {check.name!r} cannot be loaded: {error}",
            operation="preflight",
            hint=f"workers need what the task imports{missing} there",
        ) from error
    except Exception as error:
        raise ConfigError(
            f"task {check.name!r} cannot be loaded: {type(error).__name__}: {error}",
            operation="preflight",
            hint="build clients and open files inside the task; give it recipes such as S3Source(...)",
        ) from error


def _reaches(places: list[Checkable]) -> None:
    """Ask all places at once; the first that fails is raised."""
    answers: queue.SimpleQueue[CrossdockError | None] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[Checkable] = queue.SimpleQueue()
    for place in places:
        waiting.put(place)

    def ask() -> None:
        try:
            while True:
                answers.put(_asked(waiting.get_nowait()))
        except queue.Empty:
            return

    # Threads nobody waits for: an endpoint that swallows packets keeps them longer than anybody wants to wait.
    for number in range(min(_AT_ONCE, len(places))):
        threading.Thread(target=ask, name=f"crossdock-preflight-{number}", daemon=True).start()
    until = time.monotonic() + _BOUND_S
    for _ in places:
        try:
            answer = answers.get(timeout=max(until - time.monotonic(), 0))
        except queue.Empty:
            named = ", ".join(str(getattr(each, "url", type(each).__name__)) for each in places)
            raise ConnectionLostError(
                f"no answer within {_BOUND_S:.0f} s, asking for {named}",
                operation="preflight",
                hint="look at the worker's network; preflight=False starts without asking",
            ) from None
        if answer is not None:
            raise answer


def _asked(place: Checkable) -> CrossdockError | None:
    try:
        place.preflight()
    except CrossdockError as error:
        return error
    except Exception as error:
        trouble = UnexpectedError(
            f"{type(error).__name__}: {error}", operation="preflight", where=type(place).__name__
        )
        trouble.__cause__ = error
        return trouble
    return None


def versions() -> dict[str, str]:
    """Of the packages that speak to each other between driver and worker."""
    found: dict[str, str] = {}
    for name in _TRAVELS_WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed in a way that leaves no metadata
            continue
    return found


async def asked_here(check: Check, function: bytes) -> tuple[CrossdockError | None, dict[str, str]]:
    """What a worker answers to a driver that asks all of them: in a thread, so that its heart beats on."""
    return await asyncio.to_thread(check_here, check, function), versions()
