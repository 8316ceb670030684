"""A dataset to write to as a task: ``sink(batches, batch_id="2024-05-01")`` gives a receipt."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from crossdock.batches import Batches
from crossdock.connectors.budget import share_one_heap
from crossdock.connectors.objects import ObjectSink
from crossdock.datasets.derived import Partitioner, partitioner_of
from crossdock.datasets.state import Committed, batch_key, found_state
from crossdock.datasets.vacuuming import Vacuumed, vacuum
from crossdock.datasets.writing import Added, Request, add_batch, demand_batch_id
from crossdock.errors import ConfigError, NotFoundError, UnsupportedError
from crossdock.formats.encoding import Encode, encode
from crossdock.model import MIB, Receipt, Verification
from crossdock.options import parse_size
from crossdock.tasks import Task

__all__ = ["DatasetReceipt", "DatasetSink", "dataset_in", "dataset_sink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReceipt(Receipt):
    """The proof of one batch. ``key`` and ``version`` are of the object that lists its data objects; ``size`` is theirs together.

    Attributes:
        objects: Data objects that hold the batch.
        partitions: Among how many partitions they are.
    """

    objects: int = 0
    partitions: int = 0


class DatasetSink(Task):
    """One dataset to add batches of rows to. A picklable recipe: building one opens nothing. See ``dataset_sink``."""

    def __init__(self, into: ObjectSink, request: Request) -> None:
        self._into = into
        self.request = request
        share_one_heap()
        self.name = f"{type(self).__name__}({self.url})"

    @property
    def url(self) -> str:
        """Store and prefix as one URL, without secrets."""
        return f"{self.request.store.url}/{self.request.prefix}"

    def run(self, batches: Any, *, batch_id: str | None = None, note: str = "") -> DatasetReceipt:
        """Add one stream of rows, all of it or nothing.

        Readers by ``xd.dataset`` see none of it before all is there. Rows keep their order within a partition. Memory:
        ``memory_bytes`` of rows, a piece of a batch of the source, and what the encoder and the upload of one object take.
        Disk: the rows of objects that are not full yet, compressed, in the task's scratch directory. Requests: those of the
        objects, one after the other, and two or three for the batch's state.

        A stream or a store that fails leaves nothing. A killed process leaves objects that no reader sees; the next attempt of the
        same batch deletes them, or ``vacuum``.

        Args:
            batches: Record batches, or anything table-like (``Batches.of``). Read once, closed in any case.
            batch_id: A name for these rows. Another stream under the same name replaces them, at one moment; the same rows again
                change nothing. Without one, each call adds rows.
            note: A short text kept with the batch, such as what its rows were made of; ``committed`` tells it.

        Returns:
            A receipt with rows, bytes and objects.

        Raises:
            ConfigError: The columns do not fit ``partition_by``, or a value has no place in a key. Nothing was written.
            UnsafeError: There are more than ``max_partitions``. Nothing is left.
            PreconditionError: Another attempt of the same batch began meanwhile. Nothing is left of this one.
            UnsupportedError: The store cannot hold a key: a value is too long for it. Nothing is left.
            StorageError: The store failed. Nothing is left, unless a note says otherwise.
        """
        began = time.monotonic()
        with Batches.of(batches) as rows:
            name = demand_batch_id(batch_id) if batch_id is not None else uuid.uuid4().hex
            added = add_batch(rows, self.request, name, is_named=batch_id is not None, note=note)
        return self._receipt(name, added, time.monotonic() - began)

    def _receipt(self, batch: str, added: Added, duration_s: float) -> DatasetReceipt:
        done = added.state.committed
        if done is None:
            raise ConfigError("a batch ended without a commit", operation="write", where=self.url)
        objects, sent = done.objects, added.receipts
        how = f"{len(objects)} objects listed by one conditional put"
        if added.was_done:
            how = f"batch {batch!r} was there as it is, in {len(objects)} objects; nothing changed"
        if added.spills:
            how += f"; rows were spilled to disk {added.spills} times"
        if added.left:
            how += f"; {len(added.left)} superfluous objects could not be deleted: vacuum() removes them"
        return DatasetReceipt(
            source="",
            destination=self.url,
            key=self.request.prefix + batch_key(batch),
            size=done.size,
            version=added.state.version,
            verification=min((each.verification for each in sent), default=Verification.V0),
            evidence=how,
            method="skip" if added.was_done else "dataset",
            retries=sum(each.retries for each in sent),
            resent_bytes=sum(each.resent_bytes for each in sent),
            rows=done.rows,
            duration_s=duration_s,
            objects=len(objects),
            partitions=len({each.values for each in objects}),
        )

    def vacuum(self, *, older_than: timedelta = timedelta(days=1)) -> Vacuumed:
        """Delete what killed processes left: objects named as ours that no batch lists, and uploads begun for such.

        What is listed, what belongs to an attempt that began less than ``older_than`` ago, and what has any other name stays.
        An older attempt is taken over first, so that it can commit no more. Requests: one listing, one for each batch, one for each
        deletion. Twice is fine.
        """
        return vacuum(self.request.store, self.request.prefix, older_than=older_than)

    def committed(self, batch_id: str) -> Committed | None:
        """What is visible of a batch, if anything is; one request."""
        state = found_state(self.request.store, self.request.prefix, batch_id)
        return None if state is None else state.committed

    def confirms(self, receipt: Receipt) -> bool:
        """Whether the batch is still what a receipt proves, for a cache; one request. Data objects are not asked for."""
        if receipt.destination != self.url:
            return False
        try:
            return bool(receipt.version) and self.request.store.stat(receipt.key).version == receipt.version
        except NotFoundError:
            return False

    def __crossdock_fingerprint__(self) -> Any:
        """Where and how it writes, for the hash of a piece of work; no secret."""
        request = self.request
        return (
            self._into.__crossdock_fingerprint__(),
            repr(request.encode),
            [(name, repr(of)) for name, of in request.partitioner.columns],
            request.target_size_bytes,
        )

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return self._into.preflight_place

    def preflight(self) -> None:
        """Prove here that the store can be reached; runners ask on each worker before work starts."""
        self._into.preflight()

    def __repr__(self) -> str:
        return self.name


def dataset_sink(
    url: str,
    *,
    format: str | Encode = "parquet",
    partition_by: str | Sequence[Any] | Mapping[str, Any] = (),
    target_size: int | str = "128MiB",
    max_open: int = 1024,
    memory: int | str = "64MiB",
    max_partitions: int = 10_000,
    on_done: str = "replace",
    **options: Any,
) -> DatasetSink:
    """A prefix to write tables below, partitioned, all or nothing: ``xd.dataset_sink("s3://lake/trips/", partition_by=["year"])``.

    Takes whatever holds rows, in any order. Objects are ``year=2024/month=1/part-<batch>-<attempt>-<number>.parquet``, each of one
    partition; partition columns are in the keys and not in the objects. Readers that only list also see objects of batches that are
    not committed yet; ``xd.dataset`` does not.

    Args:
        url: A prefix; ``/`` is added. The store has to have conditional writes.
        format: As for ``xd.encode``, or an ``xd.encode(...)`` with options.
        partition_by: Column names; ``xd.hour("pickup")`` and its kin; or a mapping of names to either, or to a function of a batch
            that gives an array. In the order of the key's segments.
        target_size: About how large objects become, as far as there are rows; told by the size of those before.
        max_open: Partitions with rows in memory; the others wait on disk.
        memory: Bytes of rows in memory, over all partitions.
        max_partitions: More in one call are refused: a column of too many values makes as many objects.
        on_done: What a call with the ``batch_id`` of a committed batch does: ``replace`` writes and compares; ``skip`` reads nothing.
        **options: The connector's, and those of ``TransferOptions``.

    Raises:
        ConfigError: An argument makes no sense.
        UnsupportedError: The store has no conditional writes.
        MissingExtraError: The connector's package is not installed.
    """
    import crossdock

    if on_done not in ("replace", "skip"):
        raise ConfigError(f"on_done is 'replace' or 'skip', not {on_done!r}", operation="open")
    for name, value in (("max_open", max_open), ("max_partitions", max_partitions)):
        if value < 1:
            raise ConfigError(f"{name} is at least 1, not {value}", operation="open")
    into: Any = crossdock.sink(url if url.endswith("/") else f"{url}/", **options)
    if not isinstance(into, ObjectSink):
        raise ConfigError(
            "a dataset is made of objects, and this is a database",
            operation="open",
            where=into.url,
            hint="xd.sink(url) writes its tables",
        )
    return dataset_in(
        into,
        format if isinstance(format, Encode) else encode(format),
        partitioner_of(partition_by),
        target_size_bytes=_size("target_size", target_size),
        max_open=max_open,
        memory_bytes=_size("memory", memory),
        max_partitions=max_partitions,
        skips_done=on_done == "skip",
    )


def dataset_in(
    into: ObjectSink,
    format: Encode,
    partitioner: Partitioner,
    *,
    target_size_bytes: int = 128 * MIB,
    max_open: int = 1024,
    memory_bytes: int = 64 * MIB,
    max_partitions: int = 10_000,
    skips_done: bool = False,
) -> DatasetSink:
    """The same below the prefix of a sink of objects, of which also the transfer's options are taken.

    Raises:
        UnsupportedError: The store has no conditional writes.
    """
    can = into.store.capabilities
    if not (can.create_if_absent and can.replace_if_match and can.lists):
        raise UnsupportedError(
            "this store has no conditional writes, so a batch could not be added all or nothing",
            operation="open",
            where=into.url,
            hint="write to S3, Google Cloud Storage, Azure or a directory, and copy from there",
        )
    request = Request(
        store=into.store,
        prefix=into.prefix if into.prefix.endswith("/") or not into.prefix else f"{into.prefix}/",
        encode=format,
        partitioner=partitioner,
        target_size_bytes=target_size_bytes,
        max_open=max_open,
        memory_bytes=memory_bytes,
        max_partitions=max_partitions,
        transfer=into.transfer,
        skips_done=skips_done,
    )
    return DatasetSink(into, request)


def _size(name: str, given: int | str) -> int:
    try:
        size = given if isinstance(given, int) else parse_size(given)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", operation="open") from error
    if size < 1:
        raise ConfigError(f"{name} is at least 1 byte, not {size}", operation="open")
    return size
