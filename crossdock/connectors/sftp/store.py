"""``SFTPStore``: the files below one directory of an SSH server, as an ``ObjectStore``.

Keys are paths below the root, as in the local store: what a directory tree cannot hold is refused. Objects appear whole
(temporary name in the same directory, fsync, rename). Files have no metadata: none is kept, and ``capabilities`` says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.digests import COMBINABLE, digest_of
from crossdock.connectors.local_names import new_upload_id
from crossdock.connectors.local_upload import demand_whole
from crossdock.connectors.sftp import files
from crossdock.connectors.sftp.address import address_of
from crossdock.connectors.sftp.drafts import Draft, found_upload
from crossdock.connectors.sftp.errors import StatusError, translated
from crossdock.connectors.sftp.options import SFTPOptions
from crossdock.connectors.sftp.pool import Pool, pool_for
from crossdock.connectors.sftp.reading import SFTPReader
from crossdock.connectors.sftp.session import Session
from crossdock.connectors.sftp.state import cut, demand_file, info_of
from crossdock.connectors.sftp.tree import Entry, Place, Tree
from crossdock.errors import CrossdockError, IntegrityError, NotFoundError, UnsupportedError
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
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["SFTPStore"]

PAGE_SIZE = 1_000
CHECKED = frozenset({"md5", "crc32c", "crc64nvme", "sha256"})


class SFTPStore:
    """One directory tree on a server.

    Thread-safe; a pickle is the recipe. Connections are the process's, a few to a server, shared by all threads.

    The protocol shows an object's state as size and time of change in whole seconds, no more: versions are called
    ``weak:...`` wherever they are recorded. What is written through this class differs from what it replaces; what others
    write within one second and to the same length does not show between two reads of one object. One read sees one file.

    Bytes on the way are checked by SSH itself, packet for packet, and digests that are announced are compared before
    anything is sent; what a server's disk holds is proven by reading it back (``--verify v3``).
    """

    def __init__(self, place: str, options: SFTPOptions | None = None) -> None:
        self._place = place
        self._address = address_of(place)
        self.options = options or SFTPOptions()
        self._tree = Tree(self._address, self.url)
        self._opened: tuple[int, Pool] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return SFTPStore, (self._place, self.options)

    def __repr__(self) -> str:
        return f"SFTPStore({self.url!r})"

    @property
    def url(self) -> str:
        """``sftp://user@host:port/path``."""
        return self._address.url

    @property
    def endpoint(self) -> str:
        """The root's URL: there is no copy between two of them."""
        return self.url

    @property
    def _pool(self) -> Pool:
        """The process's; kept here too, because comparing options may resolve secrets."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), pool_for(self._address, self.options, where=self.url))
        return self._opened[1]

    @property
    def capabilities(self) -> Capabilities:
        """Creating on condition needs hard links, or a server whose rename is known; SFTP cannot replace on condition."""
        creates = self.options.conditional_writes
        return Capabilities(
            create_if_absent=self._pool.links is not False if creates is None else creates,
            replace_if_match=False,
            server_side_copy=False,
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

    def refusal(self, key: str, size: int | None = None) -> str | None:  # noqa: ARG002 - any size is worth trying
        """See the port; says nothing of ``x`` beside ``x/y``, which only the server knows."""
        return self._tree.refusal(key)

    def check(self) -> None:
        """The server lets us in, and the root is a directory, or may still be made; see the port."""
        with translated("check", self.url), self._pool.session() as session:
            try:
                self._tree.demand_root(session)
            except NotFoundError:
                if not self.options.missing_root_is_empty:
                    raise

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port.

        Memory: one page, and the names of one directory for each level of the tree. Our own unfinished uploads, links
        and special files are not listed.

        Raises:
            NotFoundError: The root is missing (unless that counts as empty).
            UnsupportedError: A name under ``prefix`` is not UTF-8.
        """
        page: list[ObjectInfo] = []
        for entry in self._entries("list", prefix, start_after):
            if entry.upload_id is None:
                page.append(info_of(entry.key, entry.attributes))
            if len(page) == PAGE_SIZE:
                yield page
                page = []
        if page:
            yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port. One round trip."""
        with self._at("stat", key) as (_, place):
            return info_of(key, demand_file(place.found, version))

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port. Three round trips, then 2 MiB asked for ahead."""
        self._demand_key("read", key)
        with translated("read", self.url, key):
            pool = self._pool
            session = pool.take()
            try:
                place = self._tree.place_of(session, key)
                demand_file(place.found, NO_VERSION)  # before it is opened: opening a pipe would wait
                handle = files.open_to_read(session, place.path)
                try:
                    info = info_of(key, demand_file(files.fstat(session, handle), version))
                    wanted = cut(byte_range, info.size or 0)
                    return SFTPReader(
                        session, handle, info, wanted, where=self.url, done=lambda: pool.give_back(session)
                    )
                except BaseException:
                    files.close(session, handle)
                    raise
            except BaseException:
                pool.give_back(session)
                raise

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,  # noqa: ARG002 - a file keeps none
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; digests are compared before anything is sent. A failure leaves nothing, or an open upload."""
        self._demand_condition("put", key, condition)
        self._demand_key("put", key)
        self._compare("put", key, digest_of(data, digests.as_dict()), digests)
        size = memoryview(data).nbytes
        with self._at("put", key, create=True) as (session, place):
            draft = Draft(session, place, new_upload_id(size))
            with draft.made() as handle:
                files.write_at(session, handle, data, 0)
                state, there = draft.settle(handle, size, condition, fsync=self.options.fsync)
            try:
                draft.publish(condition, there)
            except BaseException:
                with suppress(CrossdockError, StatusError):  # the error in flight matters more
                    draft.discard()
                raise
            return info_of(key, state)

    def begin(
        self,
        key: str,
        *,
        part_size_bytes: int,
        metadata: Metadata = NO_METADATA,
        size: int | None = None,  # noqa: ARG002 - space is not reserved
    ) -> Upload:
        """See the port; makes the directories of the key and the upload's own."""
        upload_id = new_upload_id(part_size_bytes)
        with self._at("begin", key, create=True) as (session, place), Draft(session, place, upload_id).made():
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
            IntegrityError: ``data`` is not what ``digests`` say; nothing was sent.
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
            self._at("put part", upload.key) as (session, place),
            Draft(session, place, upload.id).reopened() as handle,
        ):
            files.write_at(session, handle, data, (number - 1) * upload.part_size_bytes)
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
        """See the port; nothing is read again: the whole's digests follow from those of the parts.

        After an error the upload is still open; ``abort`` removes it.
        """
        self._demand_condition("complete", upload.key, condition)
        with self._at("complete", upload.key) as (session, place):
            draft = Draft(session, place, upload.id)
            with draft.reopened() as handle:
                demand_whole(upload, parts, size, digests)
                written = files.fstat(session, handle).size or 0
                if written > size:
                    files.truncate(session, handle, size)  # parts that were sent and not chosen
                state, there = draft.settle(handle, size, condition, fsync=self.options.fsync)
            draft.publish(condition, there)
            return info_of(upload.key, state)

    def abort(self, upload: Upload) -> None:
        """See the port; the key's directories stay."""
        with (
            suppress(NotFoundError),  # the directory is gone, and the upload with it
            self._at("abort", upload.key) as (session, place),
        ):
            Draft(session, place, upload.id).discard()

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; walks all directories under ``prefix``. Also what a crash left of a ``put``.

        Of an upload that died before its file was made only the directory is known: its key ends in the id.
        """
        for entry in self._entries("list uploads", prefix, None):
            if entry.upload_id is None:
                continue
            with translated("list uploads", self.url, entry.base), self._pool.session() as session:
                upload = found_upload(session, entry, entry.upload_id)
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
        """See the port; directories stay. A version is compared just before, which SFTP cannot make one step.

        Raises:
            PreconditionError: ``version`` is not what is there.
            UnsupportedError: The key names a link or a special file.
        """
        with suppress(NotFoundError), self._at("delete", key) as (session, place):
            demand_file(place.found, version)
            files.remove(session, place.path)

    @contextmanager
    def _at(self, operation: str, key: str, *, create: bool = False) -> Iterator[tuple[Session, Place]]:
        """A session and the place of a key, errors translated."""
        self._demand_key(operation, key)
        with translated(operation, self.url, key), self._pool.session() as session:
            yield session, self._tree.place_of(session, key, create=create)

    def _entries(self, operation: str, prefix: str, start_after: str | None) -> Iterator[Entry]:
        with translated(operation, self.url, prefix or None), self._pool.session() as session:
            if self.options.missing_root_is_empty:
                try:
                    self._tree.demand_root(session)
                except NotFoundError as error:
                    if "no such directory" in error.cause:
                        return
                    raise
            yield from self._tree.walk(session, prefix, start_after)

    def _demand_key(self, operation: str, key: str) -> None:
        refusal = self.refusal(key)
        if refusal is not None:
            raise UnsupportedError(refusal, operation=operation, where=self.url, key=key)

    def _demand_condition(self, operation: str, key: str, condition: Condition) -> None:
        if condition.version:
            raise UnsupportedError(
                "SFTP cannot replace a file only if it is a certain version",
                operation=operation,
                where=self.url,
                key=key,
            )
        if not condition.absent:
            return
        with translated(operation, self.url, key), self._pool.session():
            pass  # a connection tells whether the server has hard links
        if not self.capabilities.create_if_absent:
            raise UnsupportedError(
                "this server cannot create a file only if it is absent (hardlink@openssh.com)",
                operation=operation,
                where=self.url,
                key=key,
                hint="overwrite always, or set conditional_writes=true if its rename refuses to replace",
            )

    def _compare(self, operation: str, key: str, known: Digests, announced: Digests) -> None:
        differs = known.conflict(announced)
        if differs is not None:
            raise IntegrityError(
                f"the bytes received have another {differs} than was announced",
                operation=operation,
                where=self.url,
                key=key,
            )
