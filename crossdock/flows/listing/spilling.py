"""Objects sorted by their new keys, however many: sorted runs in files of this machine, then merged.

Needed only where keys are renamed by rules, because then they do not grow as the listing does, and where a destination does
not tell all keys apart.
"""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from crossdock.errors import LedgerError
from crossdock.flows.questions.missing import Missing
from crossdock.flows.runs.columns import OBJECT_FIELDS, object_columns, object_from, rows_of, table_of
from crossdock.model import ObjectInfo

__all__ = ["Candidate", "by_destination"]

RUN_ROWS = 50_000  # sorted at once in memory: as many as one part of a manifest
FAN_IN = 32  # runs merged at a time: each has one group of rows in memory
_GROUP_ROWS = 500
_FIELDS: list[pa.Field[Any]] = [
    pa.field("key", pa.string(), nullable=False),
    pa.field("name", pa.string(), nullable=False),
    pa.field("destination", pa.string(), nullable=False),
    pa.field("refusal", pa.string(), nullable=False),
    pa.field("why_missing", pa.string()),  # of a name that was given and is no object
    *OBJECT_FIELDS,
]
_SCHEMA = pa.schema(_FIELDS)


class Candidate(NamedTuple):
    """An object that passed the filters, its name below the source's prefix and the key it shall get, or why it gets none."""

    info: ObjectInfo
    name: str
    destination: str
    refusal: str = ""


Order = Callable[[Candidate], tuple[str, str]]


def _plain(candidate: Candidate) -> tuple[str, str]:
    return candidate.destination, candidate.info.key


def by_destination(
    candidates: Iterable[Candidate],
    *,
    order: Order = _plain,
    run_rows: int = RUN_ROWS,
    fan_in: int = FAN_IN,
) -> Iterator[Candidate]:
    """The same candidates in order of their destinations, then of their source keys; or in another order.

    Memory: ``run_rows`` candidates while they come in, ``fan_in`` groups of rows afterwards. Up to ``run_rows`` no
    file is written; beyond, the temporary directory holds each candidate once, twice while many runs are merged, as
    compressed Parquet. It is removed when the iterator ends or is closed.

    Raises:
        LedgerError: The temporary directory cannot be written.
    """
    incoming = iter(candidates)
    first = sorted(itertools.islice(incoming, run_rows), key=order)
    following = next(incoming, None)
    if following is None:
        yield from first
        return
    incoming = itertools.chain([following], incoming)
    with tempfile.TemporaryDirectory(prefix="crossdock-sort-") as place:
        names = (Path(place, f"{number:08d}.parquet") for number in itertools.count())
        runs = [_write(next(names), first)]
        del first
        while run := sorted(itertools.islice(incoming, run_rows), key=order):
            runs.append(_write(next(names), run))
        while len(runs) > fan_in:
            merged = _write(next(names), _merged(runs[:fan_in], order))
            for done in runs[:fan_in]:
                done.unlink()
            runs = [*runs[fan_in:], merged]
        yield from _merged(runs, order)


def _merged(runs: Iterable[Path], order: Order) -> Iterator[Candidate]:
    return heapq.merge(*(_read(run) for run in runs), key=order)


def _write(run: Path, candidates: Iterable[Candidate]) -> Path:
    """One sorted run as a file; a group of rows in memory at a time."""
    incoming = iter(candidates)
    try:
        with pq.ParquetWriter(run, _SCHEMA, compression="zstd") as writer:
            while group := list(itertools.islice(incoming, _GROUP_ROWS)):
                writer.write_table(table_of([_columns(candidate) for candidate in group], _SCHEMA))
    except OSError as error:
        raise LedgerError(
            f"the keys cannot be sorted: {error}",
            operation="plan",
            where=str(run.parent),
            hint="a plan with a rename sorts in the temporary directory: make room, or set TMPDIR to a larger disk",
        ) from error
    return run


def _columns(candidate: Candidate) -> dict[str, Any]:
    return {
        "key": candidate.info.key,
        "name": candidate.name,
        "destination": candidate.destination,
        "refusal": candidate.refusal,
        "why_missing": candidate.info.why if isinstance(candidate.info, Missing) else None,
        **object_columns(candidate.info),
    }


def _read(run: Path) -> Iterator[Candidate]:
    with pq.ParquetFile(run) as file:
        for group in range(file.metadata.num_row_groups):
            for row in rows_of(file.read_row_group(group, use_threads=False)):
                why = row["why_missing"]
                info = object_from(row) if why is None else Missing(key=row["key"], size=None, why=why)
                yield Candidate(info, row["name"], row["destination"], row["refusal"])
