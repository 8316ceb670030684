"""JSON resources of buckets and objects, metadata read from them, and the ``fields`` parameter.

https://docs.cloud.google.com/storage/docs/json_api/v1/objects#resource
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.media import encode_crc32c
from crossdock.testing.gcs.objects import Bucket, Digests, Metadata, Preconditions, StoredObject
from crossdock.testing.wire import Request, Response

Fields = dict[str, "Fields"]

_TEXTS = {
    "contentType": "content_type",
    "cacheControl": "cache_control",
    "contentDisposition": "content_disposition",
    "contentEncoding": "content_encoding",
    "contentLanguage": "content_language",
}


def json_response(value: Any, status: int = 200) -> Response:
    """Answer with a JSON document."""
    return Response.text(status, json.dumps(value, ensure_ascii=False), "application/json; charset=UTF-8")


def bucket_resource(bucket: Bucket, base_url: str) -> dict[str, Any]:
    """Describe a bucket: a flat one, in the US, as a new one is by default."""
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{base_url}/storage/v1/b/{bucket.name}",
        "projectNumber": "0",
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": bucket.created,
        "updated": bucket.created,
        "hierarchicalNamespace": {"enabled": False},
    }


def object_resource(
    stored: StoredObject, bucket: str, base_url: str, only: Fields | None = None
) -> dict[str, Any]:
    """Describe an object; of the fields asked for only, so that an MD5 nobody wants is not computed."""
    path = f"/b/{bucket}/o/{quote(stored.key, safe='')}"
    meta = stored.metadata
    mark = stored.generation.to_bytes(8, "big") + stored.metageneration.to_bytes(4, "big")
    resource: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{bucket}/{stored.key}/{stored.generation}",
        "selfLink": f"{base_url}/storage/v1{path}",
        "mediaLink": f"{base_url}/download/storage/v1{path}?generation={stored.generation}&alt=media",
        "name": stored.key,
        "bucket": bucket,
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "storageClass": meta.storage_class,
        "size": str(stored.size),
        "crc32c": encode_crc32c(stored.crc32c),
        "etag": base64.b64encode(mark).decode(),
        "timeCreated": stored.created,
        "updated": stored.updated,
        "timeStorageClassUpdated": stored.created,
        "timeFinalized": stored.created,
    }
    for name, attribute in _TEXTS.items():
        if (value := getattr(meta, attribute)) is not None:
            resource[name] = value
    if meta.custom:
        resource["metadata"] = meta.custom
    if stored.component_count is not None:
        resource["componentCount"] = stored.component_count
    if (only is None or "md5Hash" in only or "*" in only) and stored.md5 is not None:
        resource["md5Hash"] = base64.b64encode(stored.md5).decode()
    return resource


def parse_fields(text: str | None) -> Fields | None:
    """Parse a ``fields`` selector such as ``items(name,size),nextPageToken``; None for everything.

    https://docs.cloud.google.com/storage/docs/json_api#partial-response
    """
    if not text or text == "*":
        return None
    root: Fields = {}
    stack = [root]
    path = root
    name = ""
    for char in f"{text},":
        if char not in ",()/":
            name += char
            continue
        if name:
            path = path.setdefault(name, {})
            name = ""
        if char == "(":
            stack.append(path)
        elif char != "/":
            if char == ")" and len(stack) > 1:
                stack.pop()
            path = stack[-1]
    return root


def select(value: Any, only: Fields | None) -> Any:
    """Reduce a document to the fields asked for."""
    if not only or "*" in only:
        return value
    if isinstance(value, list):
        return [select(item, only) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {name: select(value[name], deeper) for name, deeper in only.items() if name in value}


def parse_json(body: bytes) -> dict[str, Any]:
    """Parse a request's resource; 400 if it is no JSON object."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise ApiError(400, "Parse Error", reason="parseError") from None
    if value is None:  # Google's Go client sends a null where it has nothing to say
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, "Parse Error", reason="parseError")
    return value


def metadata_of(resource: Mapping[str, Any], base: Metadata | None = None) -> Metadata:
    """Read metadata from a resource; what it does not name comes from ``base``, what it sets to null is removed."""
    changes: dict[str, Any] = {a: resource[name] for name, a in _TEXTS.items() if name in resource}
    if resource.get("storageClass"):
        changes["storage_class"] = resource["storageClass"]
    if "metadata" in resource:
        custom = dict(base.custom) if base else {}
        given = resource["metadata"]
        custom = {} if given is None else custom | given
        changes["custom"] = {k: str(v) for k, v in custom.items() if v is not None}
    return replace(base or Metadata(), **changes)


def digests_of(request: Request, resource: Mapping[str, Any] | None = None) -> Digests:
    """Read what the client claims about the bytes: in the resource, in ``x-goog-hash`` or in ``Content-MD5``."""
    claims: dict[str, str] = {}
    for item in request.headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        claims[name] = value
    resource = resource or {}
    claimed_crc32c = resource.get("crc32c") or claims.get("crc32c", "")
    claimed_md5 = resource.get("md5Hash") or request.headers.get("content-md5") or claims.get("md5", "")
    try:
        crc32c = base64.b64decode(claimed_crc32c, validate=True)
        md5 = base64.b64decode(claimed_md5, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, "Invalid hash: not base64.", code="InvalidDigest") from None
    if len(crc32c) not in {0, 4} or len(md5) not in {0, 16}:
        raise ApiError(400, "Invalid hash: wrong length.", code="InvalidDigest")
    return Digests(int.from_bytes(crc32c, "big") if crc32c else None, md5 or None)


def merged(first: Digests, second: Digests) -> Digests:
    """Return the second's claims, and the first's where it makes none."""
    return Digests(
        first.crc32c if second.crc32c is None else second.crc32c,
        first.md5 if second.md5 is None else second.md5,
    )


def integer(values: Mapping[str, Any], name: str) -> int | None:
    """Read a number from a query, headers or a resource; 400 if it is none."""
    value = values.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ApiError(400, f"Invalid value for {name}: {value!r}.") from None


def preconditions_of(values: Mapping[str, Any], prefix: str = "if") -> Preconditions:
    """Read preconditions from a query (``ifGenerationMatch``, or ``ifSource...``) or from ``objectPreconditions``."""
    if not any(name.startswith(prefix) for name in values):
        return Preconditions()
    return Preconditions(
        generation=integer(values, f"{prefix}GenerationMatch"),
        not_generation=integer(values, f"{prefix}GenerationNotMatch"),
        metageneration=integer(values, f"{prefix}MetagenerationMatch"),
        not_metageneration=integer(values, f"{prefix}MetagenerationNotMatch"),
    )
