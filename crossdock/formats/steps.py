"""What may stand between a decoder and an encoder: rows in, rows out, batch by batch. All are stitch functions.

Each pulls from what stands before it only when it is asked, keeps the order of rows, and closes what stands before it when it is
closed. Building one checks its arguments and loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.batches import Batches
from crossdock.errors import ConfigError
from crossdock.formats.bad_rows import OnBadRow, check_policy
from crossdock.formats.step import Step

__all__ = ["cast", "chain", "filter", "limit", "rename", "sample", "select", "transform"]


@dataclass(frozen=True, slots=True, repr=False)
class Chain(Step):
    """``chain(...)``; see there."""

    steps: tuple[Callable[[Any], Any], ...]

    def __call__(self, value: Any, /) -> Any:
        """Put the value through; what an earlier step made is closed if a later one fails."""
        for number, step in enumerate(self.steps):
            made = value
            try:
                value = step(made)
            except BaseException:
                if number and callable(getattr(made, "close", None)):
                    made.close()
                raise
        return value

    def __repr__(self) -> str:
        return f"chain({', '.join(map(_named, self.steps))})"


def _named(step: Any) -> str:
    return step.__qualname__ if hasattr(step, "__qualname__") else repr(step)


def chain(*steps: Callable[[Any], Any]) -> Chain:
    """Several stitch functions as one: each gets what the one before it returned.

    Raises:
        ConfigError: One of them cannot be called.
    """
    for step in steps:
        if not callable(step):
            raise ConfigError(f"a step is a function, not {type(step).__name__}", operation="chain")
    flat = [each for step in steps for each in (step.steps if isinstance(step, Chain) else (step,))]
    return Chain(tuple(flat))


@dataclass(frozen=True, slots=True, repr=False)
class Select(Step):
    """``select(...)``; see there."""

    columns: tuple[str, ...]

    def __call__(self, value: Any, /) -> Batches:
        """The batches with these columns only."""
        from crossdock.formats.shaping import selected

        return selected(Batches.of(value), self.columns)

    def __repr__(self) -> str:
        return f"select({', '.join(map(repr, self.columns))})"


def select(*columns: str) -> Select:
    """Only these columns, in this order; a name that is not there is an error when the stream begins."""
    for name in columns:
        if not isinstance(name, str):
            raise ConfigError(f"a column is told by its name, not by {name!r}", operation="select")
    return Select(columns)


@dataclass(frozen=True, slots=True, repr=False)
class Rename(Step):
    """``rename(...)``; see there."""

    _positional = ("names",)

    names: Mapping[str, str]

    def __call__(self, value: Any, /) -> Batches:
        """The batches under other names."""
        from crossdock.formats.shaping import renamed

        return renamed(Batches.of(value), self.names)


def rename(names: Mapping[str, str]) -> Rename:
    """Other names for some columns: old to new. A name that is not there, or would stand twice, is an error."""
    return Rename(dict(names))


@dataclass(frozen=True, slots=True, repr=False)
class Cast(Step):
    """``cast(...)``; see there."""

    _positional = ("schema",)

    schema: Any
    on_bad_row: OnBadRow = "fail"

    def __post_init__(self) -> None:
        check_policy(self.on_bad_row)

    def __call__(self, value: Any, /) -> Batches:
        """The batches in other types."""
        from crossdock.formats.shaping import as_cast

        return as_cast(Batches.of(value), self.schema, self.on_bad_row)


def cast(schema: Any, *, on_bad_row: OnBadRow = "fail") -> Cast:
    """Other types for columns, without loss: a value that does not fit is a bad row.

    Args:
        schema: A mapping of some names to types (or their names): the other columns stay. A ``pyarrow.Schema``: exactly its
            columns in its order; those that lack are null.
        on_bad_row: As for ``decode``.
    """
    return Cast(dict(schema) if isinstance(schema, Mapping) else schema, on_bad_row)


@dataclass(frozen=True, slots=True, repr=False)
class Filter(Step):
    """``filter(...)``; see there."""

    _positional = ("condition",)

    condition: Any

    def __call__(self, value: Any, /) -> Batches:
        """The rows for which it holds."""
        from crossdock.formats.shaping import filtered

        return filtered(Batches.of(value), self.condition)

    def __crossdock_fingerprint__(self) -> Any:
        """An expression by its text, for a cache's key; a function as functions are."""
        return self.condition if _is_plain_function(self.condition) else f"expression {self.condition}"


def _is_plain_function(condition: Any) -> bool:
    return callable(condition) and not type(condition).__module__.startswith("pyarrow")


def filter(condition: Any) -> Filter:  # noqa: A001 - the word everybody uses; read as xd.filter
    """Only the rows for which a condition holds; where it is null, it does not.

    Args:
        condition: A pyarrow expression (``pc.field("n") > 3``), or a function of a record batch that returns a boolean array.
    """
    if not callable(condition) and type(condition).__name__ != "Expression":
        raise ConfigError(
            f"a condition is a pyarrow expression or a function of a batch, not {type(condition).__name__}",
            operation="filter",
            hint='write pc.field("n") > 3, with import pyarrow.compute as pc',
        )
    return Filter(condition)


@dataclass(frozen=True, slots=True, repr=False)
class Limit(Step):
    """``limit(...)``; see there."""

    _positional = ("rows",)

    rows: int

    def __post_init__(self) -> None:
        if type(self.rows) is not int or self.rows < 0:
            raise ConfigError(f"rows is a number from 0, not {self.rows!r}", operation="limit")

    def __call__(self, value: Any, /) -> Batches:
        """The first rows; then the source is closed."""
        from crossdock.formats.shaping import limited

        return limited(Batches.of(value), self.rows)


def limit(rows: int) -> Limit:
    """The first rows only. Once they were pulled the source is closed, and no more of it read."""
    return Limit(rows)


@dataclass(frozen=True, slots=True, repr=False)
class Sample(Step):
    """``sample(...)``; see there."""

    rows: int | None = None
    fraction: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.fraction is None):
            raise ConfigError("give rows or fraction", operation="sample")
        if self.rows is not None and self.rows < 0:
            raise ConfigError(f"rows is a number from 0, not {self.rows}", operation="sample")
        if self.fraction is not None and not 0 <= self.fraction <= 1:
            raise ConfigError(f"fraction is between 0 and 1, not {self.fraction}", operation="sample")

    def __call__(self, value: Any, /) -> Batches:
        """Some of the rows, in their order."""
        from crossdock.formats.sampling import sampled

        return sampled(Batches.of(value), self.rows, self.fraction, self.seed)


def sample(*, rows: int | None = None, fraction: float | None = None, seed: int = 0) -> Sample:
    """Some of the rows by chance, in their order; the same seed on the same rows gives the same ones.

    Args:
        rows: So many (all, if there are fewer): each set of rows is equally likely. The whole stream is read before the first one
            comes; memory: the sample.
        fraction: Each row with this probability, as it passes.
        seed: Where the chance begins.
    """
    return Sample(rows=rows, fraction=fraction, seed=seed)


@dataclass(frozen=True, slots=True, repr=False)
class Transform(Step):
    """``transform(...)``; see there."""

    _positional = ("function",)

    function: Callable[[Any], Any]
    frame: str = "arrow"
    schema: Any = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(f"{self.function!r} is no function", operation="transform")
        if self.frame not in ("arrow", "pandas", "polars"):
            raise ConfigError(
                f"frame is 'arrow', 'pandas' or 'polars', not {self.frame!r}", operation="transform"
            )

    def __call__(self, value: Any, /) -> Batches:
        """The results; without ``schema``, batches are put through now until one has rows."""
        from crossdock.formats.frames import transformed

        return transformed(Batches.of(value), self.function, self.frame, self.schema)


def transform(function: Callable[[Any], Any], *, frame: str = "arrow", schema: Any = None) -> Transform:
    """A function of one's own, batch by batch: it sees some rows at a time, never all of them.

    Args:
        function: Takes a ``pyarrow.RecordBatch``, a pandas or a polars ``DataFrame``; returns any of these, of any number of rows.
            Integers and booleans with nulls come to pandas in its nullable types, so that they stay exact.
        frame: What it takes.
        schema: What the results have; without it, the first result with rows tells, and the others are cast to that without
            loss, or fail.
    """
    return Transform(function, frame, schema)
