"""Rows out of SQLite with the types they have, which its ADBC driver only guesses from the first of them.

The driver takes each column's type from the first batch: a column that begins with nulls, or mixes numbers and text, is
guessed wrong, and numbers among text lose digits. So the types are settled before: by the declaration where SQLite keeps to
it, else by asking which kinds of value the column has (one more pass, in SQLite), and a first row of the right types, which
is dropped again, tells the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from crossdock.connectors.sql.arrow import Array, Kind, pc
from crossdock.connectors.sql.casting import UTC_MICROS, Converted, cast, demand, times_of_text, uuids_of_text
from crossdock.connectors.sql.names import quoted
from crossdock.connectors.sql.session import Session
from crossdock.errors import UnsupportedError

__all__ = ["declared", "survey_and_read"]

_SEEDS = {pa.int64(): "0", pa.float64(): "0.5", pa.string(): "'x'", pa.binary(): "x'00'"}
_STORED = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
_EXACT_FLOATS = 2**53
_SURVEYED_AT_ONCE = 200  # columns: a statement has 2,000 results at most


def _affinity(ddl: str) -> Kind | None:
    """What SQLite makes of a declaration; ``None`` where it keeps whatever comes.

    https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    """
    text = ddl.upper()
    if "INT" in text:
        return pa.int64()
    if any(part in text for part in ("CHAR", "CLOB", "TEXT")):
        return pa.string()
    if any(part in text for part in ("REAL", "FLOA", "DOUB")):
        return pa.float64()
    return None


def declared(ddl: str, *, as_declared: bool) -> Kind:
    """The type that a column of this declaration has when it is empty, or holds what it says.

    Args:
        ddl: The declaration.
        as_declared: Whether dates and the like are read as such; else as SQLite stores them.
    """
    text = re.sub(r"\s+", " ", ddl.upper().strip())
    head = re.sub(r"\s*\(.*", "", text)
    if as_declared and head in _MEANT:
        return _MEANT[head][1]
    number = re.fullmatch(r"TEXT_DECIMAL\((\d+), ?(-?\d+)\)", text)
    if as_declared and number is not None:
        precision, scale = int(number[1]), int(number[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    if head == "BLOB":
        return pa.binary()
    found = _affinity(ddl)
    if found is None:
        return pa.float64() if ddl else pa.string()
    return found


_MEANT: dict[str, tuple[Kind, Kind, Converted]] = {
    "BOOLEAN": (pa.int64(), pa.bool_(), lambda array: array.cast(pa.bool_())),
    "BOOL": (pa.int64(), pa.bool_(), lambda array: array.cast(pa.bool_())),
    "DATE": (pa.string(), pa.date32(), lambda array: array.cast(pa.date32())),
    "TIME": (pa.string(), pa.time64("us"), times_of_text),
    "DATETIME": (pa.string(), pa.timestamp("us"), lambda array: array.cast(pa.timestamp("us"))),
    "TIMESTAMP": (pa.string(), pa.timestamp("us"), lambda array: array.cast(pa.timestamp("us"))),
    "TIMESTAMP WITH TIME ZONE": (pa.string(), UTC_MICROS, lambda array: array.cast(UTC_MICROS)),
    "TEXT_JSON": (pa.string(), pa.json_(), lambda array: pa.ExtensionArray.from_storage(pa.json_(), array)),
    "TEXT_UUID": (pa.string(), pa.uuid(), uuids_of_text),
}
"""How a declaration is meant: the stored type it is read from, the type it is read as, and how."""


def survey_and_read(
    session: Session,
    sql: str,
    parameters: Sequence[Any] | None,
    declarations: Mapping[str, str],
    *,
    as_declared: bool,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Settle the types, then start the statement.

    Args:
        session: In a transaction, so that both passes see one state.
        sql: The statement.
        parameters: For its ``?``.
        declarations: Declared types by column, where it reads a table; else empty.
        as_declared: Whether declarations of dates and the like count.

    Raises:
        UnsupportedError: Columns have one name, or values of several kinds.
    """
    names = _names(session, sql, parameters)
    stored = _stored(session, sql, parameters, names, declarations)
    fields, meant = [], []
    for name in names:
        kind, how = _as_meant(declarations.get(name), stored[name], as_declared=as_declared)
        fields.append(pa.field(name, kind))
        meant.append(how)
    schema = pa.schema(fields)
    seeds = ", ".join(f"{_SEEDS[stored[name]]} AS {quoted(name)}" for name in names)
    reader = session.read(f"SELECT {seeds} UNION ALL SELECT * FROM ({sql})", parameters)  # noqa: S608 - the user's own

    def batches() -> Iterator[pa.RecordBatch]:
        row = -1  # the first is ours
        for batch in reader:
            rows = batch.slice(1) if row < 0 else batch
            row = max(row, 0)
            arrays = [
                _meant(array, kind.name, stored[kind.name], kind.type, how, row)
                for array, kind, how in zip(rows.columns, schema, meant, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            row += rows.num_rows

    return schema, batches()


def _names(session: Session, sql: str, parameters: Sequence[Any] | None) -> list[str]:
    reader = session.read(f"SELECT * FROM ({sql}) LIMIT 0", parameters)  # noqa: S608 - the user's own
    names = list(reader.schema.names)
    plain = {re.sub(r":\d+$", "", name).lower() for name in names}
    if len(plain) != len(names):  # a subquery's second "a" is called "a:1"
        raise UnsupportedError("two columns have one name", hint="rename one in the query: select ... as ...")
    return names


def _stored(
    session: Session,
    sql: str,
    parameters: Sequence[Any] | None,
    names: Sequence[str],
    declarations: Mapping[str, str],
) -> dict[str, Kind]:
    """The stored type of each column: as declared where SQLite and the driver keep to it, else as found."""
    known = {name: _affinity(declarations[name]) for name in names if name in declarations}
    stored = {name: kind for name, kind in known.items() if kind is not None}
    asked = [name for name in names if name not in stored]
    for start in range(0, len(asked), _SURVEYED_AT_ONCE):
        some = asked[start : start + _SURVEYED_AT_ONCE]
        wanted = ", ".join(f"group_concat(DISTINCT typeof({quoted(name)}))" for name in some)
        extent = ", ".join(
            f"max(CASE typeof({quoted(name)}) WHEN 'integer' THEN {quoted(name)} END), "
            f"min(CASE typeof({quoted(name)}) WHEN 'integer' THEN {quoted(name)} END)"
            for name in some
        )
        reader = session.read(f"SELECT {wanted}, {extent} FROM ({sql})", parameters)  # noqa: S608
        found = [column[0].as_py() for column in reader.read_all().columns]
        for number, name in enumerate(some):
            bounds = found[len(some) + 2 * number :][:2]
            stored[name] = _settled(name, found[number], bounds, declarations.get(name, ""))
    return stored


def _settled(name: str, found: str | None, bounds: Sequence[Any], ddl: str) -> Kind:
    """The one stored type for the kinds of value that were found."""
    kinds = {*(found or "null").split(",")} - {"null"}
    if not kinds:
        return _when_empty(ddl)
    if kinds == {"integer", "real"}:
        if max(abs(each) for each in bounds) <= _EXACT_FLOATS:
            return pa.float64()
        raise UnsupportedError(
            f"column {name!r} has whole numbers and others, and not all of them are exact as floats",
            hint="cast it in a query: select cast(... as text)",
        )
    if len(kinds) > 1:
        raise UnsupportedError(
            f"column {name!r} has values of several kinds: {', '.join(sorted(map(str, kinds)))}",
            hint="make them one in a query: select cast(... as text) as ...",
        )
    return _STORED[str(kinds.pop())]


def _when_empty(ddl: str) -> Kind:
    """What a column without values would be read from."""
    head = re.sub(r"\s+", " ", ddl.upper().strip())
    return _MEANT[head][0] if head in _MEANT else declared(ddl, as_declared=False)


def _as_meant(ddl: str | None, stored: Kind, *, as_declared: bool) -> tuple[Kind, Converted | None]:
    if ddl is None or not as_declared:
        return stored, None
    kind = declared(ddl, as_declared=True)
    if pa.types.is_decimal(kind):
        return kind, lambda array: array.cast(kind)
    head = re.sub(r"\s+", " ", ddl.upper().strip())
    if head in _MEANT and _MEANT[head][0] == stored:
        return kind, _MEANT[head][2]
    return stored, None


def _meant(array: Array, name: str, stored: Kind, kind: Kind, how: Converted | None, first_row: int) -> Array:
    if array.type != stored:
        raise UnsupportedError(
            f"column {name!r} has values of several kinds: it began as {stored} and has {array.type}",
            hint="make them one in a query: select cast(... as text) as ...",
        )
    if how is None:
        return array
    if pa.types.is_boolean(kind):
        demand(
            array,
            pc.is_in(array, pa.array([0, 1, None], pa.int64())),
            column=name,
            first_row=first_row,
            what="is declared BOOLEAN and is neither 0 nor 1 (declared_types=False reads it as it is)",
        )
    what = f"a {kind}, as it is declared (declared_types=False reads it as it is)"
    return cast(array, how, column=name, first_row=first_row, what=what)
