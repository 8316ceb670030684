"""Objects in this process's memory: the reference implementation of ``ports.ObjectStore``, and what unit tests use.

A bucket is a process-wide dictionary found by name, so every ``MemoryStore("name")`` of a process sees the same
objects; another process sees an empty bucket of that name. Every capability is true and every digest is checked.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import uuid
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.digests import digest_of
from crossdock.errors import (
    ConfigError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    UnsupportedError,
)
from crossdock.model import (
    ANY,
    MIB,
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    ByteRange,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)
from crossdock.options import option
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["MemoryOptions", "MemoryStore"]

CHUNK_SIZE_BYTES = MIB
PUBLISHED = frozenset({"md5", "crc32c", "crc64nvme"})
CHECKED = PUBLISHED | {"sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """Limits of a service that a test wants to meet without moving gigabytes."""

    min_part_size_bytes: int = option(
        "Smallest part, except the last.", default=1, unit="bytes", aliases=("min_part_size",)
    )
    max_parts: int = option("Parts an upload may have.", default=10_000)
    page_size: int = option("Objects in one page of a listing, at most 1,000.", default=1_000)

    def __post_init__(self) -> None:
        if self.min_part_size_bytes < 1 or self.max_parts < 1 or not 1 <= self.page_size <= 1_000:
            raise ConfigError(
                "sizes and counts are at least 1, and a page has at most 1,000 objects", operation="open"
            )


@dataclass(frozen=True, slots=True)
class _Object:
    info: ObjectInfo
    data: bytes


@dataclass(slots=True)
class _Pending:
    upload: Upload
    parts: dict[int, tuple[Part, bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class _Bucket:
    """Objects and open uploads under one lock; ``names`` keeps the keys' UTF-8 bytes sorted."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    objects: dict[str, _Object] = field(default_factory=dict)
    names: list[bytes] = field(default_factory=list)
    uploads: dict[str, _Pending] = field(default_factory=dict)


_buckets: dict[str, _Bucket] = {}
_buckets_lock = threading.Lock()
_generations = itertools.count(1)


def _bucket(name: str) -> _Bucket:
    with _buckets_lock:
        return _buckets.setdefault(name, _Bucket())


class MemoryStore:
    """One bucket of objects in this process's memory.

    Thread-safe. A pickle is the recipe (name and limits): unpickled in this process it is the same bucket, in another
    process it is an empty one. Objects stay until they are deleted or the process ends. Nothing is sent anywhere, so
    no call fails for a passing reason.
    """

    def __init__(self, bucket: str, options: MemoryOptions = MemoryOptions()) -> None:  # noqa: B008 - frozen
        self.bucket = bucket
        self.options = options

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore, (self.bucket, self.options)

    def __repr__(self) -> str:
        return f"MemoryStore({self.bucket!r})"

    @property
    def url(self) -> str:
        """``memory://name``."""
        return f"memory://{self.bucket}"

    @property
    def endpoint(self) -> str:
        """The same for all buckets: they share this process's memory."""
        return "memory"

    @property
    def capabilities(self) -> Capabilities:
        """Everything, within the limits of the options."""
        return Capabilities(
            put_checks=CHECKED,
            part_checks=CHECKED,
            complete_checks=CHECKED,
            publishes=PUBLISHED,
            listing_has_metadata=True,
            min_part_size=self.options.min_part_size_bytes,
            max_parts=self.options.max_parts,
        )

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """Any text that UTF-8 can write is a key; see the port."""
        if not key:
            return "a key has at least one character"
        try:
            key.encode()
        except UnicodeEncodeError:
            return "the key has a lone surrogate, which UTF-8 cannot write"
        limit = self.capabilities.max_object_size
        return f"{size} bytes are over the limit of {limit}" if size is not None and size > limit else None

    def check(self) -> None:
        """Memory is always there."""

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port; each page is the state at the moment it is asked for."""
        bucket, first = _bucket(self.bucket), prefix.encode()
        last = None if start_after is None else start_after.encode()
        while True:
            with bucket.lock:
                start = bisect_left(bucket.names, first)
                if last is not None:
                    start = max(start, bisect_right(bucket.names, last))
                names = bucket.names[start : start + self.options.page_size]
                page = [bucket.objects[name.decode()].info for name in names if name.startswith(first)]
            if page:
                yield page
            if len(page) < self.options.page_size:
                return
            last = names[-1]

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        return self._object("stat", key, version).info

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; the reader keeps the bytes of its version even if the object is replaced or deleted."""
        found = self._object("read", key, version)
        view = memoryview(found.data)
        if byte_range is not None:
            if byte_range.start >= len(view):
                raise RangeError(
                    f"the range starts at {byte_range.start} and the object has {len(view)} bytes",
                    operation="read",
                    where=self.url,
                    key=key,
                )
            view = view[byte_range.start : byte_range.end]
        return _MemoryReader(found.info, view)

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; takes a copy of ``data``."""
        self._demand_key("put", key)
        body = bytes(data)
        self._compare("put", key, body, digests)
        made = self._made(key, body, metadata)
        bucket = _bucket(self.bucket)
        with bucket.lock:
            self._demand_state(bucket, "put", key, condition)
            _publish(bucket, made)
        return made.info

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """See the port.

        Raises:
            UnsupportedError: The store refuses the key or the size, or parts are smaller than the limit.
        """
        self._demand_key("begin", key, size)
        if part_size_bytes < self.options.min_part_size_bytes:
            raise UnsupportedError(
                f"parts of {part_size_bytes} bytes are below the minimum of {self.options.min_part_size_bytes}",
                operation="begin",
                where=self.url,
                key=key,
            )
        upload = Upload(
            key=key,
            id=uuid.uuid4().hex,
            part_size_bytes=part_size_bytes,
            metadata=_own(metadata),
            begun=datetime.now(UTC),
        )
        bucket = _bucket(self.bucket)
        with bucket.lock:
            bucket.uploads[upload.id] = _Pending(upload)
        return upload

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """See the port; takes a copy of ``data``.

        Raises:
            NotFoundError: The upload is gone.
            IntegrityError: ``data`` is not what ``digests`` say.
            UnsupportedError: The number or the length is out of bounds.
        """
        body = bytes(data)
        if not 1 <= number <= self.options.max_parts or len(body) > upload.part_size_bytes:
            raise UnsupportedError(
                f"part {number} with {len(body)} bytes does not fit: parts are 1 to {self.options.max_parts}, "
                f"of at most {upload.part_size_bytes} bytes",
                operation="put part",
                where=self.url,
                key=upload.key,
            )
        self._compare("put part", upload.key, body, digests)
        known = digest_of(body, PUBLISHED)
        part = Part(number=number, size=len(body), etag=(known.md5 or b"").hex(), digests=known)
        bucket = _bucket(self.bucket)
        with bucket.lock:
            self._pending(bucket, "put part", upload).parts[number] = (part, body)
        return part

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; takes the object's size in memory once more while it joins the parts."""
        bucket = _bucket(self.bucket)
        with bucket.lock:
            pending = self._pending(bucket, "complete", upload)
            chosen = [self._chosen(pending, part, number) for number, part in enumerate(parts, start=1)]
        if any(len(piece) != upload.part_size_bytes for piece in chosen[:-1]):
            raise self._wrong("complete", upload.key, "a part before the last is shorter than the part size")
        body = b"".join(chosen)
        if len(body) != size:
            raise self._wrong("complete", upload.key, f"the parts have {len(body)} bytes, not {size}")
        self._compare("complete", upload.key, body, digests)
        made = self._made(upload.key, body, pending.upload.metadata)
        with bucket.lock:
            self._pending(bucket, "complete", upload)  # an abort may have come in between
            self._demand_state(bucket, "complete", upload.key, condition)
            del bucket.uploads[upload.id]
            _publish(bucket, made)
        return made.info

    def abort(self, upload: Upload) -> None:
        """See the port."""
        bucket = _bucket(self.bucket)
        with bucket.lock:
            bucket.uploads.pop(upload.id, None)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; by key, as they are at the moment of the call."""
        bucket = _bucket(self.bucket)
        with bucket.lock:
            uploads = [pending.upload for pending in bucket.uploads.values()]
        yield from sorted(
            (upload for upload in uploads if upload.key.startswith(prefix)),
            key=lambda upload: (upload.key.encode(), upload.id),
        )

    def copy(
        self,
        source: str,
        source_key: str,
        key: str,
        *,
        info: ObjectInfo,
        metadata: Metadata = NO_METADATA,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; both objects share their bytes.

        Raises:
            UnsupportedError: ``source`` is not a ``memory://`` bucket, or the key is refused.
            NotFoundError: There is no such source object.
            PreconditionError: Source replaced, or destination not in the demanded state.
        """
        scheme, _, name = source.partition("://")
        if scheme != "memory":
            raise UnsupportedError(f"{source} is not in memory", operation="copy", where=self.url, key=key)
        self._demand_key("copy", key)
        found = MemoryStore(name)._object("copy", source_key, info.version)
        made = self._made(key, found.data, metadata)
        bucket = _bucket(self.bucket)
        with bucket.lock:
            self._demand_state(bucket, "copy", key, condition)
            _publish(bucket, made)
        return made.info

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port.

        Raises:
            PreconditionError: ``version`` is not what is there.
        """
        bucket = _bucket(self.bucket)
        with bucket.lock:
            if key not in bucket.objects:
                return
            self._object("delete", key, version)
            del bucket.objects[key]
            del bucket.names[bisect_left(bucket.names, key.encode())]

    def _object(self, operation: str, key: str, version: Version) -> _Object:
        bucket = _bucket(self.bucket)
        with bucket.lock:
            found = bucket.objects.get(key)
        if found is None:
            raise NotFoundError("there is no such object", operation=operation, where=self.url, key=key)
        if not _is_version(found.info.version, version):
            raise PreconditionError(
                "the object was replaced since it was observed", operation=operation, where=self.url, key=key
            )
        return found

    def _pending(self, bucket: _Bucket, operation: str, upload: Upload) -> _Pending:
        pending = bucket.uploads.get(upload.id)
        if pending is None:
            raise NotFoundError("the upload is gone", operation=operation, where=self.url, key=upload.key)
        return pending

    def _chosen(self, pending: _Pending, part: Part, number: int) -> bytes:
        held = pending.parts.get(part.number)
        if part.number != number or held is None or held[0].etag != part.etag or held[0].size != part.size:
            raise self._wrong(
                "complete", pending.upload.key, f"part {number} is not the one that was acknowledged"
            )
        return held[1]

    def _demand_key(self, operation: str, key: str, size: int | None = None) -> None:
        refusal = self.refusal(key, size)
        if refusal is not None:
            raise UnsupportedError(refusal, operation=operation, where=self.url, key=key)

    def _demand_state(self, bucket: _Bucket, operation: str, key: str, condition: Condition) -> None:
        """Compare what is there with what the condition demands; the caller holds the lock."""
        found = bucket.objects.get(key)
        if condition.absent and found is not None:
            raise PreconditionError("the object exists already", operation=operation, where=self.url, key=key)
        if condition.version and (found is None or not _is_version(found.info.version, condition.version)):
            raise PreconditionError(
                "the destination is not the version that was observed",
                operation=operation,
                where=self.url,
                key=key,
            )

    def _compare(self, operation: str, key: str, body: bytes, digests: Digests) -> None:
        differs = digest_of(body, digests.as_dict()).conflict(digests)
        if differs is not None:
            raise self._wrong(operation, key, f"the bytes received have another {differs} than was announced")

    def _wrong(self, operation: str, key: str, cause: str) -> IntegrityError:
        return IntegrityError(cause, operation=operation, where=self.url, key=key)

    def _made(self, key: str, body: bytes, metadata: Metadata) -> _Object:
        info = ObjectInfo(
            key=key,
            size=len(body),
            version=Version(
                etag=hashlib.md5(body, usedforsecurity=False).hexdigest(), generation=str(next(_generations))
            ),
            digests=digest_of(body, PUBLISHED),
            metadata=_own(metadata),
            modified=datetime.now(UTC),
        )
        return _Object(info, body)


class _MemoryReader:
    """A view of one object's bytes, cut into chunks."""

    def __init__(self, info: ObjectInfo, view: memoryview) -> None:
        self.info = info
        self._view = view

    def __iter__(self) -> Iterator[Chunk]:
        for start in range(0, len(self._view), CHUNK_SIZE_BYTES):
            yield self._view[start : start + CHUNK_SIZE_BYTES]

    def read_all(self) -> Chunk:
        return self._view

    def close(self) -> None:
        """Nothing to give back."""


def _publish(bucket: _Bucket, made: _Object) -> None:
    """Make an object visible; the caller holds the lock."""
    if made.info.key not in bucket.objects:
        insort(bucket.names, made.info.key.encode())
    bucket.objects[made.info.key] = made


def _is_version(actual: Version, demanded: Version) -> bool:
    """Whether every part of the demanded version is the actual one's."""
    return demanded.etag in (None, actual.etag) and demanded.generation in (None, actual.generation)


def _own(metadata: Metadata) -> Metadata:
    """A copy that later changes of the caller's mapping do not reach."""
    return replace(metadata, user=dict(metadata.user))
