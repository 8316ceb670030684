"""What goes to a worker and comes back, as bytes made here.

Results are data: an item's error never becomes the message's error, and what cannot be pickled is replaced by an error that
says so. Both ends are crossdock's own processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from crossdock.combine.retrying import retry_of
from crossdock.errors import ConfigError, CrossdockError, UnexpectedError
from crossdock.model import Outcome, State

__all__ = [
    "Answer",
    "cannot_travel",
    "decode",
    "encode_answer",
    "encode_items",
    "pickled",
    "portable_error",
    "unpicklable",
]

_TRAVEL_HINT = "build clients and open files inside the task; give it recipes such as S3Source(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A shard's way back.

    Attributes:
        results: One per item, in order: a value, or an error in its place. A single error if the items could not be read.
        seconds: How long they took; 0 if they did not run.
        told: What the worker had to tell meanwhile, see ``telling``.
        refusal: Why this worker is not fit to run the shard; then there are no results.
    """

    results: list[Any]
    seconds: float = 0.0
    told: Mapping[str, Any] | None = None
    refusal: CrossdockError | None = None


def pickled(value: Any, name: str) -> bytes:
    """A function as bytes.

    Raises:
        ConfigError: It cannot be pickled.
    """
    try:
        return cloudpickle.dumps(value, protocol=5)  # type: ignore[no-any-return]
    except Exception as error:
        raise cannot_travel(name, error) from error


def cannot_travel(name: str, error: Exception) -> ConfigError:
    """What to say when a task cannot leave the driver."""
    return ConfigError(
        f"{name!r} or its arguments cannot be pickled for a worker: {type(error).__name__}: {error}",
        operation="map",
        hint=_TRAVEL_HINT,
    )


def unpicklable(items: Iterable[tuple[int, Any]]) -> dict[int, ConfigError]:
    """Those numbered items that cannot leave the driver, and what to say of each. Pickles one at a time and keeps nothing."""
    found: dict[int, ConfigError] = {}
    for number, item in items:
        try:
            cloudpickle.dumps(item, protocol=5)
        except Exception as error:
            text = f"this item cannot be pickled for a worker: {type(error).__name__}: {error}"
            found[number] = ConfigError(text, operation="map", hint=_TRAVEL_HINT)
            found[number].__cause__ = error
    return found


def encode_items(items: Sequence[Any], *, peers: int = 1, words: Sequence[tuple[Any, ...]] = ()) -> bytes:
    """A shard's items as bytes, with how many worker processes there are and what they were told last (``sharing.obey``)."""
    return cloudpickle.dumps((peers, list(words), list(items)), protocol=5)  # type: ignore[no-any-return]


def decode(data: bytes) -> Any:
    """The other end of every ``encode``."""
    return cloudpickle.loads(data)


def encode_answer(answer: Answer) -> bytes:
    """An answer as bytes; never fails for what is in it."""
    answer = replace(
        answer,
        results=[_portable(result) if _may_not_travel(result) else result for result in answer.results],
        refusal=portable_error(answer.refusal) if answer.refusal is not None else None,
    )
    try:
        return cloudpickle.dumps(answer, protocol=5)  # type: ignore[no-any-return]
    except Exception:
        answer = replace(answer, results=[_portable(result) for result in answer.results])
        return cloudpickle.dumps(answer, protocol=5)  # type: ignore[no-any-return]


def _may_not_travel(result: Any) -> bool:
    """Errors pickle well and fail to unpickle: their classes want arguments that the pickle does not carry."""
    return isinstance(result, BaseException) or (isinstance(result, Outcome) and result.error is not None)


def _portable(result: Any) -> Any:
    """The result if it survives the way, otherwise an error that says what did not."""
    trouble = _trouble(result)
    if trouble is None:
        return result
    if isinstance(result, BaseException):
        return _stand_in(result)
    if isinstance(result, Outcome):
        if result.error is not None:
            return replace(result, error=portable_error(result.error))
        result = replace(result, value=None)
        return replace(result, state=State.FAILED, error=_unpicklable(trouble))
    return _unpicklable(trouble)


def _trouble(result: Any) -> Exception | None:
    try:
        decode(cloudpickle.dumps(result, protocol=5))
    except Exception as error:
        return error
    return None


def portable_error(error: Any) -> Any:
    """An error that survives the way. A wrapping one keeps its fields; only a cause that cannot travel is replaced."""
    if _trouble(error) is None:
        return error
    if error.__cause__ is not None:
        error.__cause__ = _stand_in(error.__cause__)
    return error if _trouble(error) is None else _stand_in(error)


def _stand_in(error: BaseException) -> UnexpectedError:
    return UnexpectedError(
        f"{type(error).__name__}: {error}",
        hint="the original error cannot be pickled, so this is its text",
        retry=retry_of(error),
    )


def _unpicklable(trouble: Exception) -> UnexpectedError:
    return UnexpectedError(
        f"the task's result cannot leave the worker: {type(trouble).__name__}: {trouble}",
        hint="return something that can be pickled, such as a receipt or a key",
    )
