"""What a store's test tells the suite, and the few words all checks are written in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

import google_crc32c
import pytest
from awscrt import checksums

from crossdock.errors import NotFoundError
from crossdock.model import (
    ANY,
    NO_DIGESTS,
    NO_METADATA,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
)
from crossdock.ports import ObjectStore

__all__ = ["KEY", "SuiteBase", "content", "digests_of", "keys_in", "wrong"]

KEY = "folder/object.bin"


class SuiteBase:
    """The knobs of a suite; a subclass defines the fixture ``store`` and overrides what differs.

    Attributes:
        left_out_keys: Keys that the *server* of this test gets wrong (not the connector), each with the reason; the
            checks of these keys are skipped and show it.
        nested_keys: Whether ``x`` and ``x/y`` can both exist.
        secrets: Literal secrets the store was built with: they must not show in pickles, reprs and URLs.
        machine_examples: How many sequences of calls are drawn to compare the store with a dict.
        machine_steps: How many calls each has at most.
        machine_shrinks: Whether a sequence that fails is made shorter, which takes minutes on a store that is not in memory.
        machine_metadata: Whether the *server* of this test invents no metadata of its own, so that it can be compared.
        parts_belong_to_keys: Whether the service keeps parts with the key and not with an upload (Azure): a write of the key
            ends its uploads, and the emulator takes the parts of an absent key for an object when one is to be created.
    """

    left_out_keys: Mapping[str, str] = {}
    nested_keys: bool = True
    secrets: Sequence[str] = ()
    machine_examples: int = 10
    machine_steps: int = 30
    machine_shrinks: bool = False
    machine_metadata: bool = True
    parts_belong_to_keys: bool = False

    @pytest.fixture
    def store(self) -> ObjectStore:
        """A fresh, empty, writable store; fresh for each test."""
        raise NotImplementedError("define a fixture `store` in the test class")

    def back_door(self, store: ObjectStore, key: str) -> bytes | None:
        """The bytes under ``key`` by a route that is not ours; ``None`` if there are none.

        Without an override they are read through the store itself, which proves less.
        """
        try:
            return bytes(store.read(key).read_all())
        except NotFoundError:
            return None

    def seed(
        self, store: ObjectStore, key: str, data: bytes, *, metadata: Metadata = NO_METADATA
    ) -> ObjectInfo:
        """Bring an object about; a test of a read-only store overrides it and writes behind the store's back."""
        return store.put(key, data, metadata=metadata)

    def unseed(self, store: ObjectStore, key: str) -> None:
        """Remove an object again; see ``seed``."""
        store.delete(key)

    def supports_key(self, key: str) -> bool:  # noqa: ARG002 - what subclasses decide by
        """Whether the service can hold this key, by its own documentation; ``refusal`` must say the same."""
        return True

    def missing_store(self, store: ObjectStore) -> ObjectStore | None:  # noqa: ARG002 - for subclasses
        """A store like ``store`` on a bucket that does not exist; ``None`` if there is no such thing."""
        return None

    def usable_keys(self, keys: Sequence[str]) -> list[str]:
        """Those that can be put side by side into this store."""
        usable = [key for key in keys if self.supports_key(key) and key not in self.left_out_keys]
        if self.nested_keys:
            return usable
        return [key for key in usable if not any(other.startswith(f"{key}/") for other in usable)]

    def part_size(self, store: ObjectStore) -> int:
        """The size in bytes of the parts the checks use: as small as the store takes."""
        return max(store.capabilities.min_part_size, 1_024)

    def upload(
        self,
        store: ObjectStore,
        key: str,
        data: bytes,
        *,
        metadata: Metadata = NO_METADATA,
        digests: Digests = NO_DIGESTS,
        condition: Condition = ANY,
    ) -> ObjectInfo:
        """Write ``data`` in parts."""
        size = self.part_size(store)
        upload = store.begin(key, part_size_bytes=size, metadata=metadata, size=len(data))
        parts = self.put_parts(store, upload, data)
        try:
            return store.complete(upload, parts, size=len(data), digests=digests, condition=condition)
        except BaseException:
            store.abort(upload)
            raise

    def put_parts(self, store: ObjectStore, upload: Upload, data: bytes) -> list[Part]:
        """Send all parts of ``data``, the last first unless the store wants them in order, and list them in order."""
        size = upload.part_size_bytes
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        numbered = [*enumerate(pieces, start=1)]
        if not store.capabilities.ordered_parts:
            numbered.reverse()
        sent = [
            store.put_part(upload, number, piece, digests=self.part_digests(store, piece))
            for number, piece in numbered
        ]
        return sorted(sent, key=lambda part: part.number)

    def part_digests(self, store: ObjectStore, piece: bytes) -> Digests:
        """The digests of a part that this store says it checks."""
        return only(digests_of(piece), store.capabilities.part_checks)

    def assert_untouched(self, store: ObjectStore, key: str, expected: bytes | None) -> None:
        """By the back door and by the store: ``key`` still holds ``expected`` (``None``: nothing)."""
        assert expected == self.back_door(store, key)
        if expected is None:
            with pytest.raises(NotFoundError):
                store.stat(key)
        else:
            assert len(expected) == store.stat(key).size


def content(size: int, seed: int = 0) -> bytes:
    """``size`` bytes that repeat nowhere, the same for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - reproducible, not secret


def digests_of(data: bytes) -> Digests:
    """All digests of ``data``, computed without the project's own code."""
    return Digests(
        md5=hashlib.md5(data, usedforsecurity=False).digest(),
        sha256=hashlib.sha256(data).digest(),
        crc32c=google_crc32c.value(data).to_bytes(4, "big"),
        crc64nvme=checksums.crc64nvme(data).to_bytes(8, "big"),
    )


def only(digests: Digests, names: frozenset[str]) -> Digests:
    """These digests and no others."""
    chosen = {name: value for name, value in digests.as_dict().items() if name in names}
    return Digests(**chosen)  # type: ignore[arg-type]


def wrong(data: bytes, name: str) -> Digests:
    """One digest of that name that is not of ``data``, but well-formed."""
    return only(digests_of(data + b"!"), frozenset({name}))


def keys_in(store: ObjectStore, prefix: str = "", *, start_after: str | None = None) -> list[str]:
    """All keys the store lists, in its order."""
    return [info.key for page in store.list(prefix, start_after=start_after) for info in page]
