"""What layers have in common: an ``ObjectStore`` round another one, passing on what it does not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossdock.model import (
    ANY,
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
from crossdock.ports import Capabilities, Chunk, ObjectReader, ObjectStore

__all__ = ["Layer"]


class Layer:
    """Every verb of ``ObjectStore``, passed on as it is; a layer overrides those it is about."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        """The inner store's."""
        return self.inner.url

    @property
    def capabilities(self) -> Capabilities:
        """The inner store's."""
        return self.inner.capabilities

    @property
    def endpoint(self) -> str:
        """The inner store's."""
        return self.inner.endpoint

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """The inner store's."""
        return self.inner.refusal(key, size)

    def check(self) -> None:
        """See the port."""
        self.inner.check()

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port."""
        return self.inner.list(prefix, start_after=start_after)

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        return self.inner.stat(key, version=version)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port."""
        return self.inner.read(key, byte_range, version=version)

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port."""
        return self.inner.put(key, data, metadata=metadata, digests=digests, condition=condition)

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """See the port."""
        return self.inner.begin(key, part_size_bytes=part_size_bytes, metadata=metadata, size=size)

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """See the port."""
        return self.inner.put_part(upload, number, data, digests=digests)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port."""
        return self.inner.complete(upload, parts, size=size, digests=digests, condition=condition)

    def abort(self, upload: Upload) -> None:
        """See the port."""
        self.inner.abort(upload)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port."""
        return self.inner.list_uploads(prefix)

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
        """See the port."""
        return self.inner.copy(source, source_key, key, info=info, metadata=metadata, condition=condition)

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port."""
        self.inner.delete(key, version=version)
