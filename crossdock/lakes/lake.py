"""A lake as a recipe, and one table of it as it was found: what source and sink ask, whatever the format.

``Lake`` is picklable and opens nothing when it is built. ``Found`` is one state of one table; each library has its own.
"""

from __future__ import annotations

import abc
import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from crossdock.batches import Batches
from crossdock.connectors.sql.database import TableCapabilities
from crossdock.errors import ConfigError
from crossdock.lakes.columns import Columns
from crossdock.lakes.files import DataFiles
from crossdock.lakes.kinds import Kind
from crossdock.lakes.options import LakeOptions
from crossdock.lakes.place import Place
from crossdock.lakes.request import Request
from crossdock.options import describe_options, parse_options

if TYPE_CHECKING:
    from crossdock.lakes.sink import LakeSink
    from crossdock.lakes.source import LakeSource

__all__ = ["Asked", "Committed", "Found", "Lake", "columns_asked", "inner_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted of a table: all columns if none are named."""

    columns: tuple[str, ...] | None
    where: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """How a write ended: the table's version, and rows that changed in it."""

    version: str
    changed: int


class Found(abc.ABC):
    """One table at one version. Not thread-safe; holds no connection."""

    schema: pa.Schema
    partition_by: tuple[str, ...]
    version: str

    @abc.abstractmethod
    def read(self, asked: Asked) -> Iterator[pa.RecordBatch]:
        """Rows of the columns asked for, in the schema's types, of files that the condition cannot rule out; others are not opened.

        The condition is not applied to rows. Memory: what the library reads ahead of one or a few files.
        """

    @abc.abstractmethod
    def has_batch(self, batch_id: str) -> bool:
        """Whether an append of this name is among the table's commits."""


class Lake(abc.ABC):
    """One lake. Subclasses speak to one library.

    Args:
        url: As the user wrote it: ``NAME+`` and the URL of a store.
        options: Of the subclass's option class.
        storage: The store's own, as the user gave them.
    """

    capabilities: TableCapabilities
    options_class: ClassVar[type[LakeOptions]]
    format: ClassVar[str]
    folds_case: ClassVar[bool]
    upserts: ClassVar[bool]

    url: str
    options: Any

    @classmethod
    def opened(cls, url: str, options: Mapping[str, Any]) -> Self:
        """From a URL and options of both kinds, the format's and the store's.

        Raises:
            ConfigError: The URL or an option is wrong.
        """
        own = {name for row in describe_options(cls.options_class) for name in (row["name"], *row["aliases"])}
        mine = {name: value for name, value in options.items() if name in own}
        rest = {name: value for name, value in options.items() if name not in own}
        parsed = parse_options(cls.options_class, mine, where=url)
        try:
            return cls(url, parsed, rest)
        except ConfigError as error:
            for name in rest:
                near = difflib.get_close_matches(name, own, n=1)
                if near and f"option {name!r}" in error.cause:
                    error.hint = f"did you mean {near[0]!r}?"
            raise

    @staticmethod
    @abc.abstractmethod
    def kinds(kind: Kind) -> Kind:
        """The type that a type is kept in; see ``kinds``."""

    @abc.abstractmethod
    def __init__(self, url: str, options: Any = None, storage: Mapping[str, Any] | None = None) -> None: ...

    @abc.abstractmethod
    def translated(self, operation: str, table: str | None) -> AbstractContextManager[None]:
        """Everything in the block raises our errors; those of the stream that is written pass as they are."""

    @abc.abstractmethod
    def find(self, table: str | None, version: Any = None) -> Found:
        """One table; one or a few requests.

        Raises:
            NotFoundError: There is no such table or version.
        """

    @abc.abstractmethod
    def tables(self) -> Iterator[str]:
        """Names fit for ``find``."""

    @abc.abstractmethod
    def drafted(self, table: str | None, found: Found | None, plan: Columns) -> DataFiles:
        """Where and with which columns the data files of a write go."""

    @abc.abstractmethod
    def commit(
        self, table: str | None, found: Found | None, plan: Columns, request: Request, files: DataFiles
    ) -> Committed:
        """Make the files part of the table, in one step.

        Raises:
            PreconditionError: Somebody else was in the way. Nothing was committed.
        """

    @abc.abstractmethod
    def merge(
        self, table: str | None, found: Found, plan: Columns, request: Request, rows: Batches
    ) -> tuple[Committed, int]:
        """Insert rows with new keys and change those that differ, in one step; also gives the number of rows."""

    @abc.abstractmethod
    def check(self) -> None:
        """Prove that the lake can be reached."""

    @property
    @abc.abstractmethod
    def place(self) -> Place | None:
        """Where its objects are, if that is known."""

    @property
    def endpoint(self) -> str:
        """Equal for the same place, asked with the same credentials."""
        place = self.place
        return self.url if place is None else f"{place.store.endpoint} {self.url}"

    def label(self, table: str | None) -> str:
        """A table's URL, for receipts and errors."""
        return self.url if table is None else f"{self.url.rstrip('/')}/{table}"

    def source(self) -> LakeSource:
        """A task that reads."""
        from crossdock.lakes.source import LakeSource

        return LakeSource(self)

    def sink(self) -> LakeSink:
        """A task that writes.

        Raises:
            ConfigError: This is a source only.
        """
        from crossdock.lakes.sink import LakeSink

        return LakeSink(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def inner_url(url: str, name: str) -> str:
    """The store's URL behind ``NAME+``.

    Raises:
        ConfigError: There is none.
    """
    scheme, sep, rest = url.partition("://")
    _, plus, inner = scheme.partition("+")
    if not plus or not inner or not sep or not rest.strip("/"):
        raise ConfigError(
            f"the URL does not say where the {name} tables are",
            operation="open",
            where=url,
            hint=f"write {name}+s3://bucket/prefix, {name}+file:///directory, ...",
        )
    return f"{inner}://{rest}"


def columns_asked(asked: Sequence[str] | None, schema: pa.Schema, where: str) -> list[str]:
    """The columns, in the order asked for.

    Raises:
        ConfigError: There is no such column, or none is named.
    """
    if asked is None:
        return list(schema.names)
    missing = [name for name in asked if name not in schema.names]
    if missing or not asked:
        raise ConfigError(
            f"there is no column {', '.join(map(repr, missing))}" if missing else "columns names none",
            operation="read",
            where=where,
            hint=f"columns: {', '.join(schema.names)}",
        )
    return list(asked)
