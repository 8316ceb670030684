"""A store of ours as pyiceberg sees it: metadata, manifests and data files by location, with the connector's options and proofs.

Locations are literal, as Iceberg's are: what stands behind the bucket is the key, nothing is percent-decoded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from pyiceberg.io import FileIO, InputFile, OutputFile

from crossdock.connectors.layers import layered
from crossdock.connectors.registry import connector_for
from crossdock.connectors.strategy import TransferOptions
from crossdock.connectors.streams import as_byte_stream
from crossdock.connectors.writer import write
from crossdock.errors import CrossdockError, NotFoundError, UnsupportedError
from crossdock.formats.ranged import RangedFile
from crossdock.lakes.place import Place
from crossdock.model import ABSENT, ANY
from crossdock.ports import ObjectStore

__all__ = ["IN_USE", "StoreFiles", "in_use", "using"]

IN_USE = {"py-io-impl": f"{__name__}.in_use"}
"""What makes the library ask ``in_use`` where it opens files by its own properties instead of by the catalogue."""

_in_use: ContextVar[StoreFiles] = ContextVar("crossdock_iceberg_files")

_SAME = {"s3a": "s3", "s3n": "s3", "wasb": "abfs", "wasbs": "abfss"}


class StoreFiles(FileIO):
    """Files by location, in the place's store or another bucket reached with the same options.

    Attributes:
        made: Locations written so far, so that a commit that fails can leave nothing.
    """

    def __init__(self, place: Place) -> None:
        super().__init__({})
        self._place = place
        self.made: list[str] = []

    def found(self, location: str) -> tuple[ObjectStore, str]:
        """Store and key of a location.

        Raises:
            UnsupportedError: It is in another kind of store than the options are for.
        """
        scheme, sep, rest = location.partition("://")
        if not sep:
            scheme, rest = "file", location.removeprefix("file:")
        place = self._place
        row = connector_for(_SAME.get(scheme, scheme))
        if row.name != place.system:
            raise UnsupportedError(
                f"the table has files on {scheme}://, and the options are for {place.system}",
                operation="read",
                where=location,
            )
        if row.name == "local":
            root = f"{place.bucket.rstrip('/')}/"
            if rest.startswith(root):
                return place.store, rest.removeprefix(root)
            bucket, key = "/", rest.lstrip("/")
        else:
            bucket, _, key = rest.partition("/")
            bucket = bucket.partition("@")[0]
            if bucket == place.bucket.partition("@")[0]:
                return place.store, key
        store_class, _ = row.load()
        return layered(store_class(bucket, place.options)), key

    def new_input(self, location: str) -> InputFile:
        """See pyiceberg."""
        return _Input(location, *self.found(location))

    def new_output(self, location: str) -> OutputFile:
        """See pyiceberg."""
        return _Output(self, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """See pyiceberg."""
        store, key = self.found(location if isinstance(location, str) else location.location)
        store.delete(key)

    def undo(self) -> None:
        """Delete what was written and nothing refers to; what cannot be deleted stays, named as Iceberg names orphans."""
        for location in self.made:
            try:
                self.delete(location)
            except CrossdockError:
                continue
        self.made.clear()


@contextmanager
def using(files: StoreFiles) -> Iterator[None]:
    """Let the library open files by these, for the length of a block: it knows its files by a name only."""
    token = _in_use.set(files)
    try:
        yield
    finally:
        _in_use.reset(token)


def in_use(properties: Any) -> StoreFiles:  # noqa: ARG001 - the library's signature
    """The files of the block this is called in."""
    return _in_use.get()


class _Input(InputFile):
    def __init__(self, location: str, store: ObjectStore, key: str) -> None:
        super().__init__(location)
        self._store, self._key = store, key

    def __len__(self) -> int:
        return int(self._store.stat(self._key).size or 0)

    def exists(self) -> bool:
        try:
            self._store.stat(self._key)
        except NotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002 - the library's signature; ours always is
        info = self._store.stat(self._key)
        return RangedFile(self._store, info, size=int(info.size or 0))


class _Output(OutputFile):
    def __init__(self, files: StoreFiles, location: str) -> None:
        super().__init__(location)
        self._files = files

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return self._files.new_input(self.location)

    def create(self, overwrite: bool = False) -> Any:
        return _Written(self._files, self.location, overwrite=overwrite)


class _Written(io.BytesIO):
    """A file of the library's, whole in memory until it is closed: metadata and manifests, some kilobytes to some megabytes."""

    def __init__(self, files: StoreFiles, location: str, *, overwrite: bool) -> None:
        super().__init__()
        self._files, self._location, self._overwrite = files, location, overwrite

    def close(self) -> None:
        """Put it, once."""
        if self.closed:
            return
        data = self.getvalue()
        super().close()
        store, key = self._files.found(self._location)
        condition = ANY if self._overwrite or not store.capabilities.create_if_absent else ABSENT
        self._files.made.append(self._location)
        write(as_byte_stream(data), store, key, condition=condition, options=TransferOptions())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            super().close()

    def __del__(self) -> None:  # BytesIO would close it, which is to put it
        super().close()
