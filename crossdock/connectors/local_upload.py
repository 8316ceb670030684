"""Writing files that appear whole or not at all: an upload's directory, parts at their offsets, the commit.

An upload is a directory ``.crossdock-<id>.part`` in the directory of the final name; inside it one file that already
has that name. Parts are written at their offsets under a shared lock of that file; the commit takes it exclusively, so
a late part can never change an object that is visible. What a crash leaves behind is found by ``LocalTree.walk``.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from crossdock.connectors.digests import COMBINABLE, combine_parts, digest_of
from crossdock.connectors.local_names import part_size_of, upload_name, version_of
from crossdock.connectors.local_tree import Entry, locked
from crossdock.errors import IntegrityError, NotFoundError, PreconditionError, UnsupportedError
from crossdock.model import Condition, Digests, Part, Upload
from crossdock.ports import Chunk

__all__ = ["Draft", "demand_whole", "discard", "found_upload", "make", "opened", "write_at"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Draft:
    """Open descriptors of one upload: the final directory, the upload's directory, the file in it."""

    parent: int
    directory: int
    file: int
    upload_id: str
    name: str

    def commit(self, condition: Condition, *, fsync: bool) -> os.stat_result:
        """Give the file its final place if ``condition`` holds there; returns its state.

        The comparison and the rename are one step for everyone who commits through here (a lock on the directory).
        Creating is one step for everybody: the link fails if the name is taken.

        Raises:
            PreconditionError: The destination is in another state; nothing changed.
            UnsupportedError: A directory has the name, or the file system cannot link or lock.
        """
        now = time.time_ns()
        os.utime(
            self.file, ns=(now, now)
        )  # the kernel's own clock ticks in ms: two versions could look alike
        if fsync:
            os.fsync(self.file)
        with locked(self.parent, required=bool(condition.version)):
            _demand(self.parent, self.name, condition)
            if condition.absent:
                self._link()
            else:
                os.rename(self.name, self.name, src_dir_fd=self.directory, dst_dir_fd=self.parent)
            state = os.fstat(self.file)
        with suppress(OSError):  # the object is there: what is left of the upload is found by list_uploads
            discard(self.parent, self.upload_id)
        if fsync:
            os.fsync(self.parent)
        return state

    def _link(self) -> None:
        try:
            os.link(
                self.name,
                self.name,
                src_dir_fd=self.directory,
                dst_dir_fd=self.parent,
                follow_symlinks=False,
            )
        except FileExistsError as error:
            raise PreconditionError("the file exists already") from error
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            raise UnsupportedError(
                "this file system has no hard links, so a file cannot be created only if it is absent",
                hint="overwrite always, or choose another directory",
            ) from error


def _demand(parent: int, name: str, condition: Condition) -> None:
    """Compare what has the final name with what the condition demands.

    Raises:
        PreconditionError: It is something else.
        UnsupportedError: It is a directory, which no file can replace.
    """
    try:
        state = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if condition.version:
            raise PreconditionError("the file that was observed is gone") from None
        return
    if stat.S_ISDIR(state.st_mode):
        raise UnsupportedError(
            "a directory has this name", hint="keys x and x/y cannot both be files: rename or filter one"
        )
    if condition.absent:
        raise PreconditionError("the file exists already")
    if condition.version and version_of(state) != condition.version:
        raise PreconditionError("the file is not the version that was observed")


@contextmanager
def make(parent: int, upload_id: str, name: str) -> Iterator[Draft]:
    """Begin an upload; its descriptors are open in the block, and it is removed if the block raises."""
    directory_name = str(upload_name(upload_id))
    os.mkdir(directory_name, mode=0o700, dir_fd=parent)
    try:
        directory = os.open(directory_name, _DIRECTORY, dir_fd=parent)
        try:
            file = os.open(name, _FILE | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=directory)
            try:
                yield Draft(parent, directory, file, upload_id, name)
            finally:
                os.close(file)
        finally:
            os.close(directory)
    except BaseException:
        with suppress(OSError):  # the error in flight matters more; list_uploads finds what is left
            discard(parent, upload_id)
        raise


@contextmanager
def opened(parent: int, upload_id: str, name: str, how: int) -> Iterator[Draft]:
    """Open an upload that was begun and hold its lock: shared for a part, exclusive for the commit.

    Raises:
        NotFoundError: The upload is gone.
    """
    directory_name = upload_name(upload_id)
    gone = NotFoundError("the upload is gone")
    if directory_name is None:
        raise gone
    try:
        directory = os.open(directory_name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        raise gone from None
    try:
        try:
            file = os.open(name, _FILE, dir_fd=directory)
        except FileNotFoundError:
            raise gone from None
        try:
            with locked(file, how):
                try:  # it may have been committed or aborted while we waited for the lock
                    os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    raise gone from None
                yield Draft(parent, directory, file, upload_id, name)
        finally:
            os.close(file)
    finally:
        os.close(directory)


def discard(parent: int, upload_id: str) -> None:
    """Remove an upload and its bytes. One that is gone is fine."""
    directory_name = upload_name(upload_id)
    if directory_name is None:
        return
    with suppress(FileNotFoundError):
        directory = os.open(directory_name, _DIRECTORY, dir_fd=parent)
        try:
            for name in os.listdir(directory):  # noqa: PTH208 - by descriptor, so that no link is followed
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        os.rmdir(directory_name, dir_fd=parent)


def write_at(file: int, data: Chunk, offset: int) -> None:
    """Write all of ``data`` at ``offset``, whatever a single call takes."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def demand_whole(upload: Upload, parts: Sequence[Part], size: int, digests: Digests) -> None:
    """Prove from the parts' acknowledgements alone that they make up the whole that was announced.

    Raises:
        IntegrityError: They do not, or do not carry what it takes to compare.
    """
    if [part.number for part in parts] != [*range(1, len(parts) + 1)]:
        raise IntegrityError("the parts are not numbered from 1 without a gap")
    if any(part.size != upload.part_size_bytes for part in parts[:-1]):
        raise IntegrityError("a part before the last is not as long as a part")
    given = sum(part.size for part in parts)
    if given != size:
        raise IntegrityError(f"the parts have {given} bytes, not {size}")
    known = combine_parts(parts) if parts else digest_of(b"", COMBINABLE)
    unproven = sorted(COMBINABLE.intersection(digests.as_dict()).difference(known.as_dict()))
    if unproven:
        raise IntegrityError(f"the parts do not say their {unproven[0]}, so the whole cannot be compared")
    differs = known.conflict(digests)
    if differs is not None:
        raise IntegrityError(f"the bytes received have another {differs} than was announced")


def found_upload(entry: Entry, upload_id: str) -> Upload | None:
    """An upload's directory that the walk met, as the upload; ``None`` if it vanished meanwhile."""
    try:
        directory = os.open(entry.name, _DIRECTORY, dir_fd=entry.directory)
    except (FileNotFoundError, NotADirectoryError):  # the latter: a link took its place
        return None
    try:
        names = os.listdir(directory)  # noqa: PTH208 - by descriptor, so that no link is followed
        begun = os.fstat(directory).st_mtime
    finally:
        os.close(directory)
    return Upload(
        key=entry.base + (names[0] if names else upload_id),
        id=upload_id,
        part_size_bytes=part_size_of(upload_id),
        begun=datetime.fromtimestamp(begun, UTC),
    )
