"""What a server's word of a path means: an object or not, its version, the range of it that is there. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from crossdock.connectors.sftp.wire import Attributes
from crossdock.errors import NotFoundError, PreconditionError, RangeError, UnsupportedError
from crossdock.model import NO_METADATA, ByteRange, ObjectInfo, Version

__all__ = ["cut", "demand_file", "info_of", "version_of"]


def version_of(size: int | None, mtime: int | None) -> Version:
    """What pins a read: as much as version 3 of the protocol shows, and named as what it is."""
    return Version(generation=f"weak: mtime {mtime}, {size} bytes")


def demand_file(state: Attributes | None, version: Version) -> Attributes:
    """Raise unless this is a file, in the version demanded; the caller's block adds the place."""
    if state is None:
        raise NotFoundError("there is no such object")
    if state.is_directory:
        raise NotFoundError("this is a directory, not an object")
    if state.is_link:
        raise UnsupportedError("this is a symbolic link, which is not followed", hint="name its target")
    if not state.is_file:
        raise UnsupportedError("this is not a regular file")
    if version and version_of(state.size, state.mtime) != version:
        raise PreconditionError("the file was replaced since it was observed")
    return state


def info_of(key: str, state: Attributes) -> ObjectInfo:
    """A file as an object."""
    return ObjectInfo(
        key=key,
        size=state.size,
        version=version_of(state.size, state.mtime),
        metadata=NO_METADATA,
        modified=None if state.mtime is None else datetime.fromtimestamp(state.mtime, UTC),
    )


def cut(byte_range: ByteRange | None, size: int) -> ByteRange | None:
    """The range that is there; ``None`` for an empty file."""
    if byte_range is None:
        return ByteRange(0, size) if size else None
    if byte_range.start >= size:
        raise RangeError(f"the range starts at {byte_range.start} and the object has {size} bytes")
    return ByteRange(byte_range.start, min(byte_range.end, size))
