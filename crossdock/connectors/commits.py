"""Commits whose outcome may be unknown: resolved by looking at the destination, never guessed.

A lost acknowledgement, a 5xx after the body was sent, a 200 with an error inside: the object may or may not be there.
Existence is no proof; a digest (or the expected multipart ETag) and the size are. After a commit that may have
succeeded nothing is aborted (CONTRACT section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from crossdock.connectors.digests import expected_multipart_etag
from crossdock.connectors.layers import ATTEMPTS, backoff_s
from crossdock.errors import (
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    StorageError,
)
from crossdock.events import Retried, emit
from crossdock.model import Digests, ObjectInfo, Part, Upload
from crossdock.pausing import pause
from crossdock.ports import ObjectStore

__all__ = ["abort_unless_unknown", "commit", "look", "with_parts"]


def with_parts(computed: Digests, parts: Sequence[Part]) -> Digests:
    """Add the multipart ETag that S3 will show for exactly these acknowledged parts."""
    return replace(computed, multipart_etag=expected_multipart_etag(parts))


def look(store: ObjectStore, key: str, size: int, digests: Digests) -> ObjectInfo | None:
    """The destination as it stands, if it provably holds these bytes; else ``None``."""
    try:
        found = store.stat(key)
    except NotFoundError:
        return None
    proven = found.digests.common(digests) and found.digests.conflict(digests) is None
    return found if found.size == size and proven else None


def commit(
    act: Callable[[], ObjectInfo],
    *,
    store: ObjectStore,
    key: str,
    size: int,
    digests: Digests,
    settle: Callable[[], None] = lambda: None,
) -> ObjectInfo:
    """Do one commit; after a failure that leaves its outcome unknown, look before doing it again.

    ``settle`` is called when looking found the commit done: it removes what an unfinished answer may have left.

    Raises:
        PreconditionError: The destination is in another state, and not because of an attempt of ours.
        CrossdockError: It failed for good; ``error.unknown_outcome`` is true if it may yet have happened.
    """
    uncertain = False
    for number in range(1, ATTEMPTS + 1):
        try:
            return act()
        except (PreconditionError, NotFoundError) as error:
            # After an attempt of ours that may have worked, "it exists" or "no such upload" may mean success.
            # An upload that is gone though nobody ended it was completed by a request of ours that was delivered twice.
            repeated = isinstance(error, NotFoundError)
            found = look(store, key, size, digests) if uncertain or repeated else None
            if found is None:
                raise
            emit(
                Retried(operation="commit", place=error.place, cause=str(error), attempt=number, delay_s=0.0)
            )
            settle()
            return found
        except IntegrityError:
            raise
        except CrossdockError as error:
            if error.retry is not Retry.LATER:
                raise
            uncertain = uncertain or isinstance(error, StorageError)
            if number == ATTEMPTS:
                error.retry, error.attempts = Retry.EXHAUSTED, number
                error.unknown_outcome = True  # type: ignore[attr-defined]
                raise
            delay_s = backoff_s(number, error)
            emit(
                Retried(
                    operation="commit", place=error.place, cause=str(error), attempt=number, delay_s=delay_s
                )
            )
            going_on = pause(delay_s)
            found = look(store, key, size, digests)
            if found is not None:
                settle()
                return found
            if not going_on:
                error.unknown_outcome = uncertain  # type: ignore[attr-defined]
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def abort_unless_unknown(store: ObjectStore, upload: Upload, error: BaseException) -> None:
    """Clean up after a failure, unless the commit may have succeeded: then the upload is left to ``cleanup``.

    A failure to clean up is noted on the error that is on its way, not raised in its place.
    """
    if getattr(error, "unknown_outcome", False):
        error.add_note(
            f"the upload {upload.id} of {store.url}/{upload.key} was left: its commit may have succeeded"
        )
        return
    try:
        store.abort(upload)
    except CrossdockError as failure:
        error.add_note(f"the upload {upload.id} could not be aborted: {failure}")
