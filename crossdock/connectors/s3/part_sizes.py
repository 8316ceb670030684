"""In what parts an object was uploaded: what ``md5(md5s)-N`` has to be recomputed with.

HEAD with ``partNumber`` answers with the size of that part and the number of parts, of any object uploaded in parts;
GetObjectAttributes would name all parts at once, but only of objects with additional checksums, which need them least.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from crossdock.connectors.native import quoted
from crossdock.connectors.s3.client import Client
from crossdock.connectors.s3.headers import info_of, multipart_count
from crossdock.connectors.s3.reading import demand_version
from crossdock.errors import RangeError
from crossdock.model import ObjectInfo

__all__ = ["part_sizes"]


def part_sizes(client: Client, info: ObjectInfo, *, every: bool) -> tuple[int, ...] | None:
    """See ``ports.PartSizes``; pinned to the object's ETag. With ``every`` one HEAD a part, so 10,000 at most."""
    count = multipart_count(info.version.etag)
    if not count or info.size is None:
        return None
    if count == 1:
        return (info.size,)
    if not every:
        first = _size_of(client, info, 1, count)
        return _equal(first, count, info.size) if first is not None else None
    sizes = []
    for number in range(1, count + 1):
        size = _size_of(client, info, number, count)
        if size is None:
            return None
        sizes.append(size)
    return tuple(sizes) if sum(sizes) == info.size else None


def _equal(first: int, count: int, size: int) -> tuple[int, ...] | None:
    """Equal parts, the last at most as large: ``None`` if so many of this size do not make the object."""
    last = size - first * (count - 1)
    return (first,) * (count - 1) + (last,) if 0 < last <= first else None


def _size_of(client: Client, info: ObjectInfo, number: int, count: int) -> int | None:
    """One HEAD; ``None`` from a server that does not know parts, and answers with the whole object."""
    headers = {} if info.version.etag is None else {"If-Match": quoted(info.version.etag)}
    try:
        answer = client.call("stat", "HEAD", info.key, query={"partNumber": str(number)}, headers=headers)
    except RangeError:
        return None
    length = answer.headers.get("content-length", "")
    seen = info_of(info.key, 0, answer.headers)
    demand_version(seen, info.version, operation="stat", where=client.where)
    said = answer.headers.get("x-amz-mp-parts-count")
    if not length.isdigit() or (said is not None and said != str(count)):
        return None
    size = int(length)
    return size if said is not None or size != info.size else None
