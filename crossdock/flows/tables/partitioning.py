"""What a dataset is partitioned by, as texts: how a command line says it, and how a run keeps it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from crossdock.combine.caching.fingerprint import fingerprint
from crossdock.datasets.derived import Derived, Partitioner, partitioner_of

__all__ = ["is_of_functions", "partition_texts", "partitioner_from"]

_DERIVED = re.compile(r"(year|month|day|hour|date)\((.+)\)")
_FUNCTION = "function "


def partitioner_from(given: Any) -> Partitioner:
    """As ``partitioner_of``, and texts besides: ``"month(at)"`` is ``xd.month("at")``; ``NAME=month(at)`` gives it a name of its own.

    Raises:
        ConfigError: It is nothing to partition by.
    """
    if isinstance(given, str | Derived):
        given = [given]
    if not isinstance(given, Sequence):
        return partitioner_of(given)
    if not any(isinstance(each, str) and "=" in each for each in given):
        return partitioner_of([_of_text(each) for each in given])
    named: dict[str, Any] = {}
    for each in given:
        name, sep, text = each.partition("=") if isinstance(each, str) else ("", "", each)
        of = _of_text(text if sep else each)
        named[name if sep else of.unit if isinstance(of, Derived) else of] = of
    return partitioner_of(named)


def partition_texts(partitioner: Partitioner) -> list[str]:
    """The other way round; of a function only a fingerprint is left."""
    return [f"{name}={_text(of)}" if of != name else name for name, of in partitioner.columns]


def is_of_functions(texts: Sequence[str] | None) -> bool:
    """Whether what a run kept cannot be made again."""
    return any(each.partition("=")[2].startswith(_FUNCTION) for each in texts or ())


def _of_text(each: Any) -> Any:
    found = _DERIVED.fullmatch(each) if isinstance(each, str) else None
    return each if found is None else Derived(found[1], found[2].strip("'\" "))


def _text(of: Any) -> str:
    if isinstance(of, Derived):
        return f"{of.unit}({of.column})"
    return of if isinstance(of, str) else f"{_FUNCTION}{fingerprint(of, name='partition_by')}"
