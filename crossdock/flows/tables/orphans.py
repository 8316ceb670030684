"""Outputs of earlier runs to which no object of this run leads any more: told of, never touched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.objects import ObjectSink
from crossdock.datasets.sink import DatasetSink
from crossdock.datasets.state import batch_key, states
from crossdock.errors import NotFoundError
from crossdock.flows.runs.arrays import values_of
from crossdock.flows.runs.manifest import Manifest
from crossdock.flows.tables.marks import NOTES, Mark, mark_of

__all__ = ["Orphans", "orphan_batches", "orphans"]

_SHOWN = 10
_LOOKED_AT = 1_000
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """How many, the first of them, and whether there may be more: at most 1,000 objects are looked at."""

    count: int
    keys: tuple[str, ...]
    may_be_more: bool

    def as_dict(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {"orphans": self.count, "orphan_keys": list(self.keys), "may_be_more": self.may_be_more}


def orphans(sink: ObjectSink, manifest: Manifest, *, suffix: str) -> Orphans:
    """Objects below the destination's prefix that carry a mark of a conversion and are no output of this manifest.

    Requests: one LIST for 1,000 objects, and a ``stat`` for each that is named like an output and is none of this run's. Memory: eight
    bytes an output, and what Python's sets take.

    Args:
        sink: The destination.
        manifest: Of this run.
        suffix: What names of outputs end with.
    """
    known = _outputs(manifest)
    found: list[str] = []
    count = looked_at = 0
    for page in sink.store.list(sink.prefix):
        for info in page:
            name = info.key[len(sink.prefix) :]
            if not name.endswith(suffix) or name.startswith(NOTES) or _short(info.key) in known:
                continue
            if looked_at == _LOOKED_AT:
                return Orphans(count=count, keys=tuple(found), may_be_more=True)
            looked_at += 1
            if not _is_marked(sink, info.key):
                continue
            count += 1
            if len(found) < _SHOWN:
                found.append(info.key)
    return Orphans(count=count, keys=tuple(found), may_be_more=False)


def orphan_batches(dataset: DatasetSink, manifest: Manifest) -> Orphans:
    """The same for a partitioned dataset: batches of conversions that are no unit of this manifest. Their rows are still read.

    Requests: one LIST for 1,000 batches, and one read for each.
    """
    known = _outputs(manifest)
    request = dataset.request
    found: list[str] = []
    count = 0
    for state in states(request.store, request.prefix):
        key = request.prefix + batch_key(state.batch)
        if state.committed is None or Mark.parsed(state.committed.note) is None or _short(key) in known:
            continue
        count += 1
        if len(found) < _SHOWN:
            found.append(key)
    return Orphans(count=count, keys=tuple(found), may_be_more=False)


def _outputs(manifest: Manifest) -> set[bytes]:
    return {
        _short(key)
        for part in range(manifest.parts)
        for table in manifest.tables(part, ["destination"])
        for key in dict.fromkeys(values_of(table["destination"]))
    }


def _is_marked(sink: ObjectSink, key: str) -> bool:
    try:
        there = sink.store.stat(key)
    except NotFoundError:
        return False  # it went since the listing
    return mark_of(sink.store, sink.prefix, there) is not None


def _short(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
