"""What a dataset keeps of each batch: one small JSON object, changed by compare-and-set, that makes its data objects visible.

``<prefix>_crossdock/<batch>.json`` says which attempt writes at present, and what the last one committed. Whoever begins an
attempt takes the batch over with it: an older attempt finds another state than its own when it commits, and fails.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from crossdock.connectors.commits import commit
from crossdock.connectors.digests import choose_digests, digest_of
from crossdock.datasets.splitting import Texts
from crossdock.errors import IntegrityError, NotFoundError
from crossdock.model import ABSENT, NO_DIGESTS, NO_METADATA, Condition, Digests, Metadata, ObjectInfo, Version
from crossdock.ports import ObjectStore

__all__ = [
    "NOTES",
    "Committed",
    "DataObject",
    "State",
    "batch_key",
    "batch_of",
    "found_state",
    "object_name",
    "owner_of",
    "put_state",
    "states",
]

NOTES = "_crossdock/"
_FORMAT = 1
_NAME = re.compile(r"part-(?P<batch>.+)-(?P<attempt>[0-9a-f]{16})-\d{5,}(\.[a-z0-9]+)+")
_STATE = re.compile(r"[^/]+\.json")
_JSON = Metadata(content_type="application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataObject:
    """One object of rows; its key is below the dataset's prefix, so that a dataset may be moved."""

    key: str
    values: Texts
    rows: int
    size: int
    digests: Digests = NO_DIGESTS

    def same_content(self, other: DataObject) -> bool:
        """Whether both hold the same bytes for the same partition, as far as digests tell: one in common, and none that differs."""
        return (
            (self.values, self.rows, self.size) == (other.values, other.rows, other.size)
            and bool(self.digests.common(other.digests))
            and self.digests.conflict(other.digests) is None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a batch added: its objects in key order, and what their rows look like. ``note`` is whatever its writer said of it."""

    attempt: str
    format: str
    partition_by: tuple[str, ...]
    schema: pa.Schema  # of the rows, partition columns where they were
    objects: tuple[DataObject, ...]
    at: str
    note: str = ""

    @property
    def rows(self) -> int:
        """Of all objects."""
        return sum(each.rows for each in self.objects)

    @property
    def size(self) -> int:
        """Of all objects, in bytes."""
        return sum(each.size for each in self.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One batch."""

    batch: str
    attempt: str | None = None  # that writes now, or died
    committed: Committed | None = None
    version: Version = field(default=Version(), compare=False)
    modified: datetime | None = field(default=None, compare=False)

    @property
    def keys(self) -> frozenset[str]:
        """Of the objects that are visible, below the dataset's prefix."""
        return frozenset(each.key for each in self.committed.objects) if self.committed else frozenset()


def batch_key(batch: str) -> str:
    """Where a batch's state is, below the dataset's prefix."""
    return f"{NOTES}{quote(batch, safe='')}.json"


def batch_of(key: str) -> str | None:
    """The batch whose state is at a key; ``None`` if it is no state."""
    name = key.removeprefix(NOTES)
    return unquote(name.removesuffix(".json")) if key.startswith(NOTES) and _STATE.fullmatch(name) else None


def object_name(batch: str, attempt: str, number: int, suffix: str) -> str:
    """The name of one object of an attempt: nobody else makes it."""
    return f"part-{quote(batch, safe='')}-{attempt}-{number:05d}{suffix}"


def owner_of(key: str) -> tuple[str, str] | None:
    """Batch and attempt that made an object, by its name; ``None`` if no dataset sink did."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return None if found is None else (unquote(found["batch"]), found["attempt"])


def found_state(store: ObjectStore, prefix: str, batch: str) -> State | None:
    """A batch as it stands; one request. ``None`` if nothing is known of it."""
    key = prefix + batch_key(batch)
    try:
        reader = store.read(key)
    except NotFoundError:
        return None
    try:
        data, info = bytes(reader.read_all()), reader.info
    finally:
        reader.close()
    try:
        return _parsed(data, batch, info)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise IntegrityError(
            f"this is no state of a dataset: {type(error).__name__}: {error}",
            operation="read",
            where=store.url,
            key=key,
            hint="it was written by something else, or by a newer crossdock",
        ) from error


def states(store: ObjectStore, prefix: str) -> Iterator[State]:
    """All batches, by name: one listing, and one request each."""
    for page in store.list(prefix + NOTES):
        for info in page:
            batch = batch_of(info.key[len(prefix) :])
            found = None if batch is None else found_state(store, prefix, batch)
            if found is not None:  # else it went since the listing
                yield found


def put_state(store: ObjectStore, prefix: str, state: State, *, before: State | None) -> State:
    """Replace a batch's state if it is still the one that was seen; one request, and more if its outcome is unknown.

    Raises:
        PreconditionError: Somebody else changed it.
        CrossdockError: It failed; ``error.unknown_outcome`` is true if it may have happened.
    """
    key, data, can = prefix + batch_key(state.batch), _written(state), store.capabilities
    digests = digest_of(data, choose_digests(NO_DIGESTS, can.put_checks, can.publishes))
    metadata = _JSON if "content_type" in can.metadata_fields else NO_METADATA
    condition = ABSENT if before is None else Condition(version=before.version)
    info = commit(
        lambda: store.put(key, data, metadata=metadata, digests=digests, condition=condition),
        store=store,
        key=key,
        size=len(data),
        digests=digests,
    )
    return replace(state, version=info.version, modified=info.modified)


def _written(state: State) -> bytes:
    done = state.committed
    text: dict[str, Any] = {"crossdock_dataset": _FORMAT, "batch": state.batch, "attempt": state.attempt}
    # A token of the moment, so that no two states ever have the same bytes: an ETag is all that some stores pin by.
    text["written"] = datetime.now(UTC).isoformat()
    if done is not None:
        text["committed"] = {
            "attempt": done.attempt,
            "at": done.at,
            "note": done.note,
            "format": done.format,
            "partition_by": done.partition_by,
            "rows": done.rows,
            "bytes": done.size,
            "columns": {each.name: str(each.type) for each in done.schema},
            "schema": base64.b64encode(done.schema.serialize()).decode(),
            "objects": [
                {
                    "key": each.key,
                    "values": each.values,
                    "rows": each.rows,
                    "bytes": each.size,
                    "digests": {
                        name: value if isinstance(value, str) else value.hex()
                        for name, value in each.digests.as_dict().items()
                    },
                }
                for each in done.objects
            ],
        }
    return json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()


def _parsed(data: bytes, batch: str, info: ObjectInfo) -> State:
    text = json.loads(data)
    if text["crossdock_dataset"] != _FORMAT or text["batch"] != batch:
        raise ValueError("another format, or another batch than its key says")
    done = text.get("committed")
    return State(
        batch=batch,
        attempt=text["attempt"],
        committed=None if done is None else _committed(done),
        version=info.version,
        modified=info.modified,
    )


def _committed(text: dict[str, Any]) -> Committed:
    return Committed(
        attempt=text["attempt"],
        at=text["at"],
        note=text.get("note", ""),
        format=text["format"],
        partition_by=tuple(text["partition_by"]),
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text["schema"]))),
        objects=tuple(
            DataObject(
                key=each["key"],
                values=tuple(each["values"]),
                rows=each["rows"],
                size=each["bytes"],
                digests=_digests(each["digests"]),
            )
            for each in text["objects"]
        ),
    )


def _digests(text: dict[str, str]) -> Digests:
    known: dict[str, Any] = {
        name: value if name == "multipart_etag" else bytes.fromhex(value) for name, value in text.items()
    }
    return Digests(**known)
