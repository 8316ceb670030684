"""Files below one directory as an ``ObjectStore``: ``file:///abs/path`` and plain paths.

Keys are paths below the root; what a directory tree cannot hold is refused. Objects appear whole (temporary name in
the same directory, fsync, rename, fsync of the directory) and are read in one state or not at all. No symbolic link
below the root is ever followed. Files have no metadata: none is kept, and ``capabilities`` says so.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.digests import COMBINABLE, digest_of
from crossdock.connectors.local_folding import folds_of
from crossdock.connectors.local_names import new_upload_id, refusal_of, version_of
from crossdock.connectors.local_reader import LocalReader
from crossdock.connectors.local_tree import Entry, LocalTree, locked, translated
from crossdock.connectors.local_upload import demand_whole, discard, found_upload, make, opened, write_at
from crossdock.errors import (
    ConfigError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    UnsupportedError,
)
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
from crossdock.options import option
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["LocalOptions", "LocalStore"]

PAGE_SIZE = 1_000
CHECKED = frozenset({"md5", "crc32c", "crc64nvme", "sha256"})

_CAPABILITIES = Capabilities(
    server_side_copy=False,  # bytes that pass through here are hashed; a copy by the kernel would not be
    put_checks=CHECKED,
    part_checks=CHECKED,
    complete_checks=COMBINABLE,
    metadata_fields=frozenset(),
    staged_puts=True,
    listing_has_metadata=True,  # there is none, and the listing knows it
    max_put_size=sys.maxsize,
    min_part_size=1,
    max_part_size=sys.maxsize,
    max_parts=2**31 - 1,
    max_object_size=sys.maxsize,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """How a directory is used."""

    fsync: bool = option(
        "Wait until the disk has a file and its directory entry before the commit is reported.", default=True
    )
    missing_root_is_empty: bool = option(
        "A root that does not exist counts as empty, as a sink's may: the first write makes it.",
        default=False,
        aliases=("mkdir",),  # object_store's
    )


class LocalStore:
    """One directory tree of files.

    Thread-safe; holds no descriptor between calls; a pickle is the recipe (absolute path and options). A replacement
    on condition of a version is one step among all who write through this class, on this machine and on file systems
    that share ``flock``: a foreign program that writes between our comparison and our rename, microseconds later, is
    overwritten, because POSIX has no conditional rename. Creating on condition of absence holds against everybody.

    Links and special files below the root are neither listed nor read: reading one raises ``UnsupportedError``. A
    write replaces a link by a file, not the file it leads to. Directories made for keys are not removed.
    """

    def __init__(self, root: str, options: LocalOptions = LocalOptions()) -> None:
        if not root or "\0" in root:
            raise ConfigError(f"{root!r} is not a directory's path", operation="open", where="file://")
        self.root = os.path.abspath(root)  # noqa: PTH100 - Path would keep "..", and a recipe must mean one place
        self.options = options
        self._tree = LocalTree(self.root, self.url, fsync=options.fsync)

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalStore, (self.root, self.options)

    def __repr__(self) -> str:
        return f"LocalStore({self.root!r})"

    @property
    def url(self) -> str:
        """``file:///abs/path``, not percent-encoded."""
        return f"file://{self.root.rstrip('/')}"

    @property
    def endpoint(self) -> str:
        """The root's URL: there is no copy between two of them."""
        return self.url

    @property
    def capabilities(self) -> Capabilities:
        """Conditions, parts and pinned reads; no metadata, no published digests, no copy inside; what the disk folds."""
        folds = folds_of(self.root)
        return replace(_CAPABILITIES, folds=folds) if folds else _CAPABILITIES

    def refusal(self, key: str, size: int | None = None) -> str | None:  # noqa: ARG002 - any size is worth trying
        """See the port; says nothing of ``x`` beside ``x/y``, which only the disk knows."""
        return refusal_of(self.root, key)

    def check(self) -> None:
        """The root is a directory that can be opened, or may still be made; see the port."""
        with translated("check", self.url):
            try:
                os.close(self._tree.open_root("check"))
            except NotFoundError as error:
                if not self._may_be_missing(error):
                    raise

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port.

        Memory: one page, and the names of one directory for each level of the tree. Files that vanish meanwhile are
        left out. Our own unfinished uploads, links and special files are not listed.

        Raises:
            NotFoundError: The root is missing (unless that counts as empty).
            UnsupportedError: A name under ``prefix`` is not UTF-8.
        """
        page: list[ObjectInfo] = []
        for entry in self._entries("list", prefix, start_after):
            if entry.upload_id is not None:
                continue
            info = self._listed(entry)
            if info is not None:
                page.append(info)
            if len(page) == PAGE_SIZE:
                yield page
                page = []
        if page:
            yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        self._demand_key("stat", key)
        with self._tree.parent_of("stat", key) as (parent, name):
            state = os.stat(name, dir_fd=parent, follow_symlinks=False)
            self._demand_file(state, version)
            return _info(key, state)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port; a file changed in place while it is read raises ``PreconditionError``."""
        self._demand_key("read", key)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not make us wait
        with self._tree.parent_of("read", key) as (parent, name):
            descriptor = os.open(name, flags, dir_fd=parent)
            try:
                state = os.fstat(descriptor)
                self._demand_file(state, version)
                wanted = _cut(byte_range, state.st_size)
            except BaseException:
                os.close(descriptor)
                raise
        return LocalReader(descriptor, _info(key, state), wanted, self.url)

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,  # noqa: ARG002 - a file keeps none
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; digests are compared before anything is written. A failure leaves nothing."""
        self._demand_key("put", key)
        self._compare("put", key, digest_of(data, digests.as_dict()), digests)
        size = memoryview(data).nbytes
        with (
            self._tree.parent_of("put", key, create=True) as (parent, name),
            make(parent, new_upload_id(size), name) as draft,
        ):
            write_at(draft.file, data, 0)
            return _info(key, draft.commit(condition, fsync=self.options.fsync))

    def begin(
        self,
        key: str,
        *,
        part_size_bytes: int,
        metadata: Metadata = NO_METADATA,
        size: int | None = None,  # noqa: ARG002 - space is not reserved: a file system may not be able to
    ) -> Upload:
        """See the port; makes the directories of the key and the upload's own."""
        self._demand_key("begin", key)
        upload_id = new_upload_id(part_size_bytes)
        with (
            self._tree.parent_of("begin", key, create=True) as (parent, name),
            make(parent, upload_id, name),
        ):
            pass
        return Upload(
            key=key,
            id=upload_id,
            part_size_bytes=part_size_bytes,
            metadata=metadata,
            begun=datetime.now(UTC),
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """See the port; written at its offset, so parts go in parallel. The bytes sent last for a number count.

        Raises:
            NotFoundError: The upload is gone.
            IntegrityError: ``data`` is not what ``digests`` say; nothing was written.
            UnsupportedError: The number is below 1, or the data is longer than a part.
        """
        size = memoryview(data).nbytes
        if number < 1 or size > upload.part_size_bytes:
            raise UnsupportedError(
                f"part {number} with {size} bytes does not fit parts of {upload.part_size_bytes} bytes",
                operation="put part",
                where=self.url,
                key=upload.key,
            )
        self._demand_key("put part", upload.key)
        known = digest_of(data, COMBINABLE | {*digests.as_dict()})
        self._compare("put part", upload.key, known, digests)
        with (
            self._tree.parent_of("put part", upload.key) as (parent, name),
            opened(parent, upload.id, name, fcntl.LOCK_SH) as draft,
        ):
            write_at(draft.file, data, (number - 1) * upload.part_size_bytes)
        return Part(number=number, size=size, etag=(known.crc64nvme or b"").hex(), digests=known)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port.

        Nothing is read again: the whole's CRC32C and CRC-64/NVME follow from those of the parts, which were computed
        from the bytes handed in. After an error the upload is still open; ``abort`` removes it.
        """
        self._demand_key("complete", upload.key)
        with (
            self._tree.parent_of("complete", upload.key) as (parent, name),
            opened(parent, upload.id, name, fcntl.LOCK_EX) as draft,
        ):
            demand_whole(upload, parts, size, digests)
            written = os.fstat(draft.file).st_size
            if written < size:
                raise IntegrityError(f"the file has {written} bytes, not {size}")
            os.ftruncate(draft.file, size)  # parts that were sent and not chosen
            return _info(upload.key, draft.commit(condition, fsync=self.options.fsync))

    def abort(self, upload: Upload) -> None:
        """See the port; the key's directories stay."""
        self._demand_key("abort", upload.key)
        with (
            suppress(NotFoundError),  # the directory is gone, and the upload with it
            self._tree.parent_of("abort", upload.key) as (parent, _),
        ):
            discard(parent, upload.id)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; walks all directories under ``prefix``. Also what a crash left of a ``put``.

        Of an upload that died in its first microseconds only the directory is known: its key ends in the id.
        """
        for entry in self._entries("list uploads", prefix, None):
            upload = None if entry.upload_id is None else found_upload(entry, entry.upload_id)
            if upload is not None and upload.key.startswith(prefix):
                yield upload

    def copy(
        self,
        source: str,  # noqa: ARG002
        source_key: str,  # noqa: ARG002
        key: str,
        *,
        info: ObjectInfo,  # noqa: ARG002
        metadata: Metadata = NO_METADATA,  # noqa: ARG002
        condition: Condition = ANY,  # noqa: ARG002
    ) -> ObjectInfo:
        """Always raises: read and write instead, which proves the bytes.

        Raises:
            UnsupportedError: ``capabilities.server_side_copy`` is false.
        """
        raise UnsupportedError(
            "files are copied by reading and writing, which proves the bytes",
            operation="copy",
            where=self.url,
            key=key,
        )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port; directories stay.

        Raises:
            PreconditionError: ``version`` is not what is there.
            UnsupportedError: The key names a link or a special file.
        """
        self._demand_key("delete", key)
        with (
            suppress(NotFoundError),
            self._tree.parent_of("delete", key) as (parent, name),
            locked(parent, required=bool(version)),
        ):
            self._demand_file(os.stat(name, dir_fd=parent, follow_symlinks=False), version)
            os.unlink(name, dir_fd=parent)

    def _entries(self, operation: str, prefix: str, start_after: str | None) -> Iterator[Entry]:
        with translated(operation, self.url, prefix or None):
            try:
                yield from self._tree.walk(prefix, start_after)
            except NotFoundError as error:
                if not self._may_be_missing(error):
                    raise

    def _may_be_missing(self, error: NotFoundError) -> bool:
        """Whether the root is missing (rather than a file) and that is all right."""
        cause = error.__cause__
        missing = isinstance(cause, OSError) and cause.errno == errno.ENOENT
        return missing and self.options.missing_root_is_empty

    def _listed(self, entry: Entry) -> ObjectInfo | None:
        """What the walk met, as an object; ``None`` if it vanished or became something else meanwhile."""
        try:
            state = os.stat(entry.name, dir_fd=entry.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _info(entry.key, state) if stat.S_ISREG(state.st_mode) else None

    def _demand_key(self, operation: str, key: str) -> None:
        refusal = self.refusal(key)
        if refusal is not None:
            raise UnsupportedError(refusal, operation=operation, where=self.url, key=key)

    def _demand_file(self, state: os.stat_result, version: Version) -> None:
        """Raise unless this is a file, in the version demanded; the caller's block adds the place."""
        if stat.S_ISDIR(state.st_mode):
            raise NotFoundError("this is a directory, not an object")
        if stat.S_ISLNK(state.st_mode):
            raise UnsupportedError("this is a symbolic link, which is not followed", hint="name its target")
        if not stat.S_ISREG(state.st_mode):
            raise UnsupportedError("this is not a regular file")
        if version and version_of(state) != version:
            raise PreconditionError("the file was replaced since it was observed")

    def _compare(self, operation: str, key: str, known: Digests, announced: Digests) -> None:
        differs = known.conflict(announced)
        if differs is not None:
            raise IntegrityError(
                f"the bytes received have another {differs} than was announced",
                operation=operation,
                where=self.url,
                key=key,
            )


def _info(key: str, state: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=state.st_size,
        version=version_of(state),
        metadata=NO_METADATA,
        modified=datetime.fromtimestamp(state.st_mtime_ns / 1e9, UTC),
    )


def _cut(byte_range: ByteRange | None, size: int) -> ByteRange | None:
    """The range that is there; ``None`` for an empty file."""
    if byte_range is None:
        return ByteRange(0, size) if size else None
    if byte_range.start >= size:
        raise RangeError(f"the range starts at {byte_range.start} and the object has {size} bytes")
    return ByteRange(byte_range.start, min(byte_range.end, size))
