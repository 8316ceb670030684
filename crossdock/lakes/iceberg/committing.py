"""One new snapshot of an Iceberg table: its shape, then data files that are there already, in one commit of the catalogue."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table, Transaction

from crossdock.errors import PreconditionError, Retry, UnsupportedError
from crossdock.lakes.columns import Columns
from crossdock.lakes.files import DataFiles
from crossdock.lakes.iceberg.found import BATCH, IcebergFound, arrow_schema
from crossdock.lakes.lake import Committed
from crossdock.lakes.request import Request

__all__ = ["Identifier", "commit", "demand_writable", "shape"]

Identifier = tuple[str, ...]
_LOCATIONS = "write.py-location-provider.impl"
_ATTEMPTS = 10  # commits of others that an append steps aside for


def demand_writable(found: IcebergFound) -> None:
    """Refuse a table that rows written here would not fit.

    Raises:
        UnsupportedError: It is partitioned by something else than columns, or has types that are others in our files.
    """
    if not found.is_identity:
        raise UnsupportedError(
            f"the table is partitioned by {found.table.spec()}, and only columns themselves are understood",
            operation="write",
            hint="write it with the engine that made it",
        )
    if _LOCATIONS in found.table.properties:
        raise UnsupportedError(
            f"the table's property {_LOCATIONS} names code to run, which is not done", operation="write"
        )
    given = schema_to_pyarrow(found.table.schema(), include_field_ids=False)
    odd = [
        f"{one.name!r} ({one.type})"
        for one in given
        if pa.types.is_fixed_size_binary(one.type) or isinstance(one.type, pa.UuidType)
    ]
    if odd:
        raise UnsupportedError(
            f"the table's columns {', '.join(odd)} are not written here", operation="write"
        )


def shape(
    catalog: Catalog, identifier: Identifier, location: str, table: Table | None, plan: Columns
) -> tuple[Transaction, pa.Schema]:
    """A transaction that gives the table its columns and partitions, and those columns with their numbers. Nothing is written.

    The numbers depend on the table only, so that files can be written with them before the transaction that adds them is begun.
    """
    made: Transaction
    if table is None:
        made = catalog.create_table_transaction(identifier, schema=plan.table, location=location)
        _partition(made, plan.partition_by)
        return made, schema_to_pyarrow(made.table_metadata.schema())
    made = table.transaction()
    if plan.is_new and not arrow_schema(table.schema()).equals(plan.table):
        _replace_columns(made, table, plan)
    if plan.added:
        with made.update_schema() as update:
            update.union_by_name(pa.schema([plan.table.field(name) for name in plan.added]))
    _partition(made, plan.partition_by)
    return made, schema_to_pyarrow(made.table_metadata.schema())


def _replace_columns(made: Transaction, table: Table, plan: Columns) -> None:
    """The plan's columns in place of the table's. One that stays as it is keeps its number, and with it what partitions mean.

    Raises:
        UnsupportedError: The table is or was partitioned by a column that would go.
    """
    there = arrow_schema(table.schema())
    stay = {
        each.name for each in plan.table if each.name in there.names and there.field(each.name).equals(each)
    }
    gone = [name for name in there.names if name not in stay]
    used = {
        table.schema().find_column_name(each.source_id)
        for spec in table.specs().values()
        for each in spec.fields
    }
    if lost := sorted(
        {*gone} & {str(each) for each in used} | ({"a column that is gone"} if None in used else set())
    ):
        raise UnsupportedError(
            f"the table is or was partitioned by {', '.join(lost)}, of which nothing is left in the stream",
            operation="write",
            hint="keep such columns as they are, or write another table",
        )
    # In two steps: a column of another type is another column.
    with made.update_schema(allow_incompatible_changes=True) as update:
        for name in gone:
            update.delete_column((name,))
    with made.update_schema() as update:
        update.union_by_name(pa.schema([each for each in plan.table if each.name not in stay]))
    with made.update_schema() as update:
        for before, name in zip(["", *plan.table.names], plan.table.names, strict=False):
            if before:
                update.move_after((name,), (before,))
            else:
                update.move_first((name,))


def _partition(made: Transaction, by: tuple[str, ...]) -> None:
    """By these columns themselves."""
    schema, spec = made.table_metadata.schema(), made.table_metadata.spec()
    if tuple(schema.find_column_name(each.source_id) for each in spec.fields) == by:
        return
    with made.update_spec() as update:
        for each in spec.fields:
            update.remove_field(each.name)
        for name in by:
            update.add_identity(name)


def commit(
    catalog: Catalog,
    identifier: Identifier,
    location: str,
    found: IcebergFound | None,
    plan: Columns,
    request: Request,
    files: DataFiles,
) -> Committed:
    """See ``Lake.commit``. An append steps aside for others' commits and is tried again, as long as the columns stay."""
    if found is None:
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace(identifier[:-1])
    table = None if found is None else catalog.load_table(identifier)
    for _ in range(_ATTEMPTS):
        if found is not None and table is not None:
            _demand_unchanged(found, IcebergFound(table, None), request)
        try:
            done = _commit(catalog, identifier, location, table, plan, request, files)
            return Committed(version=str(done), changed=files.rows)
        except CommitFailedException:
            if found is None:
                raise
            table = catalog.load_table(identifier)
    raise PreconditionError(
        "others commit all the time", operation="commit", hint="try again later", retry=Retry.LATER
    )


def _demand_unchanged(before: IcebergFound, now: IcebergFound, request: Request) -> None:
    """What a replacement is in place of, and whether an append of this name was made, are as they were.

    Raises:
        PreconditionError: They are not.
    """
    if request.batch_id is not None and now.has_batch(request.batch_id):
        cause, hint = f"batch {request.batch_id!r} was appended meanwhile", "again is a skip"
    elif request.mode == "replace" and before.snapshot_id != now.snapshot_id:
        cause, hint = "the table was written to meanwhile", "try again"
    else:
        return
    raise PreconditionError(cause, operation="commit", hint=hint, retry=Retry.LATER)


def _commit(
    catalog: Catalog,
    identifier: Identifier,
    location: str,
    table: Table | None,
    plan: Columns,
    request: Request,
    files: DataFiles,
) -> Any:
    made, numbered = shape(catalog, identifier, location, table, plan)
    written = files.stored
    if any(
        numbered.field(each.name).metadata != each.metadata for each in written if each.name in numbered.names
    ) or not {*written.names} <= {*numbered.names}:
        raise PreconditionError(
            "the table's columns were changed meanwhile",
            operation="commit",
            hint="try again",
            retry=Retry.LATER,
        )
    if request.batch_id is not None:
        made.set_properties({f"{BATCH}{request.batch_id}": files.attempt})
    if request.mode == "replace" and table is not None and any(True for _ in table.scan().plan_files()):
        made.delete(AlwaysTrue())
    prefix = f"{location}/data/" if table is None else f"{table.location().rstrip('/')}/data/"
    made.add_files([f"{prefix}{each.name}" for each in files.files], check_duplicate_files=False)
    done = made.commit_transaction()
    current = done.current_snapshot()
    return "" if current is None else current.snapshot_id
