"""Blocks of one blob: staged, listed, committed on a condition. What uploads and copies are made of.

Staged blocks belong to the blob's name: every writer's lie side by side there, ids must be equally long, and whatever
commits next drops all the others. https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence

from crossdock.connectors.azure.client import Client
from crossdock.connectors.azure.documents import BlockList, MalformedError, block_list_body, parse_block_list
from crossdock.connectors.azure.errors import container_is_missing
from crossdock.connectors.azure.headers import condition_headers, etag_in
from crossdock.connectors.azure.metadata import encoded, metadata_headers
from crossdock.errors import ConnectionLostError, NotFoundError, UnsupportedError
from crossdock.model import Condition, Metadata, Version

__all__ = ["ID_BYTES", "commit", "id_bytes_for", "list_blocks", "new_id"]

ID_BYTES = 48
"""Random bytes of a block id, where nobody else's blocks ask for another length."""
_LEAST = 8  # fewer random bytes could meet another block's id


def new_id(id_bytes: int) -> str:
    """An id no other attempt has: a part that comes late, or twice, is never taken for another."""
    return base64.b64encode(secrets.token_bytes(id_bytes)).decode()


def list_blocks(client: Client, key: str, *, operation: str) -> tuple[BlockList, Version]:
    """All blocks of a blob, and its version; nothing and no version where there is no blob. One request.

    Raises:
        NotFoundError: There is no such container.
        ConnectionLostError: The answer is cut.
    """
    try:
        answer = client.call(operation, "GET", key, query={"comp": "blocklist", "blocklisttype": "all"})
    except NotFoundError as error:
        if container_is_missing(error):
            raise
        return BlockList(), Version()
    try:
        return parse_block_list(answer.body), etag_in(answer.headers)
    except MalformedError as error:
        raise ConnectionLostError(str(error), operation=operation, where=client.where, key=key) from error


def id_bytes_for(client: Client, key: str, *, operation: str) -> int:
    """How long ids must be for this blob: as long as those of blocks that are there already.

    Raises:
        UnsupportedError: Somebody's open blocks have ids too short to be random.
    """
    blocks, _ = list_blocks(client, key, operation=operation)
    for kind in (blocks.uncommitted, blocks.committed):
        if kind:
            length = len(base64.b64decode(kind[0][0] + "=="))
            if length >= _LEAST:
                return length
            if kind is blocks.uncommitted:
                raise UnsupportedError(
                    "another writer's open blocks have ids too short to go beside",
                    operation=operation,
                    where=client.where,
                    key=key,
                    hint="they vanish a week after the last; or delete the object, or write it in one part",
                )
    return ID_BYTES


def commit(
    client: Client,
    key: str,
    ids: Sequence[str],
    *,
    operation: str,
    metadata: Metadata,
    md5: bytes | None,
    condition: Condition,
) -> Version:
    """Put Block List: the object becomes these blocks, whole or not at all. One request.

    ``md5`` is stored as the blob's Content-MD5 and compared by nobody: it serves whoever reads.
    """
    headers = metadata_headers(encoded(metadata))
    headers |= condition_headers(condition, operation=operation, where=client.where, key=key)
    if md5 is not None:
        headers["x-ms-blob-content-md5"] = base64.b64encode(md5).decode()
    body = block_list_body(ids)
    answer = client.call(operation, "PUT", key, query={"comp": "blocklist"}, headers=headers, payload=body)
    return etag_in(answer.headers)
