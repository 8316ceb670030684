"""Upserts: rows by key into a Delta table, by the library's join, in one commit.

Rows are staged on disk first: so keys are known to be one of a kind before the table is touched, a source that fails touches
nothing, and the library's threads read a file of Arrow's and never call back into Python.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import pyarrow as pa

import crossdock
from crossdock.batches import Batches
from crossdock.errors import CompositionError, ConfigError
from crossdock.lakes.columns import Columns
from crossdock.lakes.delta.access import storage_options
from crossdock.lakes.delta.committing import prepared, properties_of
from crossdock.lakes.delta.found import DeltaFound
from crossdock.lakes.keys import Keys
from crossdock.lakes.lake import Committed
from crossdock.lakes.place import Place
from crossdock.lakes.request import Request

__all__ = ["merge"]


def merge(
    place: Place, found: DeltaFound, plan: Columns, request: Request, rows: Batches, *, memory_bytes: int
) -> tuple[Committed, int]:
    """See ``Lake.merge``. Memory: 16 bytes a row, one batch, and the join: at most ``memory_bytes``. Disk: the rows, compressed.

    Raises:
        RowError: A key is null, or occurs twice in the stream.
        StorageError: The join needs more memory.
        PreconditionError: Somebody else changed the table meanwhile.
    """
    for name in request.key:
        if pa.types.is_nested(plan.given.field(name).type):
            raise ConfigError(f"the key {name!r} is {plan.given.field(name).type}", operation="write")
    with tempfile.TemporaryDirectory(dir=_scratch()) as directory:
        staged = Path(directory) / "rows.arrows"
        count = _stage(rows, request, staged)
        handle = prepared(place, found.fresh(storage_options(place)), plan)
        with pa.OSFile(str(staged), "rb") as file, pa.ipc.open_stream(file) as reader:
            columns, key = plan.given.names, request.key
            others = [name for name in columns if name not in key]
            merger = handle.merge(
                reader,
                " AND ".join(f"t.{_quoted(name)} = s.{_quoted(name)}" for name in key),
                source_alias="s",
                target_alias="t",
                streamed_exec=True,
                max_spill_size=memory_bytes,
                commit_properties=properties_of(secrets.token_hex(8), request),
            )
            if others:
                differs = (f"(s.{_quoted(name)} IS DISTINCT FROM t.{_quoted(name)})" for name in others)
                merger = merger.when_matched_update(
                    {_quoted(name): f"s.{_quoted(name)}" for name in others}, predicate=" OR ".join(differs)
                )
            merger = merger.when_not_matched_insert({_quoted(name): f"s.{_quoted(name)}" for name in columns})
            told = merger.execute()
    changed = int(told["num_target_rows_inserted"]) + int(told["num_target_rows_updated"])
    return Committed(version=str(handle.version()), changed=changed), count


def _stage(rows: Batches, request: Request, staged: Path) -> int:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    count = 0
    with (
        rows,
        pa.OSFile(str(staged), "wb") as file,
        pa.ipc.new_stream(file, rows.schema, options=options) as out,
    ):
        for batch in Keys(request.key).watched(rows):
            out.write_batch(batch)
            count += batch.num_rows
    return count


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _scratch() -> str | None:
    """The running task's directory, else the system's."""
    try:
        return str(crossdock.current().scratch)
    except CompositionError:
        return None
