"""Names of objects that exist only while an upload is assembled: what they are for must be legible after a crash.

A temporary key is a random directory under the reserved prefix, the part size, and the final key in base64. A final key
too long for that (about 700 bytes) is replaced by its digest, and an empty marker object beside it carries the key as
metadata.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from crossdock.connectors.gcs.resources import RESERVED_PREFIX
from crossdock.model import Metadata, ObjectInfo

__all__ = ["Temporary", "marked_key", "marker_metadata", "new_temporary", "parse_temporary"]

_ROOM = 1024 - len(RESERVED_PREFIX) - 32 - 1 - 12 - 1
_MARKER = "!key"
_NAME = re.compile(
    re.escape(RESERVED_PREFIX) + r"([0-9a-f]{32}-([0-9a-f]{1,12}))/(?:([\w-]+={0,2})|(![0-9a-f]{64})|(!key))",
    re.ASCII,
)
_FIELD = "crossdock-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporary:
    """A temporary key taken apart. ``final_key`` is ``None`` if only the marker knows it."""

    name: str
    directory: str
    part_size_bytes: int
    final_key: str | None
    is_marker: bool = False

    @property
    def marker(self) -> str | None:
        """Key of the marker object, if the final key needs one."""
        return f"{RESERVED_PREFIX}{self.directory}/{_MARKER}" if self.final_key is None else None


def new_temporary(key: str, part_size_bytes: int) -> Temporary:
    """A temporary key that nobody else uses."""
    raw = key.encode()
    name, final_key = urlsafe_b64encode(raw).decode(), key if raw else None
    if len(name) > _ROOM:
        name, final_key = f"!{hashlib.sha256(raw).hexdigest()}", None
    directory = f"{uuid.uuid4().hex}-{part_size_bytes:x}"
    return Temporary(
        name=f"{RESERVED_PREFIX}{directory}/{name}",
        directory=directory,
        part_size_bytes=part_size_bytes,
        final_key=final_key,
    )


def parse_temporary(name: str) -> Temporary | None:
    """What a key under the reserved prefix is; ``None`` if it is not of our making."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    final_key = None
    if match[3] is not None:
        try:
            final_key = urlsafe_b64decode(match[3]).decode()
        except ValueError:
            return None
    return Temporary(
        name=name,
        directory=match[1],
        part_size_bytes=int(match[2], 16),
        final_key=final_key,
        is_marker=match[5] is not None,
    )


def marker_metadata(key: str) -> Metadata:
    """What a marker says."""
    return Metadata(user={_FIELD: urlsafe_b64encode(key.encode()).decode()})


def marked_key(marker: ObjectInfo) -> str | None:
    """The final key that a marker names; ``None`` if it is damaged."""
    try:
        return urlsafe_b64decode(marker.metadata.user[_FIELD]).decode() if marker.metadata else None
    except (KeyError, ValueError):
        return None
