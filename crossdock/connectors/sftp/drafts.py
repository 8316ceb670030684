"""An upload on a server: a directory ``.crossdock-<id>.part`` beside the final name, holding one file of that name.

The same layout as the local store's, so either finds what the other left. The file gets its place by one rename that
replaces (``posix-rename@openssh.com``) or one hard link that does not (``hardlink@openssh.com``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from crossdock.connectors.local_names import part_size_of, upload_name
from crossdock.connectors.sftp import files
from crossdock.connectors.sftp.errors import StatusError
from crossdock.connectors.sftp.session import Session
from crossdock.connectors.sftp.tree import Entry, Place, joined
from crossdock.connectors.sftp.wire import Attributes, Open, Status
from crossdock.errors import (
    CrossdockError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    UnsupportedError,
)
from crossdock.model import Condition, Upload

__all__ = ["Draft", "found_upload"]

_PRIVATE = 0o700


class Draft:
    """One upload, by its paths."""

    def __init__(self, session: Session, place: Place, upload_id: str) -> None:
        directory = upload_name(upload_id)
        if directory is None:  # an id that is not ours leads nowhere
            raise NotFoundError("the upload is gone")
        self._session, self._place = session, place
        self._directory = joined(place.directory, directory.encode())
        self._file = joined(self._directory, place.name)

    @contextmanager
    def made(self) -> Iterator[bytes]:
        """Begin: a handle in the block, closed at its end; if the block raises, all of it is removed."""
        files.make_directory(self._session, self._directory, mode=_PRIVATE)
        try:
            with files.opened(
                self._session, self._file, Open.WRITE | Open.READ | Open.CREATE | Open.EXCLUSIVE
            ) as handle:
                yield handle
        except BaseException:
            with suppress(
                CrossdockError, StatusError
            ):  # the error in flight matters more; list_uploads finds the rest
                self.discard()
            raise

    @contextmanager
    def reopened(self) -> Iterator[bytes]:
        """Go on.

        Raises:
            NotFoundError: The upload is gone.
        """
        try:
            with files.opened(self._session, self._file, Open.WRITE | Open.READ) as handle:
                yield handle
        except StatusError as error:
            if error.code == Status.NO_SUCH_FILE:
                raise NotFoundError("the upload is gone") from error
            raise

    def settle(
        self, handle: bytes, size: int, condition: Condition, *, fsync: bool
    ) -> tuple[Attributes, Attributes | None]:
        """Last words to the open file, before ``publish``: its time, its disk. Returns its state and the destination's.

        SFTP's times have seconds: a file that replaces another within one gets the next, so that versions differ.

        Raises:
            PreconditionError: The destination is there, and was not to be.
            UnsupportedError: A directory has the name.
            IntegrityError: The server's file has another size than what was sent.
        """
        state, there = files.fstat(self._session, handle), files.look(self._session, self._place.path)
        if there is not None:
            if there.is_directory:
                raise UnsupportedError(
                    "a directory has this name",
                    hint="keys x and x/y cannot both be files: rename or filter one",
                )
            if condition.absent:
                raise PreconditionError("the file exists already")
            if state.mtime is not None and there.mtime is not None and state.mtime <= there.mtime:
                files.touch(self._session, handle, there.mtime + 1)
                state = files.fstat(self._session, handle)
        if state.size != size:
            raise IntegrityError(f"the file on the server has {state.size} bytes, not {size}")
        if fsync:
            files.fsync(self._session, handle)
        return state, there

    def publish(self, condition: Condition, there: Attributes | None) -> None:
        """Give the closed file its place, and remove the rest.

        Raises:
            PreconditionError: The destination is there, and was not to be.
            UnsupportedError: The server has no way to replace a file in one step.
        """
        final = self._place.path
        try:
            if condition.absent:
                files.rename_new(self._session, self._file, final)
            elif b"posix-rename@openssh.com" in self._session.extensions:
                files.replace(self._session, self._file, final)
            elif there is None:
                files.rename_new(self._session, self._file, final)
            else:
                raise UnsupportedError(
                    "this server cannot replace a file in one step (posix-rename@openssh.com)",
                    hint="delete the destination first, or write to another directory",
                )
        except StatusError as error:
            raise self._explained(error, condition, final) from error
        with suppress(
            CrossdockError, StatusError
        ):  # the object is there: what is left is found by list_uploads
            files.remove_directory(self._session, self._directory)

    def _explained(self, error: StatusError, condition: Condition, final: bytes) -> Exception:
        """What a refused rename means: version 3 has one word for everything."""
        if error.code == Status.NO_SUCH_FILE:
            return NotFoundError("the upload is gone")
        now = files.look(self._session, final)
        if now is not None and now.is_directory:
            return UnsupportedError(
                "a directory has this name", hint="keys x and x/y cannot both be files: rename or filter one"
            )
        if condition.absent and now is not None:
            return PreconditionError("the file exists already")
        if condition.absent:
            return UnsupportedError(
                "the server could not make a hard link, so a file cannot be created only if it is absent",
                hint="overwrite always, or choose another directory",
            )
        return error

    def discard(self) -> None:
        """Remove the upload and its bytes. One that is gone is fine."""
        try:
            listed = files.names(self._session, self._directory)
        except StatusError as error:
            if error.code == Status.NO_SUCH_FILE:
                return
            raise
        for name, _ in listed:
            files.remove(self._session, joined(self._directory, name))
        files.remove_directory(self._session, self._directory)


def found_upload(session: Session, entry: Entry, upload_id: str) -> Upload | None:
    """An upload's directory that the walk met, as the upload; ``None`` if it vanished meanwhile."""
    try:
        held = files.names(session, joined(entry.directory, entry.name.encode()))
    except StatusError as error:
        if error.code == Status.NO_SUCH_FILE:
            return None
        raise
    begun = entry.attributes.mtime
    return Upload(
        key=entry.base + (held[0][0].decode("utf-8", "replace") if held else upload_id),
        id=upload_id,
        part_size_bytes=part_size_of(upload_id),
        begun=None if begun is None else datetime.fromtimestamp(begun, UTC),
    )
