"""The half of the store that reads: exact keys or a refusal, one state of a file or an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from crossdock.connectors.chains import CACHES, CONTAINERS, links_of
from crossdock.connectors.fsspec_bridge.dialects import Archive
from crossdock.connectors.fsspec_bridge.errors import translated
from crossdock.connectors.fsspec_bridge.filesystems import Filesystems, Lent, filesystems_for
from crossdock.connectors.fsspec_bridge.names import described, is_directory, joined, refusal_of, upload_in
from crossdock.connectors.fsspec_bridge.options import FsspecOptions, FsspecSinkOptions, options_for
from crossdock.connectors.fsspec_bridge.protocols import filesystem_class
from crossdock.connectors.fsspec_bridge.reading import FsspecReader
from crossdock.connectors.fsspec_bridge.walking import demand_root, walk
from crossdock.errors import NotFoundError, PreconditionError, RangeError, UnsupportedError
from crossdock.model import NO_VERSION, ByteRange, ObjectInfo, Version
from crossdock.ports import Capabilities, ObjectReader

__all__ = ["FsspecSource"]

PAGE_SIZE = 1_000
CHECKED = frozenset({"md5", "crc32c", "crc64nvme", "sha256"})


class FsspecSource:
    """What a URL of fsspec names, as objects below one root: everything of the port that reads.

    Thread-safe: every call borrows a filesystem of its own. Reads are not pinned: state is compared before and after.
    """

    def __init__(self, root: str, options: FsspecOptions | None = None) -> None:
        """``root`` is a URL without a key; an archive's ends in ``!`` (see ``connectors.chains``)."""
        self.root = root
        self.links = links_of(root)
        self.options = options if options is not None else options_for(self.links)()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    @cached_property
    def _filesystems(self) -> Filesystems:
        return filesystems_for(self.root, self.options)

    @property
    def url(self) -> str:
        """The root; with ``/`` and a key it is a URL that ``xd.source`` opens."""
        return self.root

    @property
    def endpoint(self) -> str:
        """The root's URL: nothing is copied inside."""
        return self.root

    @property
    def capabilities(self) -> Capabilities:
        """What fsspec leaves of the service's own abilities; see the class."""
        dialect = self._filesystems.dialect
        checks = CHECKED if self.reads_back else frozenset()
        return Capabilities(
            writable=dialect.renames,
            pinned_reads=False,
            create_if_absent=dialect.creates,
            replace_if_match=False,
            multipart=dialect.renames,
            ordered_parts=dialect.renames,
            server_side_copy=False,
            put_checks=checks,
            complete_checks=checks,
            metadata_fields=frozenset(),
            listing_has_metadata=True,  # there is none, and the listing knows it
            folds=dialect.folds,
            staged_puts=dialect.renames,
            max_put_size=sys.maxsize,
            min_part_size=1,
            max_part_size=sys.maxsize,
            max_parts=2**31 - 1,
            max_object_size=sys.maxsize,
        )

    @property
    def reads_back(self) -> bool:
        """Whether what is written is read again before it becomes visible."""
        return isinstance(self.options, FsspecSinkOptions) and self.options.read_back

    @property
    def _may_be_missing(self) -> bool:
        return isinstance(self.options, FsspecSinkOptions) and self.options.missing_root_is_empty

    def refusal(self, key: str, size: int | None = None) -> str | None:  # noqa: ARG002 - any size is worth trying
        """See the port: what a path cannot say, and what this filesystem's own normalisation would change."""
        return refusal_of(key, joined(self._root_path, key), self._strip)

    @cached_property
    def _root_path(self) -> str:
        return "" if self.links[0] in CONTAINERS else self._strip(self._own_url)

    @property
    def _own_url(self) -> str:
        """The root without the caches in front of it."""
        url = self.root
        while url.partition("::")[0] in CACHES:
            url = url.partition("::")[2]
        return url.removesuffix("!")

    def _strip(self, path: str) -> str:
        own = next(link for link in self.links if link not in CACHES)
        return str(filesystem_class(own)._strip_protocol(path))  # noqa: SLF001 - public among fsspec's users

    def check(self) -> None:
        """See the port; an archive is opened for it."""
        with self._filesystems.lent("check") as lent:
            if isinstance(self._filesystems.dialect, Archive):
                return
            demand_root(lent, self._filesystems.dialect, may_be_missing=self._may_be_missing)

    def list(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[Sequence[ObjectInfo]]:
        """See the port.

        Memory: one page, and the entries of one directory for each level of the tree; of an archive, its whole index. One
        request a directory. Holds one filesystem until the iterator ends or is closed.

        Raises:
            NotFoundError: The root, or the archive, is missing.
            UnsupportedError: The filesystem lists names that are not exact.
        """
        page: list[ObjectInfo] = []
        with self._filesystems.lent("list", prefix or None) as lent:
            entries = walk(
                lent, self._filesystems.dialect, prefix, start_after, may_be_missing=self._may_be_missing
            )
            for key, info in entries:
                if upload_in(key.rpartition("/")[2]) is not None:
                    continue
                page.append(self._described(key, info, lent))
                if len(page) == PAGE_SIZE:
                    yield page
                    page = []
        if page:
            yield page

    def stat(self, key: str, *, version: Version = NO_VERSION) -> ObjectInfo:
        """See the port."""
        self._demand_key("stat", key)
        with self._filesystems.lent("stat", key) as lent:
            info = self._looked_up(lent, key)
            if version and info.version != version:
                raise PreconditionError("the file was replaced since it was observed")
            return info

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port. Borrows a filesystem until the reader is closed or at its end; two requests more than the read.

        Raises:
            UnsupportedError: ``version`` was given: no filesystem can be asked for one.
        """
        self._demand_key("read", key)
        if version:
            raise UnsupportedError(
                "fsspec cannot ask for one version", operation="read", where=self.url, key=key
            )
        filesystems = self._filesystems
        lent = filesystems.borrow("read", key)
        try:
            with self._translated("read", key):
                info = self._looked_up(lent, key)
                wanted = _cut(byte_range, info.size)
                start, end = (0, None) if wanted is None else (wanted.start, wanted.end)
                file = filesystems.dialect.read(lent.fs, joined(lent.root, key), start, end)
        except BaseException as error:
            lent.unfit = not isinstance(error, NotFoundError | RangeError)
            filesystems.give_back(lent)
            raise
        return FsspecReader(
            filesystems,
            lent,
            file,
            info,
            wanted,
            look_again=lambda used: self._looked_up(used, key, again=True),
        )

    def _looked_up(self, lent: Lent, key: str, *, again: bool = False) -> ObjectInfo:
        """What is under a key, provided the filesystem answers for exactly this key."""
        path = joined(lent.root, key)
        info = self._filesystems.dialect.info(lent.fs, path)
        if is_directory(info):
            raise NotFoundError("this is a directory, not an object")
        name = str(info.get("name", path))
        if name.strip("/") != path.strip("/"):
            raise UnsupportedError(f"asked for {path!r}, the filesystem answers for {name!r}")
        return self._described(key, info, lent, outer=self._filesystems.outer() if again else None)

    def _described(
        self, key: str, info: Mapping[str, Any], lent: Lent, *, outer: str | None = None
    ) -> ObjectInfo:
        versioned = self._filesystems.dialect.versioned
        return described(key, info, outer=lent.outer if outer is None else outer, versioned=versioned)

    def _demand_key(self, operation: str, key: str) -> None:
        refusal = self.refusal(key)
        if refusal is not None:
            raise UnsupportedError(refusal, operation=operation, where=self.url, key=key)

    def _translated(self, operation: str, key: str | None = None) -> Any:
        return translated(operation, self.url, key, secrets=self._filesystems.secrets)


def _cut(byte_range: ByteRange | None, size: int | None) -> ByteRange | None:
    """The range that is there; ``None`` for the whole file."""
    if byte_range is None:
        return None
    if size is None:
        raise UnsupportedError("the filesystem does not say the file's size, so no range of it can be read")
    if byte_range.start >= size:
        raise RangeError(f"the range starts at {byte_range.start} and the object has {size} bytes")
    return ByteRange(byte_range.start, min(byte_range.end, size))
