"""The ports: what a store, a stream and a runner must do, in words precise enough to test.

All ports are synchronous and thread-safe; concurrency is threads around them. Everything here is structural
(``Protocol``), so a connector of your own derives from nothing. The conformance suites in ``crossdock.testing``
are these docstrings as code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar, runtime_checkable

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

__all__ = [
    "CASE",
    "NORMALIZATION",
    "ByteStream",
    "Capabilities",
    "Chunk",
    "ObjectReader",
    "ObjectStore",
    "PartSizes",
    "Runner",
]

CASE, NORMALIZATION = "case", "normalization"
"""What a store may fold: keys that differ only by case, or only by how Unicode writes an accent, are one object there."""

Chunk = bytes | bytearray | memoryview
"""A piece of payload in memory; anything with the buffer protocol that hashing and sockets accept."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an endpoint can do, as data. The writer decides by it, layers check it, tests select by it.

    Sizes in bytes. A capability claimed is tested; one that is missing must raise ``UnsupportedError``.
    """

    writable: bool = True  # false: a source only; every verb that writes raises UnsupportedError
    lists: bool = True  # false: objects can be read by name only; list raises UnsupportedError
    ranged_reads: bool = True
    pinned_reads: bool = True  # a read can demand one version
    create_if_absent: bool = True  # put and complete honour Condition(absent=True)
    replace_if_match: bool = True  # put and complete honour Condition(version=...)
    multipart: bool = True
    ordered_parts: bool = False  # parts come from one process, each once, in order, with none left out
    server_side_copy: bool = True
    put_checks: frozenset[str] = frozenset()  # digests the store compares before a put becomes visible
    part_checks: frozenset[str] = frozenset()  # the same for each part
    complete_checks: frozenset[str] = frozenset()  # the same for the whole object at completion
    publishes: frozenset[str] = (
        frozenset()
    )  # digests the store reports of what it holds, without reading it back
    metadata_fields: frozenset[str] = frozenset((*Metadata.FIELDS, "user"))
    listing_has_metadata: bool = False
    seekable_listing: bool = False  # a listing may start after any key, for no more than the pages it gives
    folds: frozenset[str] = frozenset()  # what of keys it does not tell apart: CASE, NORMALIZATION
    staged_puts: bool = False  # a put killed half way leaves an upload to abort, as a temporary name does
    max_put_size: int = 5 * 1024 * MIB
    min_part_size: int = 5 * MIB  # except the last
    max_part_size: int = 5 * 1024 * MIB
    max_parts: int = 10_000
    max_object_size: int = 5 * 1024 * 1024 * MIB


class ObjectReader(Protocol):
    """An answer to ``ObjectStore.read``: what is being read, and its bytes, once, in order."""

    @property
    def info(self) -> ObjectInfo:
        """The object's state that these bytes belong to; ``metadata`` is set if the answer carried it."""

    def __iter__(self) -> Iterator[Chunk]:
        """Non-empty chunks; their lengths add up to the range's length, or an error is raised."""

    def read_all(self) -> Chunk:
        """All bytes in one chunk; takes their size in memory."""

    def close(self) -> None:
        """Give the connection back. Twice is fine."""


class ObjectStore(Protocol):
    """One bucket (or directory, or dict) of objects under opaque keys.

    Building one opens nothing and reads no credentials; the first call does. Thread-safe and picklable: a pickle is
    the recipe, and secrets in it are references. Keys are exact: no normalisation, no leading-slash games; a key the
    store cannot represent is named by ``refusal`` and raises ``UnsupportedError`` if used. All methods raise the
    classes of ``crossdock.errors`` only. No method retries: the retry layer does.
    """

    @property
    def url(self) -> str:
        """Root URL without secrets, such as ``s3://bucket``. ``f"{url}/{key}"`` names an object."""

    @property
    def capabilities(self) -> Capabilities:
        """What this endpoint can do. Costs no request."""

    @property
    def endpoint(self) -> str:
        """Equal for two stores between which ``copy`` works, such as ``s3+https://s3.eu-west-1.amazonaws.com``."""

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """Why the store cannot hold this key (or size), in words; ``None`` if it can. Pure: no request."""

    def check(self) -> None:
        """Prove that the bucket exists and the credentials work, with one cheap request.

        Raises:
            NotFoundError: There is no such bucket.
            CredentialsError: No credentials, or invalid ones; says what was looked for.
            DeniedError: The credentials are not allowed to.
            ConnectionLostError: The endpoint does not answer.
        """

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """All objects whose key starts with ``prefix``, a page (at most 1,000) at a time, in UTF-8 byte order.

        Lazy: one request per page, bounded memory. Never short: a page that fails raises. Keys are raw. Objects that
        end in ``/`` are objects. ``prefix`` is a plain string prefix here; that a prefix ends at ``/`` is decided above.
        """

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """One object's info with metadata and every digest the store publishes for one request.

        Raises:
            NotFoundError: There is no such object.
            PreconditionError: ``version`` was given and is not what is there.
        """

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """Open one object, or a range of it, as *stored* bytes (``Content-Encoding: gzip`` is not decoded).

        One request. Fails on no progress, never on total time. The answer's ``info`` carries version, whole size and
        metadata.

        Args:
            key: The object's full key, byte for byte.
            byte_range: Half-open. An end beyond the object is cut to its size.
            version: Pins the read: bytes come from that version or the call raises.

        Raises:
            NotFoundError: There is no such object.
            PreconditionError: The object was replaced since ``version``.
            RangeError: The range starts after the last byte.
        """

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Create an object in one request; visible whole or not at all.

        ``digests`` in ``capabilities.put_checks`` are sent, so the store refuses wrong bytes. The answer carries the
        new version and the digests the store published.

        Raises:
            PreconditionError: The destination is not in the state ``condition`` demands.
            IntegrityError: The store found other bytes than ``digests`` say.
        """

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """Begin an upload in parts; nothing becomes visible under ``key``."""

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """Send part ``number`` (from 1); again with the same number replaces it. Parts may come in any order.

        Every part but the last is exactly ``upload.part_size_bytes`` long.
        """

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Make the object visible from exactly these parts, in order, if ``condition`` holds.

        ``digests`` are of the whole object. Where the store can, it (or this method, before anything is visible)
        compares them. The upload is gone afterwards.

        Raises:
            PreconditionError: The destination is not in the state ``condition`` demands; nothing changed there.
            IntegrityError: The whole is not what ``digests`` or ``size`` say; nothing became visible.
            NotFoundError: The upload is gone (aborted, or completed before).
        """

    def abort(self, upload: Upload) -> None:
        """Forget the upload and its parts. An upload that is already gone is fine."""

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """Uploads begun under ``prefix`` and neither completed nor aborted."""

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
        """Copy inside the service, without moving bytes through here, from ``info.version`` exactly.

        Args:
            source: The other store's ``url`` (its ``endpoint`` equals ours).
            source_key: Key there.
            key: Key here.
            info: What was observed at the source: its size decides how, its version pins the copy.
            metadata: What the copy shall carry.
            condition: State the destination must be in.

        Raises:
            UnsupportedError: ``capabilities.server_side_copy`` is false, or the endpoints differ.
            PreconditionError: Source replaced, or destination not in the demanded state.
        """

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """Remove an object, only in ``version`` if given. One that is not there is fine."""


@runtime_checkable
class PartSizes(Protocol):
    """What a store may also be able to do: tell in what parts an object was uploaded.

    Needed where the only digest of such an object is made of the digests of its parts (S3's ``md5(md5s)-N``).
    """

    def part_sizes(self, info: ObjectInfo, *, every: bool = False) -> tuple[int, ...] | None:
        """The sizes of the parts of ``info.version``, in order; they add up to ``info.size``.

        Without ``every`` at most one request: the first part and their number are asked for, and equal parts (but the
        last) assumed if that fits, so that the answer may be wrong. With ``every`` it is exact: one request a part.

        Returns:
            ``None`` if the store cannot tell, or equal parts do not fit and ``every`` was not asked for.

        Raises:
            NotFoundError: The object is gone.
            PreconditionError: It is not ``info.version`` any more.
        """


@runtime_checkable
class ByteStream(Protocol):
    """Bytes to come: pulled, once, in order; what a source hands to a sink.

    A stream over a stored object also says where its bytes live, so that a sink can read ranges in parallel or copy
    inside the service. A plain stream (generator, response body) has ``store`` ``None``.
    """

    @property
    def info(self) -> ObjectInfo:
        """What is known of the whole: key, size (or ``None``), version, digests, metadata."""

    @property
    def name(self) -> str | None:
        """The key below the source's prefix: what a sink calls the object unless told otherwise."""

    @property
    def store(self) -> ObjectStore | None:
        """Where ``info.key`` can be read by range, pinned to ``info.version``; ``None`` for a plain stream."""

    def __iter__(self) -> Iterator[Chunk]:
        """Non-empty chunks, in order. Raises rather than ending early."""

    def read(self, size: int = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end (all that is left if negative): a file for foreign readers."""

    def close(self) -> None:
        """Let go of connections. Twice is fine."""

    def __enter__(self) -> Self:
        """The stream itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close."""


class Runner(Protocol):
    """Where functions run: threads here, or workers elsewhere."""

    def run(
        self, function: Callable[[T], R], items: Iterable[T], *, name: str = "task"
    ) -> Iterator[tuple[int, R | BaseException]]:
        """Apply ``function`` to each item; yield ``(index, result or error)`` as each ends, in completion order.

        Items are consumed lazily within a bounded window, so a generator of any length is fine. An error of one item
        never stops the others. Closing the generator cancels what has not begun and waits for what runs. Function
        and items must be picklable for runners beyond this process. An item may be run again after a worker was
        lost; results are yielded once.
        """

    def close(self) -> None:
        """Let go of threads, clients and clusters this runner started. Twice is fine."""

    def __enter__(self) -> Self:
        """The runner itself."""

    def __exit__(self, *_: object) -> None:
        """Close."""
