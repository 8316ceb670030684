"""The mapped arguments of one map, side by side: row by row what each item gets.

Lazy throughout: a row is made when it is asked for. What counts as a column is said in ``given``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossdock.combine.mapping.given import Bundle, Unmapped, cells, is_column, known_length, may_wait
from crossdock.errors import CompositionError, MapLengthMismatch

__all__ = ["Columns", "OfBundle", "Row"]

Row = tuple[int, tuple[Any, ...]]
"""An item's index and its mapped values, in the order of ``Columns.names``."""

_END = object()


@dataclass(frozen=True, slots=True, eq=False)
class OfBundle:
    """Stands for one parameter whose values come out of a bundle."""

    bundle: Bundle


class _OneColumn:
    """A column as a bundle of one name."""

    def __init__(self, name: str, column: Any) -> None:
        self.names = (name,)
        self.total = known_length(column)
        self.may_wait = may_wait(column)
        self._column = column

    def rows(self, task: str) -> Iterator[tuple[Any, ...]]:
        return zip(cells(task, self.names[0], self._column), strict=False)


class Columns:
    """The mapped arguments of one map, iterated once.

    Attributes:
        names: The mapped parameters.
        constants: The other parameters and their values.
        total: The number of rows if it is known beforehand.
        may_wait: Whether making a row may take a while, because it waits for something else.

    Args:
        task: The task's name, for errors.
        arguments: By parameter: a column, a single value, or ``OfBundle``.
        indices: What the rows are numbered; from 0 by default.

    Raises:
        MapLengthMismatch: Two arguments of known length differ.
        CompositionError: Nothing is mapped.
    """

    def __init__(
        self, task: str, arguments: Mapping[str, Any], *, indices: Sequence[int] | None = None
    ) -> None:
        self._task = task
        self.indices = indices
        sources: list[Bundle | _OneColumn] = []
        self.constants: dict[str, Any] = {}
        for name, value in arguments.items():
            if isinstance(value, OfBundle):
                if not any(value.bundle is each for each in sources):
                    sources.append(value.bundle)
            elif is_column(value):
                sources.append(_OneColumn(name, value))
            else:
                self.constants[name] = value.value if isinstance(value, Unmapped) else value
        if not sources:
            raise CompositionError(
                f"map of {task!r} has nothing to map over: every argument is a single value",
                hint="give at least one list, tuple or iterator; text, dicts, paths and frames are single values",
            )
        self._sources = sources
        self.names = tuple(name for source in sources for name in source.names)
        self.may_wait = any(source.may_wait for source in sources)
        known = {", ".join(source.names): source.total for source in sources if source.total is not None}
        if len(set(known.values())) > 1:
            lengths = ", ".join(f"{name} has {length}" for name, length in known.items())
            raise self._mismatch(lengths)
        self.total = next(iter(known.values()), None)

    def _mismatch(self, lengths: str) -> MapLengthMismatch:
        return MapLengthMismatch(
            f"mapped arguments of {self._task!r} differ in length: {lengths}",
            hint="give a value that every item shares as xd.unmapped(value)",
        )

    def rows(self) -> Iterator[Row]:
        """One row per item, its cells values, ``UpstreamFailure`` or ``Unkept``, in input order.

        Raises:
            MapLengthMismatch: One argument ended before another; every row before that was yielded.
        """
        iterators = [source.rows(self._task) for source in self._sources]
        position = 0
        while True:
            parts = [next(iterator, _END) for iterator in iterators]
            ended = [source for source, part in zip(self._sources, parts, strict=True) if part is _END]
            if len(ended) == len(parts):
                return
            if ended:
                names = ", ".join(name for source in ended for name in source.names)
                raise self._mismatch(f"{names} ended after {position}, others go on")
            row: Any = parts[0] if len(parts) == 1 else tuple(itertools.chain.from_iterable(parts))  # type: ignore[arg-type]
            yield position if self.indices is None else self.indices[position], row
            position += 1
