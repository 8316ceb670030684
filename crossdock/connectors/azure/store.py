"""``AzureStore``: one container behind ``ports.ObjectStore``. It decides which engine a call takes; callers never see them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from crossdock.connectors import native
from crossdock.connectors.azure import headers
from crossdock.connectors.azure.connection import Connection, connection
from crossdock.connectors.azure.copying import copy_blocks
from crossdock.connectors.azure.errors import container_is_missing
from crossdock.connectors.azure.listing import list_pages, starts_exactly
from crossdock.connectors.azure.metadata import encoded, metadata_headers
from crossdock.connectors.azure.names import (
    MAX_BLOCK_SIZE,
    MAX_BLOCKS,
    MAX_OBJECT_SIZE,
    MAX_PUT_SIZE,
    RESERVED_PREFIX,
    container_of,
    refusal,
)
from crossdock.connectors.azure.options import AzureOptions
from crossdock.connectors.azure.reading import open_signed
from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    StalledError,
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
from crossdock.options import Secret
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["AzureStore"]

_CAPABILITIES = Capabilities(
    # A put carries its MD5: Azure keeps and lists no other digest, so that only this one can be compared afterwards.
    put_checks=frozenset({"md5"}),
    # Of parts Azure compares MD5s too, but those do not combine to the whole's; the CRC does, and costs next to nothing.
    part_checks=frozenset({"crc64nvme"}),
    complete_checks=frozenset({"crc64nvme"}),
    publishes=frozenset({"md5"}),  # of objects made of blocks only what their writer said, if anything
    listing_has_metadata=True,
    max_put_size=MAX_PUT_SIZE,
    min_part_size=1,
    max_part_size=MAX_BLOCK_SIZE,
    max_parts=MAX_BLOCKS,
    max_object_size=MAX_OBJECT_SIZE,
)
_STARTING = replace(_CAPABILITIES, seekable_listing=True)


class AzureStore:
    """One container. See ``ports.ObjectStore`` for the verbs; what follows is Azure's own.

    A picklable recipe; clients are opened on first use, once per process and options; thread-safe. The version of an
    object is its ETag. Blobs below ``.crossdock/uploads/`` are records of uploads: not listed, not to be written to.
    Staged blocks belong to the key: whoever commits first drops the parts of every other upload to it, which then fails
    at ``complete`` and changes nothing (docs/decisions/0008).

    Args:
        container: Its name, or ``container@account.dfs.core.windows.net``.
        options: How the account is reached.
    """

    def __init__(self, container: str, options: AzureOptions | None = None) -> None:
        self._container = container_of(container)
        self._text = container
        self.options = options or AzureOptions()
        self._opened: tuple[int, Connection] | None = None

    def __reduce__(self) -> tuple[type[AzureStore], tuple[str, AzureOptions]]:
        if not isinstance(self.options.credential, Secret | None):
            raise ConfigError(
                "an object given as credential cannot travel to another process",
                operation="pickle",
                where=self.url,
                hint="name it instead: credential=default, managed_identity, workload_identity, environment or cli",
            )
        return type(self), (self._text, self.options)

    def __repr__(self) -> str:
        return f"AzureStore({self._text!r})"

    @property
    def url(self) -> str:
        """``az://container``, or ``abfs://container@host`` if it was opened so."""
        return self._container.url

    @property
    def endpoint(self) -> str:
        """The account, with a mark of who asks: a copy reads its source with the destination's credentials."""
        opened = self._connection
        return f"azure+{opened.account.root}#{opened.access.mark}"

    @property
    def capabilities(self) -> Capabilities:
        """The same for every container, but for whether a listing may start anywhere, which ``check`` finds out."""
        opened = self._opened
        return _STARTING if opened is not None and opened[1].starts_exactly else _CAPABILITIES

    @property
    def _connection(self) -> Connection:
        """The process's; kept here too, because comparing options may resolve secrets."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), connection(self._container, self.options))
        return self._opened[1]

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """Azure's rules for names and sizes, and our reserved prefix."""
        return refusal(key, size)

    def check(self) -> None:
        """One short listing: unlike HEAD, its answer says what is wrong. One more finds out whether it can start anywhere."""
        opened = self._connection
        opened.starts_exactly = starts_exactly(opened.client)

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """Pages with metadata and MD5s, so that no object needs a ``stat``; records of uploads are left out."""
        opened = self._connection
        for page in list_pages(
            opened.client, prefix, start_after, opened.bookmarks, starts=opened.starts_exactly
        ):
            if page[0].key <= _LAST_RESERVED and page[-1].key >= RESERVED_PREFIX:
                page = [info for info in page if not info.key.startswith(RESERVED_PREFIX)]  # noqa: PLW2901
            if page:
                yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """One HEAD: everything, metadata exactly as stored."""
        self._demand_key(key, "stat")
        pinned = headers.pin(version, "If-Match", operation="stat", where=self.url, key=key)
        answer = self._connection.client.call("stat", "HEAD", key, headers=pinned)
        length = answer.headers.get("content-length", "")
        return headers.info_of(key, int(length) if length.isdigit() else 0, answer.headers)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """Through obstore if it addresses the key, else over the signed route; pinned by If-Match.

        Obstore's ``info.metadata`` is ``None``: it shows names of user metadata in small letters; listings and ``stat``
        are exact.
        """
        self._demand_key(key, "read")
        opened = self._connection
        if native.addressable(key):
            try:
                return self._read_native(opened, key, byte_range, version)
            except native.EngineRefusedError:
                pass  # a good answer that obstore does not take; asked for again below
        return open_signed(opened.client, key, byte_range, version)

    def _read_native(
        self, opened: Connection, key: str, byte_range: ByteRange | None, version: Version
    ) -> ObjectReader:
        headers.pin(version, "If-Match", operation="read", where=self.url, key=key)  # refuses what is no ETag
        try:
            reader = native.read(opened.native(), key, byte_range, version, where=self.url, decode=_unknown)
        except CredentialsError as error:
            if opened.access.refused():
                opened.forget_native()
                error.retry = Retry.LATER
            raise
        reader.info = replace(reader.info, metadata=None)
        return reader

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Put Blob with the MD5 (computed here if not given), which Azure compares before anything is visible."""
        size = memoryview(data).nbytes
        self._demand_key(key, "put", size)
        place = {"operation": "put", "where": self.url, "key": key}
        checked = headers.to_check(data, digests, md5=True, **place)
        sent = {"x-ms-blob-type": "BlockBlob"} | metadata_headers(encoded(metadata))
        sent |= headers.check_headers(checked) | headers.condition_headers(condition, **place)
        try:
            with _refused_as_precondition(condition, **place):
                answer = self._connection.client.call("put", "PUT", key, headers=sent, payload=data)
        except (ConnectionLostError, StalledError):
            # The answer may have been lost after the deed. Here the MD5 is known, which is all that Azure shows of an object.
            found = self._found(key, size, checked, metadata)
            if found is None or found.version == condition.version:
                raise
            return found
        theirs = headers.md5_of(answer.headers.get("content-md5"))
        if theirs is not None and theirs != checked.md5:
            raise IntegrityError("the service holds bytes of another md5", **place)  # type: ignore[arg-type]
        version = headers.etag_in(answer.headers)
        return ObjectInfo(key=key, size=size, version=version, digests=checked, metadata=metadata)

    def _found(self, key: str, size: int, digests: Digests, metadata: Metadata) -> ObjectInfo | None:
        """The object, if it provably is what was to be put; ``None`` also if nobody answers."""
        try:
            found = self.stat(key)
        except CrossdockError:
            return None
        same = found.size == size and found.digests.md5 == digests.md5 and found.metadata == metadata
        return replace(found, digests=digests) if same else None

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """Write the upload's record. Two requests."""
        self._demand_key(key, "begin", size)
        return self._connection.uploads.begin(key, part_size_bytes, metadata)

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """Put Block, its CRC-64/NVME (computed here if not given) compared by Azure. One request."""
        return self._connection.uploads.put_part(upload, number, data, digests)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Put Block List under ``condition``, after sizes and digests were compared. Four requests.

        May be called again after an error whose ``retry`` is LATER. An MD5 in ``digests`` is stored with the object.
        """
        uploads = self._connection.uploads
        place = {"operation": "complete", "where": self.url, "key": upload.key}
        if parts or size:
            with _refused_as_precondition(condition, **place):
                return uploads.complete(upload, parts, size=size, digests=digests, condition=condition)
        uploads.demand_alive(upload)
        made = self.put(upload.key, b"", metadata=upload.metadata, digests=digests, condition=condition)
        uploads.close(upload)
        return made

    def abort(self, upload: Upload) -> None:
        """Remove the upload's record: nobody can complete it any more. One request.

        Its blocks are invisible and stay until the key is written or a week has passed: Azure has no verb that removes them
        and leaves the object alone.
        """
        self._connection.uploads.abort(upload)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """Uploads of any process whose record is there."""
        return self._connection.uploads.find(prefix)

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
        """Put Block From URL and Put Block List: pinned, conditional, and nothing visible before it is whole."""
        scheme, _, container = source.partition("://")
        if scheme not in ("az", "azure", "abfs", "abfss") or not container or "/" in container:
            raise UnsupportedError(
                f"{source} is no container of this account", operation="copy", where=self.url, key=key
            )
        self._demand_key(key, "copy", info.size)
        if not info.size:
            AzureStore(container, self.options).stat(source_key, version=info.version)
            return self.put(key, b"", metadata=metadata, condition=condition)
        place = {"operation": "copy", "where": self.url, "key": key}
        name = container_of(container).name
        with _refused_as_precondition(condition, **place):
            return copy_blocks(
                self._connection.client,
                name,
                key,
                info=replace(info, key=source_key),
                metadata=metadata,
                condition=condition,
            )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """One DELETE, with If-Match if a version is given. An object with snapshots stays, and the error says so."""
        self._demand_key(key, "delete")
        pinned = headers.pin(version, "If-Match", operation="delete", where=self.url, key=key)
        try:
            self._connection.client.call("delete", "DELETE", key, headers=pinned)
        except NotFoundError as error:
            if container_is_missing(error):
                raise

    def _demand_key(self, key: str, operation: str, size: int | None = None) -> None:
        if (reason := refusal(key, size)) is not None:
            raise UnsupportedError(reason, operation=operation, where=self.url, key=key)


_LAST_RESERVED = RESERVED_PREFIX + chr(0x10FFFF)


def _unknown(_: object) -> Metadata:
    return NO_METADATA


@contextmanager
def _refused_as_precondition(condition: Condition, **place: str) -> Iterator[None]:
    """If-Match on a key that is gone may be answered with 404."""
    try:
        yield
    except NotFoundError as error:
        if not condition.version or container_is_missing(error) or not error.cause.startswith("there is no"):
            raise
        raise PreconditionError("there is no such object any more", **place) from error  # type: ignore[arg-type]
