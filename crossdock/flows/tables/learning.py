"""Which columns the objects of a run have: told by a sample of them, once, and the same for every output from then on."""

from __future__ import annotations

import base64
import hashlib
import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crossdock.connectors.objects import ObjectSource
from crossdock.connectors.streams import ObjectStream
from crossdock.errors import ConfigError, CrossdockError, StorageError
from crossdock.flows.planning.rows import Action, Row
from crossdock.flows.runs.arrays import values_of
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.reading import is_passing
from crossdock.formats.decoding import Decode
from crossdock.formats.schemas import settled

__all__ = ["SAMPLED", "Seen", "learned_schema", "sample_rows", "schema_from", "schema_text", "united"]

SAMPLED = 16
"""Objects that are looked into, besides the first and the last of the manifest."""

_AT_A_TIME = 8
_LOOKED_AT_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The columns of one object of the sample; a column of which no value was seen has the type null."""

    key: str
    schema: pa.Schema


def learned_schema(source: ObjectSource, decode: Decode, manifest: Manifest, *, where: str) -> pa.Schema:
    """The columns of all sampled objects together, by name, in order of appearance.

    Types are the widest of those found (an integer here and a fraction there: double); a column that has no value anywhere is
    text. An object of the sample that cannot be read says nothing here: its failure is recorded when its turn comes. Requests: one
    or two for each of at most 18 objects. Memory: eight of them being decoded.

    Of a manifest without work there are none.

    Raises:
        ConfigError: Two objects have a column in types that do not fit together, or none could be decoded.
        StorageError: The service is in trouble, or none could be read: denied, or gone.
    """
    rows = sample_rows(manifest)
    if not rows:
        return pa.schema([])
    with ThreadPoolExecutor(_AT_A_TIME, "crossdock-sample") as pool:
        looks = [pool.submit(copy_context().run, _look, source, decode, row) for row in rows]
        found = [look.result() for look in looks]
    seen = [each for each in found if isinstance(each, Seen)]
    if not seen:
        cause = next(each for each in found if isinstance(each, Exception))
        raise _unlearned(len(rows), cause, where=where) from cause
    return settled(united(seen, where=where))


def _unlearned(sampled: int, cause: Exception, *, where: str) -> CrossdockError:
    """What to raise if no object of the sample told its columns; pure. What a store refuses stays what it is: denied, or gone."""
    if isinstance(cause, StorageError):
        return type(cause)(
            f"{cause.cause}; so it is with all {sampled} sampled objects" if sampled > 1 else cause.cause,
            operation=cause.operation,
            where=cause.where,
            key=cause.key,
            hint=cause.hint,
        )
    said = isinstance(cause, CrossdockError) and cause.hint  # it is in the cause's own words then
    return ConfigError(
        f"none of {sampled} sampled objects tells its columns: {cause}",
        operation="decode",
        where=where,
        hint="" if said else "say the format, or the columns by a schema",
    )


def sample_rows(manifest: Manifest) -> list[Row]:
    """The first and the last row that is work, and some between, by a hash of their keys: the same ones in a later run."""
    ends: list[tuple[int, int]] = []

    def drawn() -> Iterator[tuple[bytes, tuple[int, int]]]:
        for place, name in _work(manifest):
            ends[1 if ends else 0 :] = [place]
            yield hashlib.blake2b(name.encode("utf-8", "surrogatepass")).digest(), place

    chosen = {place for _, place in heapq.nsmallest(SAMPLED, drawn())}
    return [next(manifest.rows(part, at, at + 1)) for part, at in sorted(chosen.union(ends))]


def _work(manifest: Manifest) -> Iterator[tuple[tuple[int, int], str]]:
    """Part and place of each row that is work, with its name."""
    for part in range(manifest.parts):
        at = 0
        for table in manifest.tables(part, ["name", "action"]):
            names, actions = values_of(table["name"]), values_of(table["action"])
            for name, action in zip(names, actions, strict=True):
                if action in (Action.COPY.value, Action.COMPARE.value):
                    yield (part, at), name
                at += 1


def _look(source: ObjectSource, decode: Decode, row: Row) -> Seen | Exception:
    """The columns of one object; a column whose first rows have no value has no type yet."""
    stream = ObjectStream(source.store, row.source.key, name=row.name, info=row.source)
    try:
        with decode(stream) as batches:
            schema = batches.schema.remove_metadata()
            empty, rows = set(schema.names), 0
            for batch in batches:
                rows += batch.num_rows
                empty -= {name for name in empty if batch.column(name).null_count < batch.num_rows}
                if not empty or rows >= _LOOKED_AT_ROWS:
                    break
    except Exception as error:
        if is_passing(error):
            raise
        return error
    fields = [
        field.with_type(pa.null()).with_nullable(True) if field.name in empty else field for field in schema
    ]
    return Seen(key=row.source.key, schema=pa.schema(fields))


def united(seen: Sequence[Seen], *, where: str) -> pa.Schema:
    """One schema for all, by name. Pure.

    Raises:
        ConfigError: Types do not fit together; it says which column, and in which objects.
    """
    fields: dict[str, tuple[pa.Field[Any], str]] = {}
    for each in seen:
        for field in each.schema:
            held = fields.get(field.name)
            if held is None:
                fields[field.name] = field, each.key
                continue
            try:
                both = pa.unify_schemas(
                    [pa.schema([held[0]]), pa.schema([field])], promote_options="permissive"
                )
            except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
                raise ConfigError(
                    f"column {field.name!r} is {held[0].type} in {held[1]!r} and {field.type} in {each.key!r}",
                    operation="decode",
                    where=where,
                    hint="say its type, or all columns by a schema",
                ) from error
            typed = each.key if pa.types.is_null(held[0].type) else held[1]
            fields[field.name] = both.field(0), typed
    nullable = {name for name in fields if any(name not in each.schema.names for each in seen)}
    return pa.schema(
        [field.with_nullable(True) if name in nullable else field for name, (field, _) in fields.items()]
    )


def schema_text(schema: pa.Schema) -> str:
    """A schema as the run keeps it."""
    return base64.b64encode(schema.serialize()).decode()


def schema_from(text: str) -> pa.Schema:
    """The other way round."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
