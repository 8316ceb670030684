"""Objects in this process's memory: the reference implementation of ``ports.ObjectStore``, and what unit tests use.

A bucket is a process-wide dictionary found by name, so every ``MemoryStore("name")`` of a process sees the same
objects; another process sees an empty bucket of that name. Every capability is true and every digest is checked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.digests import digest_of
from crossdock.connectors.memory_bucket import StoredObject, bucket_named, next_generation
from crossdock.errors import ConfigError, IntegrityError, RangeError, UnsupportedError
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


class MemoryStore:
    """One bucket of objects in this process's memory.

    Thread-safe. A pickle is the recipe (name and limits): unpickled in this process it is the same bucket, in another
    process it is an empty one. Objects stay until they are deleted or the process ends. Nothing is sent anywhere, so
    no call fails for a passing reason.
    """

    def __init__(self, bucket: str, options: MemoryOptions = MemoryOptions()) -> None:
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
        bucket, size = bucket_named(self.bucket), self.options.page_size
        after = None if start_after is None else start_after.encode(errors="surrogatepass")
        while page := bucket.page(prefix.encode(errors="surrogatepass"), after, size):
            yield page
            if len(page) < size:
                return
            after = page[-1].key.encode()

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        self._demand_key("stat", key)
        return bucket_named(self.bucket).find("stat", key, version).info

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; the reader keeps the bytes of its version even if the object is replaced or deleted."""
        self._demand_key("read", key)
        found = bucket_named(self.bucket).find("read", key, version)
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
        body = bytes(data)
        self._demand_key("put", key, len(body))
        self._compare("put", key, body, digests)
        made = _made(key, body, metadata)
        bucket_named(self.bucket).publish("put", made, condition)
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
        bucket_named(self.bucket).open_upload(upload)
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
        bucket_named(self.bucket).keep_part(upload, part, body)
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
        bucket = bucket_named(self.bucket)
        bodies = bucket.chosen(upload, parts)
        if any(len(body) != upload.part_size_bytes for body in bodies[:-1]):
            raise self._wrong("complete", upload.key, "a part before the last is shorter than the part size")
        whole = b"".join(bodies)
        if len(whole) != size:
            raise self._wrong("complete", upload.key, f"the parts have {len(whole)} bytes, not {size}")
        self._compare("complete", upload.key, whole, digests)
        made = _made(upload.key, whole, upload.metadata)
        bucket.publish("complete", made, condition, upload)
        return made.info

    def abort(self, upload: Upload) -> None:
        """See the port."""
        bucket_named(self.bucket).forget_upload(upload)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; by key, as they are at the moment of the call."""
        yield from bucket_named(self.bucket).uploads(prefix)

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
        found = bucket_named(name).find("copy", source_key, info.version)
        made = _made(key, found.data, metadata)
        bucket_named(self.bucket).publish("copy", made, condition)
        return made.info

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port.

        Raises:
            PreconditionError: ``version`` is not what is there.
        """
        self._demand_key("delete", key)
        bucket_named(self.bucket).discard(key, version)

    def _demand_key(self, operation: str, key: str, size: int | None = None) -> None:
        refusal = self.refusal(key, size)
        if refusal is not None:
            raise UnsupportedError(refusal, operation=operation, where=self.url, key=key)

    def _compare(self, operation: str, key: str, body: bytes, digests: Digests) -> None:
        differs = digest_of(body, digests.as_dict()).conflict(digests)
        if differs is not None:
            raise self._wrong(operation, key, f"the bytes received have another {differs} than was announced")

    def _wrong(self, operation: str, key: str, cause: str) -> IntegrityError:
        return IntegrityError(cause, operation=operation, where=self.url, key=key)


class _MemoryReader:
    """A view of one object's bytes, cut into chunks."""

    def __init__(self, info: ObjectInfo, view: memoryview) -> None:
        self.info = info
        self._view = view

    def __iter__(self) -> Iterator[Chunk]:
        for start in range(0, len(self._view), CHUNK_SIZE_BYTES):
            yield self._view[start : start + CHUNK_SIZE_BYTES]

    def read_all(self) -> Chunk:
        """All of it, without a copy."""
        return self._view

    def close(self) -> None:
        """Nothing to give back."""


def _made(key: str, body: bytes, metadata: Metadata) -> StoredObject:
    digests = digest_of(body, PUBLISHED)
    info = ObjectInfo(
        key=key,
        size=len(body),
        version=Version(etag=(digests.md5 or b"").hex(), generation=next_generation()),
        digests=digests,
        metadata=_own(metadata),
        modified=datetime.now(UTC),
    )
    return StoredObject(info, body)


def _own(metadata: Metadata) -> Metadata:
    """A copy that later changes of the caller's mapping do not reach."""
    return replace(metadata, user=dict(metadata.user))
