"""Open filesystems of one process: made when first needed, lent to one user at a time, shared by equal recipes.

Most of fsspec's filesystems are not thread-safe (one FTP connection, one file position in an archive), so whoever reads,
writes or lists borrows one and gives it back; one that failed is dropped, and the next user gets a fresh one. An archive is
opened with a note of which version of it that was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec

from crossdock.connectors.chains import CONTAINERS, links_of
from crossdock.connectors.fsspec_bridge.dialects import Dialect, dialect_of
from crossdock.connectors.fsspec_bridge.errors import translated
from crossdock.connectors.fsspec_bridge.names import version_of
from crossdock.connectors.fsspec_bridge.options import FsspecOptions, nested_options
from crossdock.errors import ConfigError, CrossdockError, Retry, UnexpectedError
from crossdock.options import Secret

__all__ = ["Filesystems", "Lent", "filesystems_for"]

IDLE = 8  # kept open for the next user; more are closed when they come back
RECIPES = 64  # kept in memory; the one used least recently is forgotten first


@dataclass(slots=True)
class Lent:
    """A filesystem while somebody uses it. ``outer`` tells versions of the archive apart that it is inside of."""

    fs: Any
    root: str
    outer: str
    unfit: bool = False


class Filesystems:
    """The open filesystems of one recipe. Thread-safe."""

    def __init__(self, root: str, options: FsspecOptions) -> None:
        self.root = root
        self.links = links_of(root)
        self.dialect: Dialect = dialect_of(self.links)
        self._options = options
        self._lock = threading.Lock()
        self._idle: list[Lent] = []
        self._shared: Lent | None = None
        self._outer_lock = threading.Lock()
        self._outer: tuple[Any, str] | None = None

    def secrets(self) -> tuple[str, ...]:
        """Every secret of the recipe as text, for masking; never to be kept."""
        return tuple(secret.reveal() for secret in _secrets_in(_values(self._options)))

    @contextmanager
    def lent(self, operation: str, key: str | None = None) -> Iterator[Lent]:
        """Borrow a filesystem for the block; what it raises becomes ours."""
        borrowed = self.borrow(operation, key)
        try:
            with translated(operation, self.shown, key, secrets=self.secrets):
                yield borrowed
        except BaseException as error:
            # A clear refusal leaves a connection as good as it was; after anything else nobody knows.
            refused = isinstance(error, CrossdockError) and error.retry is Retry.NEVER
            borrowed.unfit = borrowed.unfit or not refused or isinstance(error, UnexpectedError)
            raise
        finally:
            self.give_back(borrowed)

    def borrow(self, operation: str, key: str | None = None) -> Lent:
        """A filesystem that nobody else uses until it is given back; opens one if none is idle."""
        with translated(operation, self.shown, key, secrets=self.secrets):
            while (idle := self._taken()) is not None:
                if idle.outer == self.outer():  # else the archive was replaced since it was opened
                    return idle
            made = self._open()
        if self.dialect.shared or getattr(self._bare(made.fs), "async_impl", False):
            with self._lock:
                self._shared = made
        return made

    def _taken(self) -> Lent | None:
        with self._lock:
            if self._shared is not None:
                return self._shared
            return self._idle.pop() if self._idle else None

    def give_back(self, lent: Lent) -> None:
        """Take a filesystem back; one that is unfit, or one too many, is closed."""
        with self._lock:
            if lent is self._shared:
                return
            if not lent.unfit and len(self._idle) < IDLE:
                self._idle.append(lent)
                return
        closed = getattr(self._bare(lent.fs), "ftp", None)
        if closed is not None:
            closed.close()

    def _bare(self, fs: Any) -> Any:
        """What does the work: ``dir`` says of itself that it is asynchronous, whatever it wraps."""
        for link in self.links:
            if link != "dir":
                break
            fs = fs.fs
        return fs

    @property
    def shown(self) -> str:
        """The root for messages: it never holds a password."""
        return self.root

    def outer(self) -> str:
        """What tells the current version of the archive from others: one request; empty if it is no archive."""
        if self.links[0] not in CONTAINERS or self.links[0] == "dir":
            return ""
        with self._outer_lock:
            if self._outer is None:
                self._outer = self._opened(self.root.partition("::")[2].removesuffix("!"), self.links[1:])
            fs, path = self._outer
            try:
                fs.invalidate_cache()
                return version_of(fs.info(path)).etag or ""
            except BaseException:
                self._outer = None  # the next one asks over a fresh connection
                raise

    def _open(self) -> Lent:
        outer = self.outer()
        fs, path = self._opened(self.root.removesuffix("!"), self.links)
        inside = self.links[0] in CONTAINERS
        return Lent(fs=fs, root="" if inside else path, outer=outer)

    def _opened(self, url: str, links: tuple[str, ...]) -> tuple[Any, str]:
        """The filesystem and path of a URL; never one of its own cache, which threads would share."""
        if "ftp" in links:
            importlib.import_module("crossdock.connectors.fsspec_bridge.ftps").register()
        nested = nested_options(self._options, self.links)
        given: dict[str, Any] = {link: dict(nested[link]) for link in links}
        for (
            each
        ) in given.values():  # the inner ones too: two threads would speak over one connection of theirs
            each["skip_instance_cache"] = True
        try:
            fs, path = fsspec.url_to_fs(url, **given)
        except (TypeError, ValueError) as error:
            if isinstance(
                error, CrossdockError | OSError
            ):  # of OSErrors a refused certificate is a ValueError too
                raise
            raise ConfigError(
                f"{links[0]}:// does not open with these options: {error}",
                hint=f"see `crossdock connectors {links[0]}`",
            ) from error
        return fs, str(path)


def _values(options: FsspecOptions) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def _secrets_in(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _secrets_in(each)


def _identity(value: Any) -> Any:
    """Equal for equal options; a secret counts by its reference, or by a digest."""
    if isinstance(value, Secret):
        text = str(value.__reduce__()[1][0]) if value.is_reference else value.reveal()
        return hashlib.sha256(text.encode()).digest()
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), _identity(each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(_identity, value))
    return repr(value)


_known: OrderedDict[tuple[Any, ...], Filesystems] = OrderedDict()
_known_lock = threading.Lock()


def filesystems_for(root: str, options: FsspecOptions) -> Filesystems:
    """The open filesystems of a recipe, the same for equal recipes of one process (and not of its children)."""
    identity = (os.getpid(), root, _identity(_values(options)))
    with _known_lock:
        found = _known.get(identity)
        if found is None:
            found = _known[identity] = Filesystems(root, options)
            while len(_known) > RECIPES:
                _known.popitem(last=False)
        _known.move_to_end(identity)
    return found
