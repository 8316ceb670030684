"""One new version of a Delta table: data files that are there already, named in its log by one conditional put.

Each commit carries the attempt's name, so that after a lost answer the log tells whether it happened.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, TableFeatures
from deltalake.transaction import AddAction, Transaction, create_table_with_add_actions

from crossdock.errors import (
    ConfigError,
    CrossdockError,
    NotFoundError,
    PreconditionError,
    Retry,
    UnexpectedError,
    UnsupportedError,
)
from crossdock.lakes.columns import Columns
from crossdock.lakes.delta.access import storage_options
from crossdock.lakes.delta.errors import translated
from crossdock.lakes.delta.found import DeltaFound, app_id, columns_of
from crossdock.lakes.files import DataFile, DataFiles
from crossdock.lakes.lake import Committed
from crossdock.lakes.place import Place
from crossdock.lakes.request import Request

__all__ = ["commit", "demand_commits", "prepared", "properties_of", "version_of_attempt"]

_ATTEMPT = "crossdock"
_COMMIT = re.compile(r"\d{20}\.json")


def demand_commits(place: Place) -> None:
    """Refuse a store where two commits could overwrite each other.

    Raises:
        UnsupportedError: The store has no conditional writes.
    """
    if not place.store.capabilities.create_if_absent:
        raise UnsupportedError(
            "this store has no conditional writes, so a commit could overwrite another",
            operation="write",
            where=place.url,
        )


def commit(
    place: Place, found: DeltaFound | None, plan: Columns, request: Request, files: DataFiles
) -> Committed:
    """See ``Lake.commit``."""
    properties = properties_of(files.attempt, request)
    after = -1 if found is None else int(found.version)
    actions: list[Any] = [_action(each, plan.partition_by) for each in files.files]
    try:
        with translated("commit", place.url):
            _commit(place, found, plan, request, actions, properties)
    except CrossdockError as error:
        version = _looked_up(place, files.attempt, after, error)
        if version is None:
            raise
    else:
        version = version_of_attempt(place, files.attempt, after=after)
        if version is None:
            lost = UnexpectedError(
                "the library says that it committed, and the log does not",
                operation="commit",
                where=place.url,
            )
            lost.unknown_outcome = True  # type: ignore[attr-defined] # the sink asks for it
            raise lost
    return Committed(version=str(version), changed=files.rows)


def _commit(
    place: Place,
    found: DeltaFound | None,
    plan: Columns,
    request: Request,
    actions: list[Any],
    properties: CommitProperties,
) -> None:
    by = list(plan.partition_by)
    if found is None:
        create_table_with_add_actions(
            place.location,
            Schema.from_arrow(plan.table),
            actions,
            mode="error",
            partition_by=by,
            storage_options=storage_options(place),
            commit_properties=properties,
        )
        return
    opened = found.fresh(storage_options(place))
    handle = prepared(place, opened, plan)
    if request.mode == "replace" and handle.version() > int(found.version) + (handle is not opened):
        raise PreconditionError(
            "the table was written to meanwhile", operation="commit", hint="try again", retry=Retry.LATER
        )
    is_same = plan.table.equals(found.schema)
    handle.create_write_transaction(
        actions,
        "overwrite" if request.mode == "replace" else "append",
        # Of columns that stay the log's own words stay too: comments, metadata.
        handle.schema() if is_same or plan.added else Schema.from_arrow(plan.table),
        by,
        commit_properties=properties,
    )


def prepared(place: Place, handle: DeltaTable, plan: Columns) -> DeltaTable:
    """The table, able to take the rows: with the columns that are added to it, and allowed to hold times without a zone.

    Each is a commit of its own, made just before the one with the rows, for the library cannot make them part of another. (Without
    the feature it writes a log that nobody can read any more.)
    """
    kinds = [each.type for each in plan.table]
    if any(map(_is_local_time, kinds)) and "timestampNtz" not in (handle.protocol().writer_features or ()):
        handle = DeltaTable(place.location, storage_options=storage_options(place))
        handle.alter.add_feature(
            TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
        )
        handle = DeltaTable(place.location, storage_options=storage_options(place))
    if not plan.added:
        return handle
    handle = DeltaTable(place.location, storage_options=storage_options(place))
    there = {*columns_of(handle).names}
    missing = pa.schema([plan.table.field(name) for name in plan.added if name not in there])
    if missing.names:
        handle.alter.add_columns(list(Schema.from_arrow(missing).fields))
        handle = DeltaTable(place.location, storage_options=storage_options(place))
    return handle


def _is_local_time(kind: Any) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_is_local_time(kind.field(number).type) for number in range(kind.num_fields))


def properties_of(attempt: str, request: Request) -> CommitProperties:
    """The attempt's name; and the append's, which the log takes once."""
    noted = [] if request.batch_id is None else [Transaction(app_id(request.batch_id), 1)]
    return CommitProperties(
        custom_metadata={_ATTEMPT: attempt},
        app_transactions=noted or None,
        # A replacement is of the version that was found: tried again, the library would leave what came meanwhile.
        max_commit_retries=0 if request.mode == "replace" else None,
    )


def _action(file: DataFile, partition_by: tuple[str, ...]) -> AddAction:
    if "" in file.values:
        raise ConfigError(
            "an empty text cannot be partitioned by: Delta Lake takes it for null",
            operation="write",
            hint="make it null, or another text, before the sink",
        )
    return AddAction(
        path=quote(file.name),
        size=file.receipt.size,
        partition_values=dict(zip(partition_by, file.values, strict=True)),
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps(file.stats.delta()),
    )


def version_of_attempt(place: Place, attempt: str, *, after: int) -> int | None:
    """Which version a commit became; ``None`` if none of those after ``after`` is it.

    Read through the connector, not by the library's ``history``: that (deltalake 1.6) holds the interpreter's lock while it waits for
    the store. Requests: one listing and one for each commit made meanwhile.
    """
    log = f"{place.prefix}_delta_log/"
    for page in place.store.list(log, start_after=f"{log}{after:020}.json" if after >= 0 else None):
        for info in page:
            name = info.key.removeprefix(log)
            if _COMMIT.fullmatch(name) and int(name[:20]) > after and _is_of(place, info.key, attempt):
                return int(name[:20])
    return None


def _is_of(place: Place, key: str, attempt: str) -> bool:
    """Whether a commit says that it is an attempt's; a line of its small JSON does."""
    reader = place.store.read(key)
    try:
        lines = bytes(reader.read_all()).splitlines()
    finally:
        reader.close()
    told = (json.loads(line).get("commitInfo") or {} for line in lines if b"commitInfo" in line)
    return any(each.get(_ATTEMPT) == attempt for each in told)


def _looked_up(place: Place, attempt: str, after: int, error: CrossdockError) -> int | None:
    """Whether a commit that failed for us happened all the same. If that cannot be told, the error says so.

    Raises:
        CrossdockError: The same error, marked as of unknown outcome.
    """
    try:
        with translated("commit", place.url):
            return version_of_attempt(place, attempt, after=after)
    except CrossdockError as failure:
        if isinstance(failure, NotFoundError):
            return None  # not even a table
        error.unknown_outcome = True  # type: ignore[attr-defined] # the sink asks for it
        raise error from failure
