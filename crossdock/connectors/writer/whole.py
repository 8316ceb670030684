"""Objects that move in one request: a copy inside the service, or one read and one put."""

from __future__ import annotations

from crossdock.connectors import commits, evidence
from crossdock.connectors.digests import Hasher, choose_digests
from crossdock.connectors.strategy import Method
from crossdock.connectors.streams import ObjectStream
from crossdock.connectors.writer.job import Job, Written, described, keepable, put
from crossdock.errors import ConnectionLostError
from crossdock.events import BytesMoved, emit
from crossdock.model import (
    NO_METADATA,
    Digests,
)

__all__ = ["copy_inside", "put_whole"]


def copy_inside(stream: ObjectStream, job: Job) -> Written:
    """Let the service copy: no bytes pass here."""
    info = stream.info
    if info.metadata is None:
        info = stream.store.stat(stream.key, version=info.version)
    metadata, lost = keepable(info.metadata or NO_METADATA, job.store)
    result = commits.commit(
        lambda: job.store.copy(
            stream.store.url, stream.key, job.key, info=info, metadata=metadata, condition=job.condition
        ),
        store=job.store,
        key=job.key,
        size=info.size or 0,
        digests=info.digests,
    )
    emit(BytesMoved(bytes=info.size or 0))
    return Written(
        source=info, result=result, size=info.size or 0, computed=Digests(), method=Method.COPY, lost=lost
    )


def put_whole(stream: ObjectStream, job: Job) -> Written:
    """One read, one put: the common case, so nothing here asks for more than it must."""
    size = stream.info.size or 0
    sink = job.store.capabilities
    with job.budget.holding(size):
        reader = stream.opened()
        try:
            data = reader.read_all()
        finally:
            reader.close()
        source = described(reader.info, stream.info, stream.store)
        if len(data) != size:
            raise ConnectionLostError(
                f"{len(data)} of {size} bytes arrived",
                operation="read",
                where=stream.store.url,
                key=stream.key,
            )
        metadata, lost = keepable(source.metadata or NO_METADATA, job.store)
        names = choose_digests(source.digests, sink.put_checks, sink.publishes)
        hasher = Hasher(names)
        hasher.update(data)
        computed = hasher.digests()
        source = evidence.check_source(source, computed, stream.store)
        result = put(job, data, metadata, computed)
    emit(BytesMoved(bytes=size))
    return Written(source=source, result=result, size=size, computed=computed, method=Method.PUT, lost=lost)
