"""Which columns of a stream go into which columns of a table, decided before the first row is pulled. Pure.

By name, never by position. What the database cannot hold, or the table would round, cut or refuse, is an error that names
the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from crossdock.connectors.sql.dialect import Column, Dialect, There, Unrepresentable
from crossdock.connectors.sql.names import TableName
from crossdock.errors import ConfigError, UnsupportedError

__all__ = ["columns_of", "fits", "is_same", "matched", "suited"]


def columns_of(dialect: Dialect, schema: pa.Schema, name: TableName, key: Sequence[str]) -> list[Column]:
    """How each column of the stream is written.

    Raises:
        ConfigError: There are none, two have one name, or a key is none of them.
        UnsupportedError: The database has no type, or no name, for some of them.
    """
    if not schema.names:
        raise ConfigError("the stream has no columns", operation="write")
    _demand_names(dialect, [*schema.names, name.table], schema.names)
    absent = [each for each in key if each not in schema.names]
    if absent or len({*key}) != len(key):
        raise ConfigError(
            f"the key has {', '.join(map(repr, absent))}, which the stream has not"
            if absent
            else "the key names a column twice",
            operation="write",
            hint=f"its columns are {', '.join(schema.names)}",
        )
    columns, refused = [], []
    for field in schema:
        try:
            columns.append(dialect.column(field))
        except Unrepresentable as why:
            refused.append(f"{field.name!r} ({field.type}: {why})")
    if refused:
        raise UnsupportedError(
            f"{dialect.name} cannot hold columns {', '.join(refused)}",
            operation="write",
            hint="cast them, or turn them into JSON text, before the sink",
        )
    return columns


def _demand_names(dialect: Dialect, all_names: Sequence[str], columns: Sequence[str]) -> None:
    seen: set[str] = set()
    for each in columns:
        folded = each.lower() if dialect.folds_case else each
        if folded in seen:
            raise ConfigError(
                f"two columns are called {each!r}"
                + (" but for upper and lower case" if dialect.folds_case else ""),
                operation="write",
                hint="rename one",
            )
        seen.add(folded)
    for each in all_names:
        if not each or "\0" in each:
            raise ConfigError(f"{each!r} cannot be a name in a database", operation="write", hint="rename it")
        if dialect.max_name_bytes is not None and len(each.encode()) > dialect.max_name_bytes:
            raise UnsupportedError(
                f"{dialect.name} would cut the name {each!r} to {dialect.max_name_bytes} bytes",
                operation="write",
                hint="rename it",
            )


def matched(dialect: Dialect, columns: Sequence[Column], there: Mapping[str, There]) -> dict[str, There]:
    """The table's column for each of the stream's; the table's others become null, or their default.

    Raises:
        ConfigError: The table has no such column, one of another type, or one that must not be null and is missing here.
    """
    found = {_folded(dialect, name): each for name, each in there.items()}
    extra = [each.name for each in columns if _folded(dialect, each.name) not in found]
    if extra:
        raise ConfigError(
            f"the table has no column {', '.join(map(repr, extra))}",
            operation="write",
            hint="leave it out, add it to the table, or use mode='replace'",
        )
    pairs = {each.name: found[_folded(dialect, each.name)] for each in columns}
    unfit = [
        f"{each.name!r} ({each.back} does not go into {pairs[each.name].ddl} exactly)"
        for each in columns
        if not fits(each, pairs[each.name])
    ]
    if unfit:
        raise ConfigError(
            f"columns {', '.join(unfit)}",
            operation="write",
            hint="cast them before the sink, or change the table",
        )
    given = {_folded(dialect, each.name) for each in columns}
    needed = [each.name for name, each in found.items() if each.required and name not in given]
    if needed:
        raise ConfigError(
            f"the table's columns {', '.join(map(repr, needed))} must not be null, and the stream has none of that name",
            operation="write",
        )
    return pairs


def is_same(dialect: Dialect, columns: Sequence[Column], there: Mapping[str, There]) -> bool:
    """Whether the table has exactly these columns, of these types: then a replacement keeps it."""
    found = {_folded(dialect, name): each for name, each in there.items()}
    return {_folded(dialect, each.name) for each in columns} == {*found} and all(
        each.is_null
        or (found[name].kind == each.back and found[name].is_number == each.is_number)
        or (found[name].takes_text and pa.types.is_string(each.back))
        for each in columns
        for name in (_folded(dialect, each.name),)
    )


def suited(dialect: Dialect, schema: pa.Schema, there: Mapping[str, There]) -> pa.Schema:
    """These columns, of the table's types where their own would not go in exactly. Pure."""
    found = {_folded(dialect, name): each for name, each in there.items()}
    fields = []
    for field in schema:
        known = found.get(_folded(dialect, field.name))
        try:
            stays = known is None or fits(dialect.column(field), known)
        except Unrepresentable:
            stays = False
        fields.append(field if stays or known is None else pa.field(field.name, known.kind))
    return pa.schema(fields)


def _folded(dialect: Dialect, name: str) -> str:
    return name.lower() if dialect.folds_case else name


def fits(given: Column, there: There) -> bool:
    """Whether every value of one goes into the other unchanged, or is refused loudly by the database."""
    one, other = given.back, there.kind
    whole = pa.types.is_integer(one) or (pa.types.is_decimal(one) and one.scale == 0)
    if given.is_null:
        return True
    if there.is_number:
        return given.is_number or pa.types.is_integer(one) or pa.types.is_decimal(one)
    if one == other:
        return not given.is_number
    if pa.types.is_string(one) and there.takes_text:
        return True
    if pa.types.is_integer(other):
        return bool(whole)  # beyond its range: the database refuses
    if pa.types.is_decimal(other):
        return bool(whole) or (pa.types.is_decimal(one) and one.scale <= other.scale)
    if pa.types.is_float64(other):
        small = pa.types.is_integer(one) and one.bit_width <= 32
        return bool(small or pa.types.is_float32(one))
    if pa.types.is_string(other):
        return isinstance(one, pa.JsonType | pa.UuidType)
    return False
