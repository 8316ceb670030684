"""How keys become names below a root, and a file's state becomes a version: pure functions, no I/O.

A key is a path below the root, segment by segment, byte for byte. Keys that a directory tree cannot hold are refused
rather than bent. An unfinished upload is a directory ``.crossdock-<id>.part`` beside the final name; it holds one file
that already has the final name, so the key is known without a sidecar.
"""

from __future__ import annotations

import os
import re
import uuid

from crossdock.model import Version

__all__ = [
    "MAX_PATH_BYTES",
    "new_upload_id",
    "part_size_of",
    "refusal_of",
    "split",
    "upload_id_of",
    "upload_name",
    "version_of",
]

MAX_SEGMENT_BYTES = 255  # NAME_MAX of ext4, XFS, Btrfs, APFS and NFS
MAX_PATH_BYTES = (
    4095  # Linux's PATH_MAX without the final NUL; longer files could be made but not opened by others
)

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}-[0-9a-f]{1,16}")
_UPLOAD_NAME = re.compile(rf"\.crossdock-({_UPLOAD_ID.pattern})\.part")


def refusal_of(root: str, key: str) -> str | None:
    """Why no file below ``root`` can have this key, in words; ``None`` if one can."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "the key has a lone surrogate, which UTF-8 cannot write"
    if "\0" in key:
        return "a file name cannot contain NUL"
    if key.endswith("/"):
        return "a key that ends in / names a directory, not a file"
    segments = key.split("/")
    if "" in segments:
        return "a key that is empty, begins with / or contains // has a segment without a name"
    if "." in segments or ".." in segments:
        return "the segments . and .. have a meaning of their own in a directory"
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"a file name has at most {MAX_SEGMENT_BYTES} bytes"
    if len(os.fsencode(root)) + 1 + len(encoded) > MAX_PATH_BYTES:
        return f"a path has at most {MAX_PATH_BYTES} bytes"
    if any(upload_id_of(segment) for segment in segments):
        return "names of the form .crossdock-<id>.part are kept for unfinished uploads"
    return None


def split(key: str) -> tuple[list[str], str]:
    """Directories and final name of a key that is not refused."""
    *directories, name = key.split("/")
    return directories, name


def new_upload_id(part_size_bytes: int) -> str:
    """An id nobody else has; carries the part size, so that an upload found on disk can be gone on with."""
    return f"{uuid.uuid4().hex}-{part_size_bytes:x}"


def part_size_of(upload_id: str) -> int:
    """The part size in bytes that ``new_upload_id`` was given."""
    return int(upload_id.partition("-")[2], 16)


def upload_name(upload_id: str) -> str | None:
    """The directory of an upload; ``None`` for an id that is not ours, which thus cannot lead out of the root."""
    return f".crossdock-{upload_id}.part" if _UPLOAD_ID.fullmatch(upload_id) else None


def upload_id_of(name: str) -> str | None:
    """The upload's id if this is the name of an upload's directory."""
    match = _UPLOAD_NAME.fullmatch(name)
    return match[1] if match else None


def version_of(state: os.stat_result) -> Version:
    """What pins a read: time of change to the nanosecond, size, inode. Renaming and linking do not change it."""
    return Version(etag=f"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}")
