"""``S3Store``: one bucket behind ``ports.ObjectStore``. It decides which engine a call takes; callers never see them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from crossdock.connectors import native
from crossdock.connectors.commits import abort_unless_unknown
from crossdock.connectors.native import quoted
from crossdock.connectors.s3 import copying, headers, puts, uploads
from crossdock.connectors.s3.address import address_of
from crossdock.connectors.s3.client import Client
from crossdock.connectors.s3.conditions import demand_conditions, look, refused_as_precondition
from crossdock.connectors.s3.connection import Connection, Learned, connection, learned_of
from crossdock.connectors.s3.credentials import mark_of
from crossdock.connectors.s3.documents import digests_of_etag
from crossdock.connectors.s3.listing import list_pages
from crossdock.connectors.s3.options import S3Options
from crossdock.connectors.s3.part_sizes import part_sizes
from crossdock.connectors.s3.reading import demand_version, open_signed
from crossdock.errors import IntegrityError, NotFoundError, UnsupportedError
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
from crossdock.options import format_size
from crossdock.ports import Capabilities, Chunk, ObjectReader

__all__ = ["S3Store"]

_KEY_LIMIT = 1024


@lru_cache(maxsize=16)  # asked for some ten times an object
def _capabilities(*, conditions: bool, copies: bool, proves: bool, has_md5: bool) -> Capabilities:
    checks = frozenset({"crc64nvme", "md5"} if proves else ())
    return Capabilities(
        create_if_absent=conditions,
        replace_if_match=conditions,
        server_side_copy=copies,
        put_checks=checks,
        part_checks=checks,
        complete_checks=frozenset({"crc64nvme"}),
        publishes=frozenset({"md5"} if has_md5 else ()),
        seekable_listing=True,
    )


class S3Store:
    """One bucket. A picklable recipe; clients are opened on first use, once per process and options; thread-safe.

    Args:
        bucket: Its name.
        options: How it is reached.
    """

    def __init__(self, bucket: str, options: S3Options | None = None) -> None:
        self._bucket = bucket
        self.options = options or S3Options()
        self._amazon = address_of(bucket, self.options, self.options.region or "us-east-1").amazon
        self._opened: tuple[int, Connection] | None = None

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, S3Options]]:
        return type(self), (self._bucket, self.options)

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r})"

    @property
    def url(self) -> str:
        """``s3://bucket``."""
        return f"s3://{self._bucket}"

    @property
    def endpoint(self) -> str:
        """The service, with a mark of who asks: a copy reads its source with the destination's credentials."""
        place = self.options.endpoint_url or f"https://s3.{self.options.region or 'default'}.amazonaws.com"
        who = (
            "anonymous"
            if self.options.anon
            else mark_of(self.options.key) or self.options.profile or "default"
        )
        return f"s3+{place.rstrip('/')}#{who}"

    @property
    def _learned(self) -> Learned:
        return learned_of(self.options.endpoint_url or "", self._bucket, amazon=self._amazon)

    @property
    def _connection(self) -> Connection:
        """The process's; kept here too, because comparing options may resolve secrets."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), connection(self._bucket, self.options, where=self.url))
        return self._opened[1]

    @property
    def _client(self) -> Client:
        return self._connection.client

    @property
    def capabilities(self) -> Capabilities:
        """What the endpoint can do. What the server does not check, the store compares by the MD5 in its answer.

        Of a bucket that encrypts with KMS and checks no CRC-64/NVME nothing is claimed once that is known.
        """
        learned = self._learned
        has_md5 = learned.etag_is_md5 is not False
        return _capabilities(
            conditions=self.options.conditional_writes,
            copies=learned.copies_metadata,
            proves=learned.checks_crc64nvme is not False or has_md5,
            has_md5=has_md5,
        )

    def refusal(self, key: str, size: int | None = None) -> str | None:
        """Keys are 1 to 1,024 bytes of UTF-8; objects are at most 5 TiB."""
        try:
            length = len(key.encode())
        except UnicodeEncodeError:
            return "the key is not UTF-8"
        if not length:
            return "the key is empty"
        if length > _KEY_LIMIT:
            return f"the key is {length} bytes of UTF-8; S3 takes {_KEY_LIMIT}"
        if any(0xD800 <= ord(char) <= 0xDFFF or char in "\ufffe\uffff\x00" for char in key):
            return "the key has a character that S3's XML cannot carry"
        if size is not None and size > self.capabilities.max_object_size:
            return f"{format_size(size)} is over S3's limit of 5 TiB an object"
        return None

    def check(self) -> None:
        """One listing of at most one key: unlike HEAD, its answer says what is wrong."""
        self._client.call("check", "GET", None, query={"list-type": "2", "max-keys": "1"})

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port. Digests are what ETags say; metadata is not listed."""
        return list_pages(self._client, prefix, start_after)

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """One HEAD."""
        self._demand_key(key, "stat")
        sent = {"x-amz-checksum-mode": "ENABLED"}
        if version.etag is not None:
            sent["If-Match"] = quoted(version.etag)
        answer = self._client.call("stat", "HEAD", key, headers=sent)
        length = answer.headers.get("content-length", "")
        info = headers.info_of(
            key, int(length) if length.isdigit() else 0, answer.headers, checksums=self._trusts_checksums
        )
        demand_version(info, version, operation="stat", where=self.url)
        self._learned.encrypts = self._learned.encrypts or headers.is_encrypted(answer.headers)
        return info

    def part_sizes(self, info: ObjectInfo, *, every: bool = False) -> tuple[int, ...] | None:
        """See ``ports.PartSizes``: a HEAD with a part's number, of the first or of every part."""
        self._demand_key(info.key, "stat")
        return part_sizes(self._client, info, every=every)

    @property
    def _trusts_checksums(self) -> bool:
        """Some servers hand back whatever checksum header was sent with the object."""
        return self._learned.checks_crc64nvme is not False

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """Through obstore if it addresses the key and understands the server, else over the signed route.

        obstore does not show how an object is encrypted, nor its checksum: where ETags are no digests, whole objects
        are read over the signed route, whose answer tells both without another request.
        """
        self._demand_key(key, "read")
        learned = self._learned
        shown = learned.native_ranges if byte_range is not None else not learned.encrypts
        if native.addressable(key) and shown:
            try:
                reader = native.read(
                    self._connection.native(),
                    key,
                    byte_range,
                    version,
                    where=self.url,
                    decode=headers.decoded,
                )
                demand_version(reader.info, version, operation="read", where=self.url)
                reader.info = replace(reader.info, digests=digests_of_etag(reader.info.version.etag))
                return reader
            except native.EngineRefusedError as error:
                learned.native_ranges = learned.native_ranges and error.reason != "range"
        return open_signed(self._client, key, byte_range, version, checksums=self._trusts_checksums)

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """One PUT, checked by the server: CRC-64/NVME where it does that, MD5 otherwise."""
        self._demand_key(key, "put")
        self._demand_conditions(condition, "put", key)
        with refused_as_precondition(condition, operation="put", where=self.url, key=key):
            return puts.put(
                self._connection,
                self._learned,
                key,
                data,
                metadata=metadata,
                digests=digests,
                condition=condition,
                discard=lambda wrong, version: self.delete(wrong, version=version),
            )

    def begin(
        self, key: str, *, part_size_bytes: int, metadata: Metadata = NO_METADATA, size: int | None = None
    ) -> Upload:
        """CreateMultipartUpload."""
        self._demand_key(key, "begin", size)
        return uploads.begin(
            self._client, self._learned, key, part_size_bytes=part_size_bytes, metadata=metadata
        )

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:
        """UploadPart."""
        return uploads.put_part(self._client, self._learned, upload, number, data, digests)

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """CompleteMultipartUpload; where the server checks no whole-object digest, one HEAD more looks at the result.

        An object of no parts gets an empty one: S3 completes no upload without parts.
        """
        self._demand_conditions(condition, "complete", upload.key)
        if not parts and size:
            raise IntegrityError(
                f"no parts, but {size} bytes", operation="complete", where=self.url, key=upload.key
            )
        parts = parts or (self.put_part(upload, 1, b""),)
        if not self._amazon:
            self._look(upload.key, condition, "complete")
        with refused_as_precondition(condition, operation="complete", where=self.url, key=upload.key):
            version, proven = uploads.complete(
                self._client, self._learned, upload, parts, size=size, digests=digests, condition=condition
            )
        if self._learned.checks_crc64nvme:
            return puts.written(upload.key, size, version, upload.metadata, proven)
        # rclone's server, for one, answers md5(md5s)-N here and the MD5 of the whole ever after.
        seen = self.stat(upload.key)
        return replace(seen, digests=replace(proven.merged(seen.digests), multipart_etag=None))

    def abort(self, upload: Upload) -> None:
        """AbortMultipartUpload."""
        uploads.abort(self._client, upload)

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """ListMultipartUploads; part sizes are not known to S3 and are 0."""
        return uploads.list_uploads(self._client, prefix)

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
        """CopyObject up to 5 GiB, UploadPartCopy above; one HEAD tells what became of it."""
        self._demand_key(key, "copy", info.size)
        self._demand_conditions(condition, "copy", key)
        self._demand_copies(key)
        scheme, _, bucket = source.partition("://")
        if scheme != "s3" or not bucket:
            raise UnsupportedError(f"cannot copy from {source}", operation="copy", where=self.url, key=key)
        client = self._client

        def demand_source() -> None:  # imitations of S3 ignore x-amz-copy-source-if-match, of parts at least
            if not self._amazon:
                S3Store(bucket, self.options).stat(source_key, version=info.version)

        demand_source()
        if not self._amazon:
            self._look(key, condition, "copy")
        if info.size is not None and info.size > copying.COPY_LIMIT:
            upload = self.begin(key, part_size_bytes=0, metadata=metadata, size=info.size)
            size = info.size

            def finish(parts: Sequence[Part]) -> ObjectInfo:
                demand_source()
                return self.complete(upload, parts, size=size, condition=condition)

            made: ObjectInfo = copying.copy_parts(
                client,
                bucket,
                source_key,
                upload,
                info=info,
                finish=finish,
                abandon=lambda error: abort_unless_unknown(self, upload, error),
            )
            return made
        version = copying.copy_whole(
            client, bucket, source_key, key, info=info, metadata=metadata, condition=condition
        )
        seen = self.stat(key, version=version)
        if seen.metadata != metadata and not self._amazon:
            self._learned.copies_metadata = False
            self._demand_copies(key)
        return replace(seen, digests=replace(seen.digests, multipart_etag=None))

    def _demand_copies(self, key: str) -> None:
        if not self._learned.copies_metadata:
            raise UnsupportedError(
                "the server does not replace metadata in a copy",
                operation="copy",
                where=self.url,
                key=key,
                hint="run the same command again: objects are now sent through here",
            )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """DELETE; with a version, a HEAD looks first, because not every server honours If-Match on a delete."""
        self._demand_key(key, "delete")
        sent = {}
        if version.etag is not None:
            try:
                self.stat(key, version=version)
            except NotFoundError as error:
                if "NoSuchBucket" in error.cause:
                    raise
                return
            sent["If-Match"] = quoted(version.etag)
        try:
            self._client.call("delete", "DELETE", key, headers=sent)
        except NotFoundError as error:
            if "NoSuchBucket" in error.cause:
                raise

    def _demand_conditions(self, condition: Condition, operation: str, key: str) -> None:
        honoured = self.options.conditional_writes
        demand_conditions(condition, honoured=honoured, operation=operation, where=self.url, key=key)

    def _look(self, key: str, condition: Condition, operation: str) -> None:
        look(
            lambda: self.stat(key, version=condition.version),
            condition,
            operation=operation,
            where=self.url,
            key=key,
        )

    def _demand_key(self, key: str, operation: str, size: int | None = None) -> None:
        if (reason := self.refusal(key, size)) is not None:
            raise UnsupportedError(reason, operation=operation, where=self.url, key=key)
