"""Is the destination already what it shall become? Proof by digests, by the cheapest way that is exact.

Used where a record may have been lost with its process, where the destination is not in the state that was observed,
and where two listings could not tell. Existence and size are never proof.
"""

from __future__ import annotations

import time
from dataclasses import replace

from crossdock.connectors.digests import Hasher
from crossdock.connectors.evidence import read_back
from crossdock.connectors.objects import ObjectSink, ObjectSource
from crossdock.connectors.published import Published
from crossdock.errors import NotFoundError
from crossdock.flows.planning.rows import Action, Row, compare, same_bytes
from crossdock.model import Digests, ObjectInfo, Receipt, Verification, Version
from crossdock.ports import ObjectStore

__all__ = ["as_observed", "found_complete", "unchanged"]

FOUND = "found"  # the receipt's method: nothing was sent
_HASHABLE = ("crc32c", "crc64nvme", "md5", "sha256")  # cheapest first


def as_observed(sink: ObjectSink, row: Row) -> bool | None:
    """Whether the destination still is in the state the plan saw; ``None`` if versions cannot tell. One request."""
    try:
        there = sink.store.stat(row.destination)
    except NotFoundError:
        return row.observed is None
    if row.observed is None:
        return False
    if not row.observed or not there.version:
        return None
    same_etag = row.observed.etag in (None, there.version.etag)
    return same_etag and row.observed.generation in (None, there.version.generation)


def unchanged(source: ObjectSource, sink: ObjectSink, row: Row) -> str | None:
    """Why a row that the listings could not decide needs no copy, in words; ``None`` if it does. Writes nothing.

    Requests: a ``stat`` of each end; where these decide as little, those of ``found_complete``.

    Raises:
        NotFoundError: The source object is gone.
        PreconditionError: It was replaced since it was listed.
    """
    try:
        there = sink.store.stat(row.destination)
    except NotFoundError:
        return None
    here = source.store.stat(row.source.key, version=row.source.version)
    # Times that the listings could not tell apart are no better now: only a plan by checksum looks at digests alone.
    mode = "checksum" if row.compare == "checksum" else "auto"
    action, words = compare(here, there, "if-different", mode=mode, asked=True)
    if action is Action.COMPARE:
        found = found_complete(source, sink, row)
        return found.evidence if found is not None else None
    return words if action is Action.SKIP else None


def found_complete(source: ObjectSource, sink: ObjectSink, row: Row) -> Receipt | None:
    """A receipt if the destination provably holds this version of the source object, else ``None``. Writes nothing.

    Requests: one ``stat``; where listings share no digest, another at the source; and only where that does not decide,
    one read of the source (never a write), and one of the destination if it publishes no digest at all.

    Raises:
        NotFoundError: The source object is gone.
        PreconditionError: It was replaced since it was listed.
    """
    began = time.monotonic()
    try:
        there = sink.store.stat(row.destination)
    except NotFoundError:
        return None
    if row.source.size is not None and row.source.size != there.size:
        return None
    verdict, digest = same_bytes(row.source.digests, there.digests)
    known = row.source.digests
    words = f"source {digest}"
    if verdict is None:
        asked = source.store.stat(row.source.key, version=row.source.version)
        known = known.merged(asked.digests)
        verdict, digest = same_bytes(known, there.digests)
        words = f"source {digest}"
    if verdict is None:
        known, verdict, digest = _by_reading(source.store, sink.store, row, there)
        words = f"{digest} of the bytes read"
    if not verdict:
        return None
    level, evidence = Verification.V2, f"found complete: {words}, destination {digest}"
    if sink.transfer.wanted is Verification.V3:
        level, evidence = read_back(
            Published(source=replace(row.source, digests=known), proof=digest),
            evidence,
            source=source.store,
            sink=sink.store,
            written=there,
            computed=Digests(),
        )
    return Receipt(
        source=f"{source.store.url}/{row.source.key}",
        destination=f"{sink.store.url}/{row.destination}",
        key=row.destination,
        size=there.size or 0,
        version=there.version,
        source_version=row.source.version,
        digests=known.merged(there.digests),
        verification=level,
        evidence=evidence,
        method=FOUND,
        parts=0,
        duration_s=time.monotonic() - began,
    )


def _by_reading(
    source: ObjectStore, sink: ObjectStore, row: Row, there: ObjectInfo
) -> tuple[Digests, bool, str]:
    """Read the source, and the destination too if it published nothing to compare with."""
    published = [name for name in _HASHABLE if name in there.digests.as_dict()]
    name = published[0] if published else "crc64nvme"
    read = _digest(source, row.source.key, row.source.version, name)
    held = there.digests if published else _digest(sink, there.key, there.version, name)
    return read, same_bytes(read, held)[0] is True, name


def _digest(store: ObjectStore, key: str, version: Version, name: str) -> Digests:
    """One digest of a stored object's bytes; one request, a chunk in memory."""
    hasher = Hasher([name])
    reader = store.read(key, version=version)
    try:
        for chunk in reader:
            hasher.update(chunk)
    finally:
        reader.close()
    return hasher.digests()
