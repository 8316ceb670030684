"""Uploads in progress: resumable sessions of the JSON API and multipart uploads of the XML API.

A resumable session persists multiples of 256 KiB, also of a request that broke off, and says honestly how far it
is: a 308 without ``Range`` means that nothing was persisted, whatever was sent.
https://docs.cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.objects import Content, Digests, Metadata, Preconditions, Store, StoredObject

QUANTUM_BYTES = 256 << 10
PART_MIN_BYTES = 5 << 20
PART_NUMBER_MAX = 10_000


@dataclass
class Session:
    """One resumable upload; ``lock`` keeps its requests apart."""

    id: str
    bucket: str
    key: str
    metadata: Metadata
    digests: Digests
    preconditions: Preconditions
    total: int | None = None
    content: Content = field(default_factory=Content)
    done: StoredObject | None = None
    is_cancelled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


@dataclass(frozen=True)
class Part:
    """One part of a multipart upload."""

    number: int
    content: Content
    etag: str
    updated: str


@dataclass
class Multipart:
    """One multipart upload; its parts by number, a later one replaces an earlier one."""

    id: str
    bucket: str
    key: str
    metadata: Metadata
    created: str
    parts: dict[int, Part] = field(default_factory=dict)


class Uploads:
    """All uploads of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._multiparts: dict[str, Multipart] = {}

    def open(self, bucket: str) -> dict[str, str]:
        """Return the keys of uploads that were neither completed nor aborted, by upload id."""
        with self._lock:
            sessions = [
                (s.bucket, s.id, s.key)
                for s in self._sessions.values()
                if s.done is None and not s.is_cancelled
            ]
            multiparts = [(u.bucket, u.id, u.key) for u in self._multiparts.values()]
        return {upload_id: key for home, upload_id, key in sessions + multiparts if home == bucket}

    def begin_session(
        self,
        bucket: str,
        key: str,
        *,
        metadata: Metadata,
        digests: Digests,
        preconditions: Preconditions,
        total: int | None,
    ) -> Session:
        """Open a resumable session, if the preconditions hold now; they are checked again at the end."""
        self._store.check(bucket, key, preconditions)
        session = Session(secrets.token_urlsafe(24), bucket, key, metadata, digests, preconditions, total)
        with self._lock:
            self._sessions[session.id] = session
        return session

    def session(self, upload_id: str) -> Session:
        """Return a session; 404 if there never was one, 410 if it was cancelled or refused."""
        with self._lock:
            found = self._sessions.get(upload_id)
        if found is None:
            raise ApiError(404, "Upload session not found.")
        if found.is_cancelled:
            raise ApiError(410, "The upload session is gone.")
        return found

    def append(self, session: Session, start: int, content: Content, *, is_last: bool) -> int:
        """Persist what is new of a chunk; returns how many bytes are persisted now. The caller holds ``session.lock``.

        Raises:
            ApiError: 503, the chunk starts beyond what is persisted; GCS says it in these words.
        """
        persisted = session.content.size
        if start > persisted:
            raise ApiError(
                503,
                f"Invalid request.  According to the Content-Range header, the upload offset is {start} byte(s), "
                f"which exceeds already uploaded size of {persisted} byte(s).",
            )
        end = start + content.size
        if not is_last:
            end -= end % QUANTUM_BYTES
        if end > persisted:
            whole = start == persisted and end == start + content.size
            fresh = content if whole else Content.of(content.slice(persisted - start, end - start))
            session.content = session.content.joined(fresh)
        return session.content.size

    def finish(self, session: Session, digests: Digests) -> StoredObject:
        """Make the session's bytes an object; a wrong digest or a failed condition ends the session without one."""
        try:
            digests.check(session.content)
            session.done = self._store.put(
                session.bucket, session.key, session.content, session.metadata, session.preconditions
            )
        except ApiError:
            session.is_cancelled = True
            raise
        finally:
            session.content = Content()
        return session.done

    def cancel(self, session: Session) -> None:
        """Forget what was uploaded; the session's id stays known as gone."""
        session.is_cancelled = True
        session.content = Content()

    def begin_multipart(self, bucket: str, key: str, metadata: Metadata, created: str) -> Multipart:
        """Open a multipart upload. It knows no preconditions: multipart uploads of GCS do not either."""
        self._store.check(bucket, key, Preconditions())
        upload = Multipart(secrets.token_urlsafe(24), bucket, key, metadata, created)
        with self._lock:
            self._multiparts[upload.id] = upload
        return upload

    def multipart(self, bucket: str, key: str, upload_id: str) -> Multipart:
        """Return a multipart upload; 404 if it is not open."""
        with self._lock:
            found = self._multiparts.get(upload_id)
        if found is None or (found.bucket, found.key) != (bucket, key):
            raise ApiError(404, "The requested upload was not found.", code="NoSuchUpload")
        return found

    def multiparts(self, bucket: str) -> list[Multipart]:
        """Return the open multipart uploads of a bucket, by key, then by age."""
        with self._lock:
            found = [u for u in self._multiparts.values() if u.bucket == bucket]
        return sorted(found, key=lambda u: (u.key, u.created))

    def put_part(self, upload: Multipart, part: Part) -> None:
        """Keep a part."""
        if not 1 <= part.number <= PART_NUMBER_MAX:
            raise ApiError(400, "Part number must be between 1 and 10000.", code="InvalidArgument")
        upload.parts[part.number] = part

    def complete(self, upload: Multipart, wanted: list[tuple[int, str]]) -> StoredObject:
        """Concatenate the parts named, which must be in order and have the entity tags named."""
        numbers = [number for number, _ in wanted]
        if not numbers:
            raise ApiError(
                400, "The complete request names no parts.", code="MalformedCompleteMultipartUploadRequest"
            )
        if numbers != sorted(set(numbers)):
            raise ApiError(400, "The parts are not in ascending order.", code="InvalidPartOrder")
        content = Content()
        for position, (number, etag) in enumerate(wanted, start=1):
            part = upload.parts.get(number)
            if part is None or part.etag != etag.strip('"'):
                raise ApiError(
                    400, f"Part {number} was not found, or has another entity tag.", code="InvalidPart"
                )
            if part.content.size < PART_MIN_BYTES and position < len(wanted):
                raise ApiError(400, f"Part {number} is smaller than 5 MiB.", code="EntityTooSmall")
            content = content.joined(part.content)
        with self._lock:
            if self._multiparts.pop(upload.id, None) is None:
                raise ApiError(404, "The requested upload was not found.", code="NoSuchUpload")
        return self._store.put(
            upload.bucket, upload.key, content, upload.metadata, component_count=len(wanted), has_md5=False
        )

    def abort(self, upload: Multipart) -> None:
        """Forget an upload and its parts."""
        with self._lock:
            self._multiparts.pop(upload.id, None)
