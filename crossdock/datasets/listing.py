"""What a dataset holds at one moment: its objects, their partitions, and the columns of all of them together.

By the states of its batches if a dataset sink wrote it, else by listing and the names of the directories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from crossdock.datasets.hive import inferred, is_hidden, pairs_of
from crossdock.datasets.state import Committed, states
from crossdock.errors import ConfigError, NotFoundError
from crossdock.model import NO_DIGESTS, Digests, ObjectInfo
from crossdock.ports import ObjectStore

__all__ = ["Fragment", "Snapshot", "merged", "snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One object of a dataset, to be read by ``source(fragment)``: small, picklable, fit for a map.

    Attributes:
        key: Below the dataset's prefix.
        values: Partition columns and their texts.
        size: In bytes.
        rows: If the dataset says so.
    """

    key: str
    values: tuple[tuple[str, str | None], ...]
    size: int | None
    rows: int | None = None
    digests: Digests = field(default=NO_DIGESTS, repr=False)
    info: ObjectInfo | None = field(default=None, repr=False)  # of a listing
    schema: pa.Schema = field(repr=False)  # the dataset's
    stored: pa.Schema = field(repr=False)  # the object's own, in the dataset's types


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A dataset at one moment; fragments in key order."""

    schema: pa.Schema
    fragments: Sequence[Fragment]
    partitions: tuple[str, ...]


def snapshot(
    store: ObjectStore,
    prefix: str,
    *,
    settle: Callable[[pa.Schema], pa.Schema],
    types: Mapping[str, pa.DataType],
    schema_of: Callable[[ObjectInfo], pa.Schema],
) -> Snapshot:
    """See the dataset as it is now. Requests: a listing, and one a batch; or a listing of everything and what tells one schema.

    Args:
        store: Where.
        prefix: Below which.
        settle: What the columns become that were found.
        types: Types of some columns, whatever was found.
        schema_of: The columns of an object.

    Raises:
        NotFoundError: There is no batch and no object.
        ConfigError: Columns of one name have types that differ, or objects have other partition columns than others.
    """
    found = list(states(store, prefix))
    if found:
        done = [(each.batch, each.committed) for each in found if each.committed is not None]
        if not done:
            raise _nothing(store, prefix, "its first batch was begun and not committed yet")
        return _of_batches(done, settle, types)
    return _of_listing(store, prefix, settle, types, schema_of)


def _nothing(store: ObjectStore, prefix: str, why: str) -> NotFoundError:
    return NotFoundError(f"there is no dataset: {why}", operation="read", where=f"{store.url}/{prefix}")


def merged(found: Iterable[tuple[str, pa.Schema]], types: Mapping[str, pa.DataType]) -> pa.Schema:
    """All columns, by name, in order of appearance; one that is not everywhere may be null.

    Raises:
        ConfigError: A column has two types, and none is given for it.
    """
    fields: dict[str, tuple[pa.Field[Any], str]] = {}
    seen: dict[str, int] = {}
    total = 0
    for where, schema in found:
        total += 1
        for each in schema:
            seen[each.name] = seen.get(each.name, 0) + 1
            known = fields.get(each.name)
            if known is None:
                fields[each.name] = (each.with_type(types.get(each.name, each.type)), where)
                continue
            if known[0].type != each.type and each.name not in types:
                raise ConfigError(
                    f"column {each.name!r} is {known[0].type} in {known[1]} and {each.type} in {where}",
                    operation="read",
                    hint=f"types={{{each.name!r}: ...}} says what it shall be",
                )
            if each.nullable:
                fields[each.name] = (known[0].with_nullable(True), known[1])
    return pa.schema(
        [each if seen[each.name] == total else each.with_nullable(True) for each, _ in fields.values()]
    )


def _of_batches(
    done: Sequence[tuple[str, Committed]],
    settle: Callable[[pa.Schema], pa.Schema],
    types: Mapping[str, pa.DataType],
) -> Snapshot:
    in_order = sorted(done, key=lambda each: (each[1].at, each[0]))
    schema = settle(merged(((f"batch {batch!r}", each.schema) for batch, each in in_order), types))
    fragments = []
    for _, each in in_order:
        stored = pa.schema([column for column in each.schema if column.name not in each.partition_by])
        fragments += [
            Fragment(
                key=one.key,
                values=tuple(zip(each.partition_by, one.values, strict=True)),
                size=one.size,
                rows=one.rows,
                digests=one.digests,
                schema=schema,
                stored=stored,
            )
            for one in each.objects
        ]
    fragments.sort(key=lambda each: each.key)
    names = dict.fromkeys(name for _, each in in_order for name in each.partition_by)
    return Snapshot(schema=schema, fragments=fragments, partitions=tuple(names))


def _of_listing(
    store: ObjectStore,
    prefix: str,
    settle: Callable[[pa.Schema], pa.Schema],
    types: Mapping[str, pa.DataType],
    schema_of: Callable[[ObjectInfo], pa.Schema],
) -> Snapshot:
    infos = [
        info
        for page in store.list(prefix)
        for info in page
        if not is_hidden(info.key[len(prefix) :]) and info.size != 0
    ]
    if not infos:
        raise _nothing(store, prefix, "no object is below this prefix")
    infos.sort(key=lambda each: each.key)
    values = [pairs_of(info.key[len(prefix) :]) for info in infos]
    names = tuple(name for name, _ in values[0])
    for info, pairs in zip(infos, values, strict=True):
        if tuple(name for name, _ in pairs) != names or len(set(names)) != len(names):
            raise ConfigError(
                f"its partition columns are {_told(name for name, _ in pairs)}, those of the first object {_told(names)}",
                operation="read",
                where=store.url,
                key=info.key,
                hint="give a prefix below which all objects are partitioned in one way",
            )
    first = schema_of(infos[0])
    columns = [each.with_type(types.get(each.name, each.type)) for each in first if each.name not in names]
    for number, name in enumerate(names):
        kind = types.get(name) or inferred(pairs[number][1] for pairs in values)
        columns.append(pa.field(name, kind))
    schema = settle(pa.schema(columns))
    own = [each for each in schema if each.name not in names]
    stored = pa.schema(
        [*own, *(each for each in first if each.name in names)]
    )  # those nobody reads: the key's count
    fragments = [
        Fragment(
            key=info.key[len(prefix) :], values=pairs, size=info.size, info=info, schema=schema, stored=stored
        )
        for info, pairs in zip(infos, values, strict=True)
    ]
    return Snapshot(schema=schema, fragments=fragments, partitions=names)


def _told(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
