"""Small files of a run, at any URL: whole objects through the ``ObjectStore`` port, put atomically and proven."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.commits import commit
from crossdock.connectors.digests import choose_digests, digest_of
from crossdock.errors import CrossdockError, LedgerError, NotFoundError
from crossdock.model import ABSENT, ANY, NO_DIGESTS, NO_VERSION, Condition, Metadata, Version
from crossdock.ports import ObjectStore

__all__ = ["RunFiles", "demand"]

_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8"}  # people open these


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Files below one prefix of one store. Picklable; thread-safe; holds nothing in memory."""

    store: ObjectStore
    prefix: str

    @property
    def url(self) -> str:
        """Where they are, without a final ``/``."""
        return f"{self.store.url}/{self.prefix}".rstrip("/")

    def put(self, name: str, data: bytes, *, condition: Condition = ANY) -> Version:
        """Write one file: whole or not at all. Requests: one, more if the outcome of one is unknown.

        Raises:
            PreconditionError: The file is not in the state ``condition`` demands.
            StorageError: It could not be written.
        """
        can = self.store.capabilities
        digests = digest_of(data, choose_digests(NO_DIGESTS, can.put_checks, can.publishes))
        kind = _TYPES.get(name[name.rfind(".") :]) if "content_type" in can.metadata_fields else None
        metadata = Metadata(content_type=kind)
        key = self.prefix + name
        written = commit(
            lambda: self.store.put(
                key, data, metadata=metadata, digests=digests, condition=demand(self.store, condition)
            ),
            store=self.store,
            key=key,
            size=len(data),
            digests=digests,
        )
        return written.version

    def put_json(self, name: str, value: Any, *, condition: Condition = ANY) -> Version:
        """Write one JSON document, for people to read too."""
        text = json.dumps(value, indent=2, ensure_ascii=True, default=str)
        return self.put(name, f"{text}\n".encode(), condition=condition)

    def get(self, name: str) -> tuple[bytes, Version]:
        """One file's bytes and version.

        Raises:
            NotFoundError: There is no such file.
        """
        reader = self.store.read(self.prefix + name)
        try:
            return bytes(reader.read_all()), reader.info.version
        finally:
            reader.close()

    def get_json(self, name: str) -> tuple[dict[str, Any], Version]:
        """One JSON document and its version.

        Raises:
            NotFoundError: There is no such file.
            LedgerError: It is not JSON.
        """
        data, version = self.get(name)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise LedgerError(f"not JSON: {error}", operation="read run", where=self.url, key=name) from error
        if not isinstance(value, dict):
            raise LedgerError("not a JSON object", operation="read run", where=self.url, key=name)
        return value, version

    def names(self, prefix: str = "", *, start_after: str | None = None) -> Iterator[str]:
        """Names below the run's prefix that start with ``prefix``, in order; one request for 1,000."""
        after = None if start_after is None else self.prefix + start_after
        try:
            for page in self.store.list(self.prefix + prefix, start_after=after):
                for info in page:
                    yield info.key[len(self.prefix) :]
        except NotFoundError as error:
            raise LedgerError("the run directory is gone", operation="read run", where=self.url) from error

    def exists(self, name: str) -> bool:
        """Whether there is such a file. One request."""
        try:
            self.store.stat(self.prefix + name)
        except NotFoundError:
            return False
        return True

    def delete(self, name: str, version: Version = NO_VERSION) -> None:
        """Remove one file; one that is not there is fine."""
        self.store.delete(self.prefix + name, version=version)

    def failed(self, error: CrossdockError, operation: str, name: str) -> LedgerError:
        """The same failure as the run's, to be raised ``from error``."""
        return LedgerError(
            error.cause or str(error),
            operation=operation,
            where=self.url,
            key=name,
            attempts=error.attempts,
            retry=error.retry,
            hint=error.hint,
        )


def demand(store: ObjectStore, condition: Condition) -> Condition:
    """The condition, as far as the store can hold it; a store that cannot is written without."""
    if condition == ABSENT and not store.capabilities.create_if_absent:
        return ANY
    if condition.version and not store.capabilities.replace_if_match:
        return ANY
    return condition
