"""The JSON API: buckets, listings, metadata, downloads, copies, compositions.

Object names are one percent-encoded path segment each: the raw path is split at its slashes first and decoded
afterwards, so ``a%2Fb`` is the key ``a/b`` and ``a%252Fb`` the key ``a%2Fb``.
https://docs.cloud.google.com/storage/docs/json_api/v1 and
https://docs.cloud.google.com/storage/docs/request-endpoints#encoding
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.listing import PAGE_LIMIT, Query, decode_token, encode_token, list_page
from crossdock.testing.gcs.media import media_response
from crossdock.testing.gcs.objects import ComposeSource, Metadata, Store, StoredObject, check_key
from crossdock.testing.gcs.resources import (
    bucket_resource,
    integer,
    json_response,
    metadata_of,
    object_resource,
    parse_fields,
    parse_json,
    preconditions_of,
    select,
)
from crossdock.testing.wire import Handler, Request, Response, Route, decode_key


class JsonApi:
    """Routes and handlers below ``/storage/v1`` and ``/download/storage/v1``.

    Args:
        store: The state.
        rewrite_bytes_per_call: Objects larger than this are not rewritten in one call: GCS then answers
            ``done: false`` and a token. None rewrites everything at once.
    """

    def __init__(self, store: Store, rewrite_bytes_per_call: int | None = None) -> None:
        self._store = store
        self._rewrite_bytes_per_call = rewrite_bytes_per_call

    def route(self, request: Request, segments: list[str]) -> Route:
        """Find the handler of the raw path segments after ``/storage/v1``."""
        try:
            return self._route(request, segments)
        except ValueError:
            raise ApiError(400, "Invalid UTF-8 in the request's path.") from None

    def _route(self, request: Request, segments: list[str]) -> Route:
        method = request.method
        match segments:
            case ["b"]:
                return self._pick(
                    method,
                    {
                        "GET": ("bucket.list", self._list_buckets),
                        "POST": ("bucket.insert", self._insert_bucket),
                    },
                )
            case ["b", raw]:
                bucket = decode_key(raw)
                get = ("bucket.get", lambda r: self._get_bucket(r, bucket))
                delete = ("bucket.delete", lambda _: self._delete_bucket(bucket))
                return self._pick(method, {"GET": get, "PATCH": get, "DELETE": delete}, bucket)
            case ["b", raw, "storageLayout"]:
                bucket = decode_key(raw)
                return self._pick(method, {"GET": ("bucket.layout", lambda _: self._layout(bucket))}, bucket)
            case ["b", raw, "o"]:
                bucket = decode_key(raw)
                return self._pick(method, {"GET": ("object.list", lambda r: self._list(r, bucket))}, bucket)
            case ["b", raw, "o", raw_key, *verb]:
                return self._route_object(request, decode_key(raw), decode_key(raw_key), verb)
        raise ApiError(404, "Not Found")

    def _route_object(self, request: Request, bucket: str, key: str, verb: list[str]) -> Route:
        method = request.method
        match verb:
            case []:
                patch = ("object.patch", lambda r: self._patch(r, bucket, key, replaces=r.method == "PUT"))
                read = (
                    ("object.get", lambda r: self._media(r, bucket, key))
                    if request.query.get("alt") == "media"
                    else ("object.stat", lambda r: self._get(r, bucket, key))
                )
                delete = ("object.delete", lambda r: self._delete(r, bucket, key))
                return self._pick(
                    method,
                    {"GET": read, "HEAD": read, "PATCH": patch, "PUT": patch, "DELETE": delete},
                    bucket,
                    key,
                )
            case ["compose"]:
                compose = ("object.compose", lambda r: self._compose(r, bucket, key))
                return self._pick(method, {"POST": compose}, bucket, key)
            case ["rewriteTo" | "copyTo" as how, "b", to_bucket, "o", to_key]:
                target = (decode_key(to_bucket), decode_key(to_key))
                copy = (
                    "object.copy",
                    lambda r: self._copy(r, (bucket, key), target, rewrites=how == "rewriteTo"),
                )
                return self._pick(method, {"POST": copy}, *target)
        raise ApiError(404, "Not Found")

    @staticmethod
    def _pick(
        method: str, handlers: dict[str, tuple[str, Handler]], bucket: str = "", key: str = ""
    ) -> Route:
        if method not in handlers:
            raise ApiError(405, f"The method {method} is not allowed here.")
        operation, handler = handlers[method]
        return Route(operation, _as_json(handler), bucket, key)

    def _list_buckets(self, request: Request) -> Response:
        items = [bucket_resource(b, request.base_url) for b in self._store.buckets()]
        return json_response({"kind": "storage#buckets", "items": items})

    def _insert_bucket(self, request: Request) -> Response:
        name = parse_json(request.body()).get("name")
        if not isinstance(name, str) or not name:
            raise ApiError(400, "Required: a bucket name.", reason="required")
        return json_response(bucket_resource(self._store.create_bucket(name), request.base_url))

    def _get_bucket(self, request: Request, name: str) -> Response:
        return json_response(bucket_resource(self._store.bucket(name), request.base_url))

    def _delete_bucket(self, name: str) -> Response:
        self._store.delete_bucket(name)
        return Response(204)

    def _layout(self, name: str) -> Response:
        self._store.bucket(name)
        layout = {
            "kind": "storage#storageLayout",
            "bucket": name,
            "location": "US",
            "locationType": "multi-region",
        }
        return json_response(layout | {"hierarchicalNamespace": {"enabled": False}})

    def _list(self, request: Request, bucket: str) -> Response:
        asked = request.query
        limit = integer(asked, "maxResults")
        query = Query(
            prefix=asked.get("prefix", ""),
            delimiter=asked.get("delimiter", ""),
            start_offset=asked.get("startOffset", ""),
            end_offset=asked.get("endOffset", ""),
            after=decode_token(asked["pageToken"]) if asked.get("pageToken") else "",
            limit=min(limit or PAGE_LIMIT, PAGE_LIMIT),
            includes_trailing_delimiter=asked.get("includeTrailingDelimiter") == "true",
        )
        with self._store.lock:
            page = list_page(self._store.bucket(bucket), query)
        only = parse_fields(asked.get("fields"))
        of_items = None if not only or "*" in only else only.get("items", {"name": {}})
        of_items = of_items or None
        value: dict[str, Any] = {"kind": "storage#objects"}
        if page.next_after:
            value["nextPageToken"] = encode_token(page.next_after)
        if page.prefixes:
            value["prefixes"] = page.prefixes
        if page.objects:
            value["items"] = [object_resource(o, bucket, request.base_url, of_items) for o in page.objects]
        return json_response(select(value, only))

    def _find(self, request: Request, bucket: str, key: str) -> StoredObject:
        return self._store.get(
            bucket,
            key,
            generation=integer(request.query, "generation"),
            preconditions=preconditions_of(request.query),
        )

    def _get(self, request: Request, bucket: str, key: str) -> Response:
        return answer_resource(request, self._find(request, bucket, key), bucket)

    def _media(self, request: Request, bucket: str, key: str) -> Response:
        try:
            return media_response(request, self._find(request, bucket, key), shows_custom=False)
        except ApiError as error:
            return error.as_text()

    def _patch(self, request: Request, bucket: str, key: str, *, replaces: bool) -> Response:
        live = self._store.get(bucket, key, generation=integer(request.query, "generation"))
        base = Metadata(storage_class=live.metadata.storage_class) if replaces else live.metadata
        metadata = metadata_of(parse_json(request.body()), base)
        stored = self._store.patch(bucket, key, metadata, live, preconditions_of(request.query))
        return answer_resource(request, stored, bucket)

    def _delete(self, request: Request, bucket: str, key: str) -> Response:
        self._store.delete(
            bucket,
            key,
            generation=integer(request.query, "generation"),
            preconditions=preconditions_of(request.query),
        )
        return Response(204)

    def _compose(self, request: Request, bucket: str, key: str) -> Response:
        body = parse_json(request.body())
        sources = [
            ComposeSource(
                str(source["name"]),
                integer(source, "generation"),
                preconditions_of(source.get("objectPreconditions") or {}),
            )
            for source in body.get("sourceObjects", [])
        ]
        metadata = metadata_of(body.get("destination") or {})
        stored = self._store.compose(bucket, key, sources, metadata, preconditions_of(request.query))
        return answer_resource(request, stored, bucket)

    def _copy(
        self, request: Request, source: tuple[str, str], target: tuple[str, str], *, rewrites: bool
    ) -> Response:
        query = request.query
        found = self._store.get(
            *source,
            generation=integer(query, "sourceGeneration"),
            preconditions=preconditions_of(query, "ifSource"),
        )
        override = parse_json(request.body())
        # A body replaces all of the metadata; without one the source's is taken.
        metadata = metadata_of(override) if override else found.metadata
        limit = self._rewrite_bytes_per_call
        token = base64.urlsafe_b64encode(repr((source, found.generation, target)).encode()).decode()
        if rewrites and query.get("rewriteToken", token) != token:
            raise ApiError(400, "Invalid rewrite token.")
        check_key(target[1])
        progress: dict[str, Any] = {"kind": "storage#rewriteResponse", "objectSize": str(found.size)}
        if rewrites and limit is not None and found.size > limit and "rewriteToken" not in query:
            self._store.check(*target, preconditions_of(query))
            progress |= {"totalBytesRewritten": str(limit), "done": False, "rewriteToken": token}
            return json_response(progress)
        stored = self._store.put(
            *target,
            found.content,
            metadata,
            preconditions_of(query),
            component_count=found.component_count,
            has_md5=found.has_md5,
        )
        if not rewrites:
            return answer_resource(request, stored, target[0])
        resource = object_resource(stored, target[0], request.base_url)
        progress |= {"totalBytesRewritten": str(found.size), "done": True, "resource": resource}
        return json_response(progress)


def answer_resource(request: Request, stored: StoredObject, bucket: str) -> Response:
    """Answer with an object's resource, reduced to the ``fields`` asked for."""
    only = parse_fields(request.query.get("fields"))
    return json_response(select(object_resource(stored, bucket, request.base_url, only), only))


def _as_json(handler: Handler) -> Callable[[Request], Response]:
    def run(request: Request) -> Response:
        try:
            return handler(request)
        except ApiError as error:
            return error.as_json()

    return run
