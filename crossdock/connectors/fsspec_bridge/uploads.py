"""Writing files that appear whole or not at all: a temporary name, the bytes in order, a check, one rename.

A draft is a file being written through one borrowed filesystem, in this process: fsspec cannot go on with a file that
another process began. What a crash leaves behind has a temporary name that ``list_uploads`` finds and ``abort`` removes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from crossdock.connectors.digests import Hasher
from crossdock.connectors.fsspec_bridge.dialects import Bytes, Dialect, there
from crossdock.connectors.fsspec_bridge.errors import translated
from crossdock.connectors.fsspec_bridge.filesystems import Filesystems, Lent
from crossdock.connectors.fsspec_bridge.names import (
    is_directory,
    joined,
    temporary_name,
    upload_in,
)
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    ExistsError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    Retry,
    StalledError,
    UnexpectedError,
    UnsupportedError,
)
from crossdock.model import MIB, Condition, Digests, Upload
from crossdock.ports import Chunk

__all__ = ["Draft", "draft_of", "drafts_below", "open_draft", "remove_leftover"]


@dataclass(slots=True)
class Draft:
    """A file being written under a temporary name."""

    filesystems: Filesystems
    lent: Lent
    file: Bytes
    upload: Upload
    temporary: str  # key
    written: int = 0
    parts: int = 0
    closed: bool = False
    ended: bool = False  # given its name, or removed
    published: bool = False  # given its name
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dialect(self) -> Dialect:
        """How its filesystem is used."""
        return self.filesystems.dialect

    def path(self, key: str) -> str:
        """The path of a key in its filesystem."""
        return joined(self.lent.root, key)

    def append(self, number: int, data: Chunk) -> None:
        """Take the next part.

        Raises:
            UnsupportedError: It is not the next one.
            NotFoundError: The upload is gone.
        """
        with self.lock:
            if self.ended or self.closed:
                raise NotFoundError("the upload is gone")
            if number != self.parts + 1:
                raise UnsupportedError(
                    f"part {number} after part {self.parts}: parts come in order, each once"
                )
            self.parts = number
            view = memoryview(data).cast("B")
            try:
                self._all(view)
            except BaseException as error:
                self.closed = self.lent.unfit = True  # how much arrived is unknown, so nothing can follow
                if isinstance(error, CrossdockError):
                    error.retry = Retry.EXHAUSTED
                raise
            self.written += view.nbytes

    def _all(self, view: memoryview) -> None:
        with self._translated("put part"):
            while view:
                count = self.file.write(view)
                view = view[len(view) if count is None else count :]

    def publish(
        self, size: int, condition: Condition, digests: Digests, *, read_back: bool
    ) -> dict[str, Any]:
        """Finish the file, prove it, and give it its name; what the filesystem then says of it.

        Raises:
            IntegrityError: The file is not as long as what was sent, or was read back otherwise.
            PreconditionError: Something has the name, and it was not to be.
            UnsupportedError: Something has the name that cannot be replaced in one step.
        """
        with self.lock:
            if not self.published:  # else this is a second try after an answer that was lost
                self._finish(size, condition, digests, read_back=read_back)
            info = self._after_all(self.upload.key)
            if info is None or info.get("size") != size:
                raise PreconditionError("somebody else replaced the file right after it was written")
            return dict(info)

    def _finish(self, size: int, condition: Condition, digests: Digests, *, read_back: bool) -> None:
        if self.ended:
            raise NotFoundError("the upload is gone")
        with self._translated("complete"):
            if not self.closed:
                self.closed = True
                self.file.close()
            found = self.dialect.info(self.lent.fs, self.path(self.temporary))
            if found.get("size") != size or self.written != size:
                raise IntegrityError(f"the filesystem holds {found.get('size')} of {size} bytes")
            if read_back:
                self._read_back(digests)
            self._demand_place(condition)
        self._rename(condition)
        self.ended = self.published = True

    def _read_back(self, digests: Digests) -> None:
        hasher = Hasher(digests.as_dict())
        file = self.dialect.read(self.lent.fs, self.path(self.temporary), 0, None)
        try:
            while data := file.read(MIB):
                hasher.update(data)
        finally:
            file.close()
        differs = hasher.digests().conflict(digests)
        if differs is not None or hasher.size != self.written:
            raise IntegrityError(f"the bytes read back have another {differs or 'length'} than what was sent")

    def _demand_place(self, condition: Condition) -> None:
        now = there(self.dialect, self.lent.fs, self.path(self.upload.key))
        if now is None:
            return
        if is_directory(now):
            raise UnsupportedError(
                "a directory has this name", hint="keys x and x/y cannot both be files: rename or filter one"
            )
        if condition.absent:
            raise PreconditionError("the file exists already")
        if not self.dialect.replaces:
            raise UnsupportedError(
                "a file has this name, and this filesystem cannot replace it in one step",
                hint="delete it first, or write under another prefix",
            )

    def _rename(self, condition: Condition) -> None:
        """One step; where its outcome is unknown, the temporary name tells: only we know it."""
        try:
            with self._translated("complete"):
                self.dialect.rename(
                    self.lent.fs,
                    self.path(self.temporary),
                    self.path(self.upload.key),
                    absent=condition.absent,
                )
        except ExistsError as error:
            raise PreconditionError("the file exists already") from error
        except (ConnectionLostError, StalledError, UnexpectedError):
            self._exchange()
            gone = self._after_all(self.temporary) is None
            done = self._after_all(self.upload.key)
            if not gone or done is None or done.get("size") != self.written:
                raise

    def _after_all(self, key: str) -> Mapping[str, Any] | None:
        """What is under a key, asked once more over a fresh connection if the one at hand is lost."""
        for last in (False, True):
            try:
                with self._translated("complete"):
                    return there(self.dialect, self.lent.fs, self.path(key))
            except (ConnectionLostError, StalledError, UnexpectedError):
                if last:
                    raise
                self._exchange()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _exchange(self) -> None:
        """Go on with a fresh filesystem."""
        self.lent.unfit = True
        self.filesystems.give_back(self.lent)
        self.lent = self.filesystems.borrow("complete", self.upload.key)

    def discard(self) -> None:
        """Close the file and remove it; afterwards late parts change nothing. Twice is fine."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
            if not self.closed:
                self.closed = True
                with suppress(CrossdockError), self._translated("abort"):  # its bytes do not matter any more
                    self.file.close()
            if hasattr(self.file, "closed"):
                with suppress(AttributeError):
                    self.file.closed = True  # or a finaliser of fsspec's would write it again
            if self.lent.unfit:
                self._exchange()
            with suppress(NotFoundError), self._translated("abort"):
                if there(self.dialect, self.lent.fs, self.path(self.temporary)) is not None:
                    self.dialect.remove(self.lent.fs, self.path(self.temporary))

    def release(self) -> None:
        """Give the filesystem back and forget the draft."""
        with _lock:
            _drafts.pop(self.upload.id, None)
        self.filesystems.give_back(self.lent)

    def _translated(self, operation: str) -> Any:
        return translated(
            operation, self.filesystems.shown, self.upload.key, secrets=self.filesystems.secrets
        )


_drafts: dict[str, Draft] = {}
_lock = threading.Lock()


def open_draft(filesystems: Filesystems, upload: Upload) -> Draft:
    """Begin a file under its temporary name, making the directories of its key if need be (they stay)."""
    head, slash, name = upload.key.rpartition("/")
    temporary = f"{head}{slash}{temporary_name(upload.id, name)}"
    lent = filesystems.borrow("begin", upload.key)
    dialect, path = filesystems.dialect, joined(lent.root, temporary)
    try:
        try:
            with translated("begin", filesystems.shown, upload.key, secrets=filesystems.secrets):
                file = dialect.write(lent.fs, path)
        except NotFoundError:  # most likely the directory; asking first would cost a request for every object
            with translated("begin", filesystems.shown, upload.key, secrets=filesystems.secrets):
                dialect.make_directory(lent.fs, joined(lent.root, head) if head else lent.root)
                file = dialect.write(lent.fs, path)
    except BaseException:
        lent.unfit = True
        filesystems.give_back(lent)
        raise
    draft = Draft(filesystems=filesystems, lent=lent, file=file, upload=upload, temporary=temporary)
    with _lock:
        _drafts[upload.id] = draft
    return draft


def draft_of(upload: Upload) -> Draft | None:
    """The draft of an upload that this process is writing."""
    with _lock:
        return _drafts.get(upload.id)


def drafts_below(filesystems: Filesystems, prefix: str) -> Iterator[Upload]:
    """Uploads that this process is writing."""
    with _lock:
        mine = [draft.upload for draft in _drafts.values() if draft.filesystems is filesystems]
    yield from (upload for upload in mine if upload.key.startswith(prefix))


def remove_leftover(filesystems: Filesystems, upload: Upload) -> None:
    """Remove what another process left of an upload. One that is gone is fine."""
    head, slash, name = upload.key.rpartition("/")
    names = {temporary_name(upload.id, name), temporary_name(upload.id, "x" * 255)}
    for each in sorted(names):
        if upload_in(each) is None:
            return  # not an id of ours
        with filesystems.lent("abort", upload.key) as lent:
            path = joined(lent.root, f"{head}{slash}{each}")
            if there(filesystems.dialect, lent.fs, path) is not None:
                filesystems.dialect.remove(lent.fs, path)
