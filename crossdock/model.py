"""The frozen values everything else speaks in: objects, ranges, digests, receipts, outcomes.

Nothing here does I/O or knows a connector. Sizes are bytes, durations seconds, times aware datetimes in UTC,
digests raw big-endian bytes unless said otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

__all__ = [
    "ABSENT",
    "ANY",
    "NO_DIGESTS",
    "NO_METADATA",
    "NO_VERSION",
    "ByteRange",
    "Condition",
    "Counts",
    "Digests",
    "Metadata",
    "ObjectInfo",
    "Outcome",
    "Part",
    "Receipt",
    "State",
    "Upload",
    "Verification",
    "Version",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Half-open ``[start, end)``, in bytes; never empty, never negative."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a range is [start, end) with 0 <= start < end, not [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start

    def split(self, part_size_bytes: int) -> Iterator[ByteRange]:
        """Cut into ranges of ``part_size_bytes``, in order; the last may be shorter."""
        for start in range(self.start, self.end, part_size_bytes):
            yield ByteRange(start, min(start + part_size_bytes, self.end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What pins a read to one state of an object: whichever of these the store has.

    ``etag`` is without quotes. ``generation`` is GCS's generation, or a version id where the store keeps versions.
    """

    etag: str | None = None
    generation: str | None = None

    def __bool__(self) -> bool:
        return self.etag is not None or self.generation is not None

    @property
    def is_weak(self) -> bool:
        """Whether it tells most changes and not all: made of a date in seconds, a length, a weak ETag."""
        return self.etag is None and (self.generation or "").startswith("weak: ")


NO_VERSION = Version()


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """Digests of an object's stored bytes, as computed or as published; absent ones are ``None``.

    ``multipart_etag`` is S3's ``md5(md5s)-N``: equal values prove equal bytes, but it needs the part sizes.
    """

    md5: bytes | None = None
    crc32c: bytes | None = None  # 4 bytes, big-endian
    crc64nvme: bytes | None = None  # 8 bytes, big-endian
    sha256: bytes | None = None
    multipart_etag: str | None = None

    def __bool__(self) -> bool:
        return not (
            self.md5 is None
            and self.crc32c is None
            and self.crc64nvme is None
            and self.sha256 is None
            and self.multipart_etag is None
        )

    def as_dict(self) -> dict[str, bytes | str]:
        """Only the digests that are known, by name."""
        known: dict[str, bytes | str] = {}  # written out: asked for some thirty times an object
        if self.md5 is not None:
            known["md5"] = self.md5
        if self.crc32c is not None:
            known["crc32c"] = self.crc32c
        if self.crc64nvme is not None:
            known["crc64nvme"] = self.crc64nvme
        if self.sha256 is not None:
            known["sha256"] = self.sha256
        if self.multipart_etag is not None:
            known["multipart_etag"] = self.multipart_etag
        return known

    def common(self, other: Digests) -> tuple[str, ...]:
        """Names of the digests that both sides know."""
        theirs = other.as_dict()
        return tuple(name for name in self.as_dict() if name in theirs)

    def conflict(self, other: Digests) -> str | None:
        """The first digest that both know and that differs, or ``None``."""
        theirs = other.as_dict()
        for name, value in self.as_dict().items():
            if theirs.get(name, value) != value:
                return name
        return None

    def merged(self, other: Digests) -> Digests:
        """Both sets as one; where both know a digest, ours stays."""
        return Digests(**{**other.as_dict(), **self.as_dict()})  # type: ignore[arg-type]


NO_DIGESTS = Digests()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What travels beside the bytes. ``None`` means absent, and absent stays absent."""

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    user: Mapping[str, str] = field(default_factory=dict)

    FIELDS = (
        "content_type",
        "cache_control",
        "content_disposition",
        "content_encoding",
        "content_language",
    )

    def present(self) -> tuple[str, ...]:
        """Names of what is set: system fields by name, user metadata as ``user.<name>``."""
        system = tuple(name for name in self.FIELDS if getattr(self, name) is not None)
        return system + tuple(f"user.{name}" for name in self.user)


NO_METADATA = Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object as a listing or ``stat`` saw it.

    ``size`` is ``None`` when a source cannot say. ``metadata`` is ``None`` when it was not asked for
    (S3 listings do not carry it), which is different from an object that has none.
    """

    key: str
    size: int | None
    version: Version = NO_VERSION
    digests: Digests = NO_DIGESTS
    metadata: Metadata | None = None
    modified: datetime | None = None
    storage_class: str | None = None

    def with_metadata(self, metadata: Metadata) -> ObjectInfo:
        """The same object, its metadata now known."""
        return replace(self, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The state the destination must be in for a commit to happen.

    ``ANY``: whatever is there. ``ABSENT``: nothing is there. Otherwise: exactly ``version`` is there.
    """

    absent: bool = False
    version: Version = NO_VERSION

    @property
    def is_any(self) -> bool:
        """Whether no state is demanded."""
        return not self.absent and not self.version


ANY = Condition()
ABSENT = Condition(absent=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload that was begun and is not yet visible. ``state`` is the store's own, small and picklable.

    ``part_size_bytes`` is fixed at the beginning: part ``n`` (from 1) starts at ``(n - 1) * part_size_bytes``.
    """

    key: str
    id: str
    part_size_bytes: int
    metadata: Metadata = NO_METADATA
    begun: datetime | None = None
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part the store has acknowledged. ``etag`` is the store's token for it, without quotes."""

    number: int
    size: int
    etag: str = ""
    digests: Digests = NO_DIGESTS


class Verification(enum.IntEnum):
    """How far a copy was proven (CONTRACT section 2)."""

    V0 = 0  # the length
    V1 = 1  # the bytes sent equal the bytes stored
    V2 = 2  # and the bytes read equal a digest the source published
    V3 = 3  # and an independent read-back of the destination agrees


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A sink's proof of one commit. Small: it is all that ever leaves a worker."""

    source: str  # URL of the source object; empty for a stream that came from nowhere addressable
    destination: str  # URL of the destination object
    key: str  # the destination key
    size: int
    version: Version  # of the destination
    source_version: Version = NO_VERSION
    digests: Digests = NO_DIGESTS  # of the bytes, as computed and as the destination published
    verification: Verification = Verification.V0
    evidence: str = ""  # in words: what was compared with what
    method: str = "put"  # put, parts, stream, copy
    parts: int = 1
    metadata_lost: tuple[str, ...] = ()
    retries: int = 0
    resent_bytes: int = 0
    rows: int = 0  # of a stream of record batches
    rows_changed: int | None = None  # in a table that says so
    duration_s: float = 0.0


class State(enum.Enum):
    """How an item ended. ``PENDING`` has no outcome yet."""

    DONE = "done"
    CACHED = "cached"
    SKIPPED = "skipped"
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"
    CANCELLED = "cancelled"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one mapped item ended: a value or an error, as data.

    ``index`` is the item's position in the input. ``inputs`` are short texts, never payload. It is the item's one row
    of metrics, for both halves together.
    """

    index: int
    state: State
    task: str = ""
    run_id: str = ""
    value: Any = None
    error: BaseException | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    started: datetime | None = None
    duration_s: float = 0.0
    worker: str = ""
    bytes: int = 0
    objects: int = 0
    rows: int = 0
    tags: tuple[str, ...] = ()

    @property
    def bytes_per_s(self) -> float:
        """The item's rate; 0 if it took no time or moved nothing."""
        return self.bytes / self.duration_s if self.duration_s else 0.0

    @property
    def ok(self) -> bool:
        """Whether the item has a usable value."""
        return self.state in (State.DONE, State.CACHED, State.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of a run that must add up: ``planned = copied + skipped + failed + pending``."""

    planned: int = 0
    copied: int = 0
    skipped: int = 0
    failed: int = 0
    planned_bytes: int = 0
    copied_bytes: int = 0

    @property
    def pending(self) -> int:
        """What has no record yet."""
        return self.planned - self.copied - self.skipped - self.failed
