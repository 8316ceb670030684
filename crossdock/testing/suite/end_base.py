"""What a test of a source, a sink or a pair tells its suite, and the few words those checks are written in."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator

import pytest

from crossdock.model import KIB, NO_METADATA, Metadata
from crossdock.ports import ObjectStore
from crossdock.testing.ends import End
from crossdock.testing.watcher import threads_left

__all__ = ["PREFIX", "EndSuite", "chunks_of", "described", "kept_metadata", "memory_end"]

PREFIX = "base/"
"""All that a suite writes is below it; what is beside it shall never be touched."""

_SHOWN = 100


class EndSuite:
    """A subclass defines the fixture ``end``."""

    @pytest.fixture
    def end(self) -> End:
        """The end under test: fresh and empty for each test."""
        raise NotImplementedError("define a fixture `end` in the test class")

    def part_size(self, end: End) -> int:
        """The size in bytes of the parts the checks use: as small as the end takes."""
        return max(end.capabilities.min_part_size, 16 * KIB)

    def assert_as_before(self, end: End, key: str, before: bytes | None) -> None:
        """By the back door: ``key`` below the prefix holds ``before``, nothing else is there, no thread is left."""
        assert described(before) == described(end.held(PREFIX + key))
        assert ([] if before is None else [PREFIX + key]) == end.names()
        assert threads_left() == []


def described(body: bytes | None) -> bytes | str | None:
    """A body as a failed assertion should show it: equal for equal bodies, and short."""
    if body is None or len(body) <= _SHOWN:
        return body
    return f"{len(body)} bytes with SHA-256 {hashlib.sha256(body).hexdigest()}"


def memory_end() -> End:
    """An end in this process's memory, to be the other half."""
    return End(url=f"memory://{uuid.uuid4().hex}/")


def chunks_of(data: bytes, size: int = 10_000) -> Iterator[bytes]:
    """``data`` in chunks, as a generator of unknown length."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def kept_metadata(store: ObjectStore, metadata: Metadata) -> Metadata:
    """What of ``metadata`` a store says it keeps."""
    fields = store.capabilities.metadata_fields
    if not fields:
        return NO_METADATA
    system = {name: getattr(metadata, name) for name in Metadata.FIELDS if name in fields}
    return Metadata(**system, user=dict(metadata.user) if "user" in fields else {})
