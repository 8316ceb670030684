"""What ``connectors.memory`` keeps: buckets by name, their objects in key order, their open uploads.

Every method decides under the bucket's lock and does nothing slow there; hashing and joining happen outside.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from crossdock.errors import IntegrityError, NotFoundError, PreconditionError
from crossdock.model import Condition, ObjectInfo, Part, Upload, Version

__all__ = ["Bucket", "StoredObject", "bucket_named", "next_generation"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One version of one object; never changed, only replaced."""

    info: ObjectInfo
    data: bytes


@dataclass(slots=True)
class _Pending:
    upload: Upload
    parts: dict[int, tuple[Part, bytes]] = field(default_factory=dict)


class Bucket:
    """Objects and open uploads under one lock. Errors name the operation and key; the store's URL is ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.RLock()
        self._objects: dict[str, StoredObject] = {}
        self._names: list[bytes] = []  # the keys' UTF-8 bytes, sorted
        self._uploads: dict[str, _Pending] = {}

    def find(self, operation: str, key: str, version: Version) -> StoredObject:
        """The object, if it is there and in ``version``."""
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise NotFoundError("there is no such object", operation=operation, where=self.url, key=key)
        if not _is_version(found.info.version, version):
            raise PreconditionError(
                "the object was replaced since it was observed", operation=operation, where=self.url, key=key
            )
        return found

    def page(self, prefix: bytes, after: bytes | None, limit: int) -> list[ObjectInfo]:
        """Up to ``limit`` objects under ``prefix`` and behind ``after``, in byte order; one lookup, no scan."""
        with self._lock:
            start = bisect_left(self._names, prefix)
            if after is not None:
                start = max(start, bisect_right(self._names, after))
            names = self._names[start : start + limit]
            return [self._objects[name.decode()].info for name in names if name.startswith(prefix)]

    def publish(
        self, operation: str, made: StoredObject, condition: Condition, upload: Upload | None = None
    ) -> None:
        """Make an object visible if ``condition`` holds; with ``upload``, only if it is still open, and end it."""
        key = made.info.key
        with self._lock:
            if upload is not None:
                self._pending(operation, upload)
            self._demand(operation, key, condition)
            if upload is not None:
                del self._uploads[upload.id]
            if key not in self._objects:
                insort(self._names, key.encode())
            self._objects[key] = made

    def discard(self, key: str, version: Version) -> None:
        """Remove an object, only in ``version`` if given."""
        with self._lock:
            if key in self._objects:
                self.find("delete", key, version)
                del self._objects[key]
                del self._names[bisect_left(self._names, key.encode())]

    def open_upload(self, upload: Upload) -> None:
        """Note an upload that was begun."""
        with self._lock:
            self._uploads[upload.id] = _Pending(upload)

    def forget_upload(self, upload: Upload) -> None:
        """Drop an upload and its parts, if it is there."""
        with self._lock:
            self._uploads.pop(upload.id, None)

    def uploads(self, prefix: str) -> list[Upload]:
        """Open uploads under ``prefix``, by key."""
        with self._lock:
            found = [each.upload for each in self._uploads.values() if each.upload.key.startswith(prefix)]
        return sorted(found, key=lambda upload: (upload.key.encode(), upload.id))

    def keep_part(self, upload: Upload, part: Part, body: bytes) -> None:
        """Note a part, in place of one with the same number."""
        with self._lock:
            self._pending("put part", upload).parts[part.number] = (part, body)

    def chosen(self, upload: Upload, parts: Sequence[Part]) -> list[bytes]:
        """The bodies of exactly these parts; parts are numbered from 1 without a gap, as ``Upload`` says."""
        with self._lock:
            held = dict(self._pending("complete", upload).parts)
        bodies = []
        for number, part in enumerate(parts, start=1):
            known = held.get(part.number)
            if (
                part.number != number
                or known is None
                or (known[0].etag, known[0].size) != (part.etag, part.size)
            ):
                raise IntegrityError(
                    f"part {number} is not the one that was acknowledged",
                    operation="complete",
                    where=self.url,
                    key=upload.key,
                )
            bodies.append(known[1])
        return bodies

    def _pending(self, operation: str, upload: Upload) -> _Pending:
        pending = self._uploads.get(upload.id)
        if pending is None:
            raise NotFoundError("the upload is gone", operation=operation, where=self.url, key=upload.key)
        return pending

    def _demand(self, operation: str, key: str, condition: Condition) -> None:
        found = self._objects.get(key)
        if condition.absent and found is not None:
            raise PreconditionError("the object exists already", operation=operation, where=self.url, key=key)
        if condition.version and (found is None or not _is_version(found.info.version, condition.version)):
            raise PreconditionError(
                "the destination is not the version that was observed",
                operation=operation,
                where=self.url,
                key=key,
            )


def _is_version(actual: Version, demanded: Version) -> bool:
    """Whether every part of the demanded version is the actual one's."""
    return demanded.etag in (None, actual.etag) and demanded.generation in (None, actual.generation)


_buckets: dict[str, Bucket] = {}
_buckets_lock = threading.Lock()
_generations = itertools.count(1)


def bucket_named(name: str) -> Bucket:
    """The one bucket of that name in this process, made when it is first asked for."""
    with _buckets_lock:
        return _buckets.setdefault(name, Bucket(f"memory://{name}"))


def next_generation() -> str:
    """A number no other object of this process has had."""
    return str(next(_generations))
