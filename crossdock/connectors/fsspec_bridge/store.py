"""The store: fsspec's filesystems behind the port. ``source`` is the half that reads, this is the half that writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from crossdock.connectors.chains import links_of
from crossdock.connectors.fsspec_bridge.dialects import demand_sink
from crossdock.connectors.fsspec_bridge.names import (
    described,
    is_directory,
    joined,
    modified_of,
    new_upload_id,
    upload_in,
)
from crossdock.connectors.fsspec_bridge.options import options_for
from crossdock.connectors.fsspec_bridge.source import FsspecSource
from crossdock.connectors.fsspec_bridge.uploads import (
    Draft,
    draft_of,
    drafts_below,
    open_draft,
    remove_leftover,
)
from crossdock.connectors.fsspec_bridge.walking import walk
from crossdock.errors import IntegrityError, NotFoundError, UnsupportedError
from crossdock.model import (
    ANY,
    NO_DIGESTS,
    NO_METADATA,
    NO_VERSION,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Version,
)
from crossdock.ports import Chunk

__all__ = ["FsspecStore"]


class FsspecStore(FsspecSource):
    """What a URL of fsspec names, as an ``ObjectStore``.

    Thread-safe. A pickle is the recipe (root and options, secrets as references). Writes go under a temporary name, are
    checked for their length (``read_back``: their bytes) and renamed; where a filesystem has no such step, every verb that
    writes raises ``UnsupportedError``. No metadata is kept.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        given = {
            field.name: getattr(self.options, field.name)
            for field in fields(self.options)
            if getattr(self.options, field.name) != field.default
        }
        return _rebuilt, (self.root, given)

    def put(
        self,
        key: str,
        data: Chunk,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port; a failure leaves nothing, a crash a temporary name that ``list_uploads`` finds."""
        size = memoryview(data).nbytes
        draft = self._begun("put", key, size, metadata, condition)
        try:
            try:
                draft.append(1, data)
                return self._published(draft, size, digests, condition)
            except BaseException:
                draft.discard()
                raise
        finally:
            draft.release()

    def begin(
        self,
        key: str,
        *,
        part_size_bytes: int,
        metadata: Metadata = NO_METADATA,
        size: int | None = None,  # noqa: ARG002
    ) -> Upload:
        """See the port. Holds a filesystem until the upload is completed or aborted, here. ``size`` is not needed."""
        return self._begun("begin", key, part_size_bytes, metadata, ANY).upload

    def put_part(self, upload: Upload, number: int, data: Chunk, *, digests: Digests = NO_DIGESTS) -> Part:  # noqa: ARG002 - checked as a whole
        """See the port: in order, each once, by the process that began.

        Raises:
            NotFoundError: The upload is gone.
            UnsupportedError: The part is not the next one, too long, or the upload is another process's.
        """
        size = memoryview(data).nbytes
        if size > upload.part_size_bytes:
            raise UnsupportedError(
                f"{size} bytes do not fit parts of {upload.part_size_bytes} bytes",
                operation="put part",
                where=self.url,
                key=upload.key,
            )
        draft = self._draft("put part", upload)
        with self._translated("put part", upload.key):
            draft.append(number, data)
        return Part(number=number, size=size, etag=str(number))

    def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        *,
        size: int,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """See the port. After an error the upload is still open; ``abort`` removes it."""
        self._demand_condition("complete", upload.key, condition)
        draft = self._draft("complete", upload)
        with self._translated("complete", upload.key):
            if sum(part.size for part in parts) != size or [part.number for part in parts] != [
                *range(1, len(parts) + 1)
            ]:
                raise IntegrityError(f"the parts do not add up to {size} bytes")
            if len(parts) != draft.parts:
                raise UnsupportedError("parts that were sent cannot be left out")
        info = self._published(draft, size, digests, condition)
        draft.release()
        return info

    def abort(self, upload: Upload) -> None:
        """See the port; the key's directories stay."""
        demand_sink(self._filesystems.dialect, self.links[0])
        draft = draft_of(upload)
        if draft is None:
            remove_leftover(self._filesystems, upload)
            return
        try:
            draft.discard()
        finally:
            draft.release()

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See the port; walks all directories under ``prefix``. Also what a crash left of a ``put``.

        An upload whose final name was too long to be carried by the temporary one is listed with its id for a name.
        """
        dialect = self._filesystems.dialect
        demand_sink(dialect, self.links[0])
        mine = {upload.id: upload for upload in drafts_below(self._filesystems, prefix)}
        with self._filesystems.lent("list uploads", prefix or None) as lent:
            below = prefix[: prefix.rfind("/") + 1]
            for key, info in walk(lent, dialect, below, None, may_be_missing=True):
                head, slash, name = key.rpartition("/")
                found = upload_in(name)
                if found is not None and found[0] not in mine:
                    upload = Upload(
                        key=f"{head}{slash}{found[1]}",
                        id=found[0],
                        part_size_bytes=int(found[0].partition("-")[2], 16),
                        begun=modified_of(info),
                    )
                    if upload.key.startswith(prefix):
                        mine[upload.id] = upload
        yield from mine.values()

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
        """Always raises: fsspec's copies are of no known version.

        Raises:
            UnsupportedError: ``capabilities.server_side_copy`` is false.
        """
        raise UnsupportedError(
            "files are copied by reading and writing", operation="copy", where=self.url, key=key
        )

    def delete(self, key: str, *, version: Version = NO_VERSION) -> None:
        """See the port; directories stay.

        Raises:
            UnsupportedError: ``version`` was given: no filesystem can be asked to delete one only. Or no sink.
        """
        self._demand_writable("delete", key)
        if version:
            raise UnsupportedError(
                "fsspec cannot delete one version only", operation="delete", where=self.url, key=key
            )
        dialect = self._filesystems.dialect
        try:
            with self._filesystems.lent("delete", key) as lent:
                path = joined(lent.root, key)
                if not is_directory(dialect.info(lent.fs, path)):
                    dialect.remove(lent.fs, path)
        except NotFoundError:
            return

    def _begun(
        self, operation: str, key: str, part_size_bytes: int, metadata: Metadata, condition: Condition
    ) -> Draft:
        self._demand_writable(operation, key)
        self._demand_condition(operation, key, condition)
        upload = Upload(
            key=key,
            id=new_upload_id(part_size_bytes),
            part_size_bytes=part_size_bytes,
            metadata=metadata,
            begun=datetime.now(UTC),
        )
        return open_draft(self._filesystems, upload)

    def _published(self, draft: Draft, size: int, digests: Digests, condition: Condition) -> ObjectInfo:
        with self._translated("complete", draft.upload.key):
            info = draft.publish(size, condition, digests, read_back=self.reads_back)
            return described(draft.upload.key, info)

    def _draft(self, operation: str, upload: Upload) -> Draft:
        draft = draft_of(upload)
        if draft is not None:
            return draft
        left = any(each.id == upload.id for each in self.list_uploads(upload.key))
        if left:
            raise UnsupportedError(
                "another process began this upload", operation=operation, where=self.url, key=upload.key
            )
        raise NotFoundError("the upload is gone", operation=operation, where=self.url, key=upload.key)

    def _demand_writable(self, operation: str, key: str) -> None:
        self._demand_key(operation, key)
        with self._translated(operation, key):
            demand_sink(self._filesystems.dialect, self.links[0])

    def _demand_condition(self, operation: str, key: str, condition: Condition) -> None:
        can = self.capabilities
        if condition.version or (condition.absent and not can.create_if_absent):
            raise UnsupportedError(
                "this filesystem cannot make a write depend on what is there",
                operation=operation,
                where=self.url,
                key=key,
            )


def _rebuilt(root: str, given: Mapping[str, Any]) -> FsspecStore:
    return FsspecStore(root, options_for(links_of(root))(**given))
