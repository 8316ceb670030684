"""Keys as paths of a filesystem, and what it says of a file as an ``ObjectInfo``: pure functions.

fsspec strips and normalises paths, each filesystem in its own way. A key is only used if its path comes back unchanged;
anything else is refused, because it would be another object. Unfinished uploads are files ``.crossdock-<id>.part-<name>``
beside the final name, so their key is known without a sidecar (unless the name is too long to be carried).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from crossdock.model import NO_METADATA, NO_VERSION, ObjectInfo, Version

__all__ = [
    "described",
    "is_directory",
    "joined",
    "modified_of",
    "new_upload_id",
    "refusal_of",
    "temporary_name",
    "upload_in",
    "version_of",
]

MAX_SEGMENT_BYTES = 255
_TEMPORARY = re.compile(r"\.crossdock-([0-9a-f]{32}-[0-9a-f]{1,16})\.part(?:-(.+))?", re.DOTALL)

# Names under which filesystems report what changes when the content does, without case, dashes and underscores.
_TOKENS = (
    *(
        "etag",
        "sha256",
        "sha1",
        "sha",
        "md5",
        "contentmd5",
        "md5hash",
        "checksum",
        "contenthash",
        "hash",
        "crc",
        "chksum",
    ),
    *(
        "crc32c",
        "generation",
        "versionid",
        "rev",
        "revision",
        "blobid",
        "xethash",
        "unique",
        "ino",
        "headeroffset",
    ),
)
_TIMES = (
    "mtime",
    "modify",
    "modified",
    "lastmodified",
    "updated",
    "modificationtime",
    "lastwritetime",
    "datetime",
)
_BIRTHS = ("created", "creationtime")


def joined(root: str, key: str) -> str:
    """The path of a key below a root path."""
    return f"{root.rstrip('/')}/{key}" if root else key


def refusal_of(key: str, path: str, strip: Callable[[str], str]) -> str | None:
    """Why a filesystem cannot be asked for this key, in words; ``None`` if it can.

    Args:
        key: The key.
        path: Its path in the filesystem.
        strip: The filesystem's own normalisation of paths.
    """
    try:
        key.encode()
    except UnicodeEncodeError:
        return "the key has a lone surrogate, which UTF-8 cannot write"
    if key.endswith("/"):
        return "a key that ends in / names a directory, not a file"
    segments = key.split("/")
    if "" in segments:
        return "a key that is empty, begins with / or contains // has a segment without a name"
    if "." in segments or ".." in segments:
        return "the segments . and .. have a meaning of their own in a filesystem"
    if any(char in key for char in "\0\r\n"):
        return "NUL and line ends cannot be written in the protocols of filesystems"
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"a file name has at most {MAX_SEGMENT_BYTES} bytes"
    if any(_TEMPORARY.fullmatch(segment) for segment in segments):
        return "names of the form .crossdock-<id>.part are kept for unfinished uploads"
    bent = strip(path)
    if bent != path:
        return f"the filesystem would take the key's path {path!r} for {bent!r}"
    return None


def new_upload_id(part_size_bytes: int) -> str:
    """An id nobody else has; carries the part size."""
    return f"{uuid.uuid4().hex}-{part_size_bytes:x}"


def temporary_name(upload_id: str, name: str) -> str:
    """The name an upload has until it is complete; carries the final one if there is room."""
    head = f".crossdock-{upload_id}.part"
    carried = f"{head}-{name}"
    return carried if len(carried.encode()) <= MAX_SEGMENT_BYTES else head


def upload_in(name: str) -> tuple[str, str] | None:
    """Upload id and final name (the id, if it is not carried) of a temporary name; ``None`` for any other name."""
    found = _TEMPORARY.fullmatch(name)
    return (found[1], found[2] or found[1]) if found else None


def is_directory(info: Mapping[str, Any]) -> bool:
    """Whether the filesystem calls it a directory."""
    return info.get("type") in ("directory", "dir")


def described(key: str, info: Mapping[str, Any], *, outer: str = "", versioned: bool = True) -> ObjectInfo:
    """What a filesystem said of one file.

    Args:
        key: The file's key.
        info: The filesystem's answer.
        outer: What tells versions of the archive apart that holds it.
        versioned: Whether the answer and the bytes are of one origin (a cache's are not).
    """
    return ObjectInfo(
        key=key,
        size=_size(info),
        version=version_of(info, outer) if versioned else NO_VERSION,
        metadata=NO_METADATA,
        modified=modified_of(info),
    )


def version_of(info: Mapping[str, Any], outer: str = "") -> Version:
    """What tells this state of a file from another: whatever the filesystem reports that changes with the content.

    A time alone is weak (FTP counts whole seconds), so size always belongs to it; nothing but a size is no version.
    """
    plain = {_plain(name): value for name, value in info.items() if value is not None}
    tokens = [_text(plain[name]) for name in _TOKENS if plain.get(name) not in (None, "")]
    time = modified_of(info)
    if not tokens and time is None:
        return NO_VERSION
    moment = f"{time.timestamp():.6f}" if time is not None else ""
    parts = (outer, *tokens, moment, str(_size(info)))
    return Version(etag="-".join(part for part in parts if part))


def modified_of(info: Mapping[str, Any]) -> datetime | None:
    """When the content changed last, if the filesystem says: the first of the names that time goes by."""
    plain = {_plain(name): value for name, value in info.items()}
    for name in (*_TIMES, *_BIRTHS):
        found = _time(plain.get(name))
        if found is not None:
            return found
    return None


def _size(info: Mapping[str, Any]) -> int | None:
    size = info.get("size")
    return int(size) if size is not None else None


def _plain(name: str) -> str:
    return str(name).lower().replace("-", "").replace("_", "").replace(".", "")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value).strip('"')


def _time(value: Any) -> datetime | None:
    """A moment in any of the forms filesystems use: datetime, seconds, milliseconds, ISO text, FTP's digits, a tuple."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        if isinstance(value, tuple) and len(value) >= 6:
            year, month, day, hour, minute, second = value[:6]
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if isinstance(value, str):
            ftp = re.fullmatch(r"(\d{14})(\.\d+)?", value)
            if ftp:
                whole = datetime.strptime(ftp[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
                return datetime.fromtimestamp(whole.timestamp() + float(ftp[2] or 0), UTC)
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
