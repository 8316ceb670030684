"""Copies inside one account: Put Block From URL of each range, then one conditional Put Block List.

Copy Blob would show an empty object under the final key while it is pending, leave one if it fails, and cannot set
Content-Type; this shows nothing until it is whole, is pinned at every range and carries exactly the metadata asked for.
https://learn.microsoft.com/rest/api/storageservices/put-block-from-url
"""

from __future__ import annotations

import base64

from crossdock.connectors.azure.blocks import commit, id_bytes_for, new_id
from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.errors import container_is_missing
from crossdock.connectors.azure.headers import crc64_in, pin
from crossdock.connectors.azure.names import MAX_BLOCKS
from crossdock.connectors.digests import combine_parts
from crossdock.errors import NotFoundError, UnsupportedError
from crossdock.model import MIB, ByteRange, Condition, Digests, Metadata, ObjectInfo, Part

__all__ = ["copy_blocks"]

_BLOCK = 256 * MIB  # the service is silent while it copies one: this much takes seconds


def copy_blocks(
    client: Client, container: str, key: str, *, info: ObjectInfo, metadata: Metadata, condition: Condition
) -> ObjectInfo:
    """Copy ``info`` of a container of this account to ``key``. Two requests and one for each 256 MiB.

    A block that is the whole object is compared with the source's MD5 by the service, if one is known; otherwise the
    service's CRC-64/NVME of each block is combined. A failure leaves blocks that nobody sees; the service drops them.

    Raises:
        PreconditionError: The source was replaced, or the destination is not in the demanded state.
    """
    place = {"operation": "copy", "where": client.where, "key": key}
    if not info.size:
        raise UnsupportedError("an empty object has no blocks", **place)  # type: ignore[arg-type]
    id_bytes = id_bytes_for(client, key, operation="copy")
    url, more = client.readable(container, info.key)
    pinned = pin(info.version, "x-ms-source-if-match", **place)
    block_size = max(
        _BLOCK, -(-info.size // MAX_BLOCKS // MIB) * MIB + MIB if info.size > _BLOCK * MAX_BLOCKS else 0
    )
    spans = [*ByteRange(0, info.size).split(block_size)]
    whole_md5 = info.digests.md5 if len(spans) == 1 else None
    parts = []
    for number, span in enumerate(spans, start=1):
        block = new_id(id_bytes)
        sent = {"x-ms-copy-source": url, "x-ms-source-range": f"bytes={span.start}-{span.end - 1}"}
        if whole_md5 is not None:
            sent["x-ms-source-content-md5"] = base64.b64encode(whole_md5).decode()
        try:
            answer = client.call(
                "copy", "PUT", key, query={"comp": "block", "blockid": block}, headers=sent | pinned | more
            )
        except NotFoundError as error:
            if container_is_missing(error):
                raise
            raise NotFoundError("the source is gone", **place) from error  # type: ignore[arg-type]
        digests = Digests(crc64nvme=crc64_in(answer.headers))
        parts.append(Part(number=number, size=len(span), etag=block, digests=digests))
    version = commit(
        client,
        key,
        [part.etag for part in parts],
        operation="copy",
        metadata=metadata,
        md5=info.digests.md5,
        condition=condition,
    )
    return ObjectInfo(
        key=key,
        size=info.size,
        version=version,
        digests=Digests(md5=whole_md5, crc64nvme=combine_parts(parts).crc64nvme),
        metadata=metadata,
    )
