"""A source that can be stopped in the middle of an object: a layer round its store, for Ctrl-C within seconds.

Once the stop is set no read begins and none goes on, so that the writer fails as it would for any failing source: it
aborts its upload and leaves the destination as it was. The row has no record then, and stays pending.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

from crossdock.connectors.objects import ObjectSource
from crossdock.errors import CrossdockError
from crossdock.model import NO_VERSION, ByteRange, ObjectInfo, Version
from crossdock.ports import Chunk, ObjectReader, ObjectStore

__all__ = ["stoppable"]


def stoppable(source: ObjectSource, stop: threading.Event) -> ObjectSource:
    """The same source, whose reads raise once ``stop`` is set."""
    return ObjectSource(cast("ObjectStore", _StoppableStore(source.store, stop)), source.prefix)


class _StoppableStore:
    """Everything but ``read`` is the inner store's own."""

    def __init__(self, inner: ObjectStore, stop: threading.Event) -> None:
        self.inner = inner
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(
        self, key: str, byte_range: ByteRange | None = None, *, version: Version = NO_VERSION
    ) -> ObjectReader:
        """See the port."""
        self._demand_going(key)
        return _StoppableReader(self.inner.read(key, byte_range, version=version), self, key)

    def _demand_going(self, key: str) -> None:
        if self._stop.is_set():
            raise CrossdockError("the run was stopped", operation="read", where=self.inner.url, key=key)


class _StoppableReader:
    def __init__(self, inner: ObjectReader, store: _StoppableStore, key: str) -> None:
        self._inner = inner
        self._store = store
        self._key = key

    @property
    def info(self) -> ObjectInfo:
        return self._inner.info

    def __iter__(self) -> Iterator[Chunk]:
        for chunk in self._inner:
            self._store._demand_going(self._key)  # noqa: SLF001 - two halves of one layer
            yield chunk

    def read_all(self) -> Chunk:
        return self._inner.read_all()

    def close(self) -> None:
        self._inner.close()
