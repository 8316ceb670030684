"""What the ledger keeps of an upload that several workers send: what was begun, and each part the store has acknowledged.

Evidence, not belief: a part is recorded after its acknowledgement, with the digests that were checked, and counts for the
one upload it was sent to. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crossdock.connectors.writer import Begun
from crossdock.errors import LedgerError
from crossdock.flows.ledger.records import Record, RecordState
from crossdock.flows.moving.parts.words import stretches
from crossdock.flows.runs.columns import metadata_from, metadata_text, version_from
from crossdock.model import NO_METADATA, Digests, Part, Upload

__all__ = ["Progress", "begun_text", "part_text", "parts_of", "progress_of"]

_DIGESTS = ("crc32c", "crc64nvme", "md5")


@dataclass(slots=True, kw_only=True)
class Progress:
    """One upload and what is there of it."""

    begun: Begun
    parts: dict[int, Part] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What part records call it."""
        return self.begun.upload.id

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """The parts nobody has a record of, as stretches ``[first, stop)``."""
        return stretches([number for number in range(1, self.begun.count + 1) if number not in self.parts])


def begun_text(begun: Begun) -> str:
    """An upload as the ``evidence`` of its record."""
    upload = begun.upload
    return json.dumps(
        {
            "upload": upload.id,
            "key": upload.key,
            "part_size_bytes": upload.part_size_bytes,
            "metadata": metadata_text(upload.metadata),
            "state": dict(upload.state),
            "source_key": begun.source_key,
            "etag": begun.version.etag,
            "generation": begun.version.generation,
            "size": begun.size,
            "names": sorted(begun.names),
            "by_part": begun.by_part,
            "lost": list(begun.lost),
        }
    )


def part_text(upload: str, part: Part) -> str:
    """A part as the ``evidence`` of its record."""
    digests = {name: getattr(part.digests, name).hex() for name in _DIGESTS if getattr(part.digests, name)}
    return json.dumps(
        {"upload": upload, "number": part.number, "size": part.size, "etag": part.etag, **digests}
    )


def _begun(told: Mapping[str, Any]) -> Begun:
    upload = Upload(
        key=told["key"],
        id=told["upload"],
        part_size_bytes=told["part_size_bytes"],
        metadata=metadata_from(told["metadata"]) or NO_METADATA,
        state=told["state"],
    )
    return Begun(
        source_key=told["source_key"],
        version=version_from(told["etag"], told["generation"]),
        size=told["size"],
        upload=upload,
        names=frozenset(told["names"]),
        by_part=told["by_part"],
        lost=tuple(told["lost"]),
    )


def parts_of(records: Iterable[Record], upload: str) -> dict[int, Part]:
    """The acknowledged parts of one upload, by number. Of two records of a part (it was sent twice) the later counts.

    Raises:
        LedgerError: A record is damaged.
    """
    found = {}
    for told in _told(records, RecordState.PART):
        if told["upload"] == upload:
            found[told["number"]] = Part(
                number=told["number"],
                size=told["size"],
                etag=told["etag"],
                digests=Digests(
                    crc32c=_bytes(told.get("crc32c")),
                    crc64nvme=_bytes(told.get("crc64nvme")),
                    md5=_bytes(told.get("md5")),
                ),
            )
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def progress_of(records: Iterable[Record]) -> list[Progress]:
    """The uploads that were begun for the one object of a shard, the furthest first.

    Raises:
        LedgerError: A record is damaged.
    """
    held = sorted(
        (record for record in records if record.state in (RecordState.UPLOAD, RecordState.PART)),
        key=lambda record: record.time.timestamp() if record.time is not None else 0.0,
    )
    found = [Progress(begun=_begun(told)) for told in _told(held, RecordState.UPLOAD)]
    for progress in found:
        progress.parts = parts_of(held, progress.id)
    return sorted(found, key=lambda progress: -len(progress.parts))


def _told(records: Iterable[Record], state: RecordState) -> list[dict[str, Any]]:
    try:
        return [json.loads(record.evidence) for record in records if record.state is state]
    except ValueError as error:
        raise LedgerError(
            f"a record of a part is damaged: {error}",
            operation="read ledger",
            hint="start a new run: what is at the destination already is not sent again",
        ) from error
