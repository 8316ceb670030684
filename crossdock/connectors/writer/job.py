"""What one call of the writer works on, and the two commits every way of writing ends in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crossdock import crash_points
from crossdock.connectors import commits
from crossdock.connectors.bandwidth import Bandwidth, process_bandwidth
from crossdock.connectors.budget import Budget, process_budget
from crossdock.connectors.published import Published, from_answer, learn
from crossdock.connectors.strategy import Method, TransferOptions
from crossdock.errors import UnsupportedError
from crossdock.model import (
    NO_METADATA,
    Condition,
    Digests,
    Metadata,
    ObjectInfo,
    Part,
    Upload,
    Verification,
)
from crossdock.ports import Chunk, ObjectStore

__all__ = ["Job", "Written", "complete", "described", "job_of", "keepable", "put"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one call of ``write`` works on. ``attempt`` counts the times the source was read and did not agree."""

    store: ObjectStore
    key: str
    condition: Condition
    options: TransferOptions
    budget: Budget
    bandwidth: Bandwidth
    attempt: int = 0

    @property
    def place(self) -> str:
        """The destination's URL."""
        return f"{self.store.url}/{self.key}"

    @property
    def is_cheap(self) -> bool:
        """Whether nothing is to be computed only to prove the source."""
        wanted = self.options.wanted
        return wanted is not None and wanted < Verification.V2

    def learn(self, source: ObjectInfo, store: ObjectStore | None, *, in_parts: bool) -> Published:
        """What the source publishes; see ``published.learn``."""
        return learn(source, store, wanted=self.options.wanted, in_parts=in_parts, again=self.attempt > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one way of writing came to: the source as read and proven, the destination as it stands, our own digests."""

    known: Published
    result: ObjectInfo
    size: int
    computed: Digests
    method: Method
    parts: int = 1
    lost: tuple[str, ...] = ()


def job_of(
    store: ObjectStore, key: str, *, condition: Condition, options: TransferOptions, attempt: int = 0
) -> Job:
    """A job of this process: its payload counts towards the one budget all writes share.

    Raises:
        UnsupportedError: The destination cannot hold this key.
    """
    refusal = store.refusal(key)
    if refusal:
        raise UnsupportedError(refusal, operation="put", where=store.url, key=key)
    budget = process_budget(options.max_in_flight_bytes)
    return Job(
        store=store,
        key=key,
        condition=condition,
        options=options,
        budget=budget,
        bandwidth=process_bandwidth(options.bandwidth_bytes_per_s),
        attempt=attempt,
    )


def keepable(metadata: Metadata, store: ObjectStore) -> tuple[Metadata, tuple[str, ...]]:
    """What the destination can carry, and the names of what it cannot."""
    can = store.capabilities.metadata_fields
    lost = tuple(name for name in metadata.present() if name.split(".", 1)[0] not in can)
    if not lost:
        return metadata, ()
    system = {name: getattr(metadata, name) for name in Metadata.FIELDS if name in can}
    return Metadata(**system, user=metadata.user if "user" in can else {}), lost


def described(answer: ObjectInfo, listed: ObjectInfo, store: ObjectStore) -> ObjectInfo:
    """The source as the read's answer tells it; asks once more where the answer carries no metadata."""
    version = answer.version or listed.version
    metadata = answer.metadata if answer.metadata is not None else listed.metadata
    digests = from_answer(answer, listed)
    if metadata is None:
        asked = store.stat(listed.key, version=version)
        metadata, digests = (
            asked.metadata or NO_METADATA,
            from_answer(asked, replace(answer, digests=digests)),
        )
    return replace(answer, version=version, metadata=metadata, digests=digests)


def put(job: Job, data: Chunk, metadata: Metadata, computed: Digests) -> ObjectInfo:
    """Commit in one request; see ``commits.commit``."""
    crash_points.reached("before-commit")
    result = commits.commit(
        lambda: job.store.put(job.key, data, metadata=metadata, digests=computed, condition=job.condition),
        store=job.store,
        key=job.key,
        size=len(data),
        digests=computed,
    )
    crash_points.reached("after-commit")
    return result


def complete(job: Job, upload: Upload, parts: list[Part], size: int, computed: Digests) -> ObjectInfo:
    """Commit an upload in parts; see ``commits.commit``."""
    crash_points.reached("before-commit")
    result = commits.commit(
        lambda: job.store.complete(upload, parts, size=size, digests=computed, condition=job.condition),
        store=job.store,
        key=job.key,
        size=size,
        digests=commits.with_parts(computed, parts),
        settle=lambda: job.store.abort(upload),
    )
    crash_points.reached("after-commit")
    return result
