"""What a decoder is asked for, whatever the format: columns, types, a schema, and what may differ from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.errors import ConfigError
from crossdock.formats.schemas import Evolve, as_schema, told

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of an object.

    Attributes:
        schema: The columns, all of them; ``None`` takes what is there.
        types: Types of some columns, where they are not to be inferred.
        columns: Which of the columns; ``None`` for all.
        evolve: What may differ from ``schema``.
    """

    schema: pa.Schema | None
    types: pa.Schema
    columns: tuple[str, ...] | None
    evolve: Evolve

    @classmethod
    def of(cls, *, schema: Any, types: Any, columns: tuple[str, ...] | None, evolve: Evolve) -> Request:
        """From what a user wrote."""
        return cls(
            schema=None if schema is None else as_schema(schema),
            types=as_schema(types or {}),
            columns=columns,
            evolve=evolve,
        )

    def demand_typed(self, names: list[str], *, where: str) -> None:
        """Columns whose types were given have to be there.

        Raises:
            ConfigError: One of them is not.
        """
        _demand(self.types.names, names, where)

    def narrowed(self, schema: pa.Schema, *, where: str) -> pa.Schema:
        """Only the columns that are wanted, in the order they were asked for.

        Raises:
            ConfigError: One of them is not there.
        """
        if self.columns is None:
            return schema
        _demand(self.columns, schema.names, where)
        return pa.schema([schema.field(name) for name in self.columns], metadata=told(schema))


def _demand(wanted: Iterable[str], names: list[str], where: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ConfigError(
            f"there is no column {', '.join(map(repr, missing))}",
            operation="decode",
            where=where,
            hint=f"columns: {', '.join(names)}",
        )
