"""Names in SQL: quoted by us, always, so that a name is a name whatever is in it.

The text form of a table is ``table`` or ``schema.table``, as people write it; a part with a dot or a quote in it is
written in double quotes, doubled inside, as in SQL. What ``str`` of a ``TableName`` gives, ``parse`` reads back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossdock.errors import ConfigError

__all__ = ["STAGING", "TableName", "is_staging", "quoted"]

STAGING = "crossdock_load_"
"""What names of tables begin with in which the rows of a load wait; the load's own name follows."""

_QUOTED = re.compile(r'"((?:[^"]|"")+)"')


def quoted(name: str) -> str:
    """A name as an SQL identifier, exactly: neither its case is changed nor can it end the quotes.

    Raises:
        ConfigError: It is empty, or has a NUL, which no database takes.
    """
    if not name or "\0" in name:
        raise ConfigError(
            f"{name!r} cannot be a name in a database",
            operation="open",
            hint="names are not empty and have no NUL",
        )
    return '"' + name.replace('"', '""') + '"'


def is_staging(table: str) -> bool:
    """Whether a table is one that a load's rows wait in."""
    return table.startswith(STAGING) and len(table) > len(STAGING)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table, with the schema it is in unless that is left to the database."""

    table: str
    schema: str | None = None

    def __post_init__(self) -> None:
        quoted(self.table)
        if self.schema is not None:
            quoted(self.schema)

    @classmethod
    def parse(cls, text: str | TableName) -> TableName:
        """Read ``table``, ``schema.table``, ``"ta.ble"`` or ``"sche.ma"."ta""ble"``.

        Without a double quote at the beginning, the first dot is the only sign with a meaning.

        Raises:
            ConfigError: The text is no table's name.
        """
        if isinstance(text, TableName):
            return text
        if text.startswith('"'):
            parts = _parts(text)
            if parts is not None:
                return cls(table=parts[-1], schema=parts[0] if len(parts) == 2 else None)
            raise ConfigError(
                f"{text!r} is no table's name",
                operation="open",
                hint='write schema.table, or "schema"."table" with quotes inside doubled',
            )
        head, dot, tail = text.partition(".")
        if tail.startswith('"'):
            parts = _parts(tail)
            tail = parts[0] if parts is not None and len(parts) == 1 else tail
        return cls(table=tail, schema=head) if dot else cls(table=head)

    @property
    def sql(self) -> str:
        """As it stands in a statement."""
        return quoted(self.table) if self.schema is None else f"{quoted(self.schema)}.{quoted(self.table)}"

    def beside(self, table: str) -> TableName:
        """Another table of the same schema."""
        return TableName(table=table, schema=self.schema)

    def __str__(self) -> str:
        parts = [self.table] if self.schema is None else [self.schema, self.table]
        if any(any(sign in part for sign in '."') for part in parts):
            return self.sql
        return ".".join(parts)


def _parts(text: str) -> list[str] | None:
    """One or two quoted identifiers with a dot between; ``None`` for anything else."""
    found = list(_QUOTED.finditer(text))
    if not 1 <= len(found) <= 2 or ".".join(match[0] for match in found) != text:
        return None
    return [match[1].replace('""', '"') for match in found]
