"""Batch requests of the JSON API: up to 100 calls in one multipart body, each answered in the same order.

gcsfs deletes this way. https://docs.cloud.google.com/storage/docs/batch
"""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from urllib.parse import parse_qsl

from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.wire import Request, Response, Route, render_head

_BOUNDARY = "batch_crossdock"
_LIMIT = 100


def run_batch(request: Request, route: Callable[[Request], Route]) -> Response:
    """Run each call of a ``multipart/mixed`` body and collect the answers."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str):
        return ApiError(400, "Failed to parse batch request: no boundary.").as_json()
    parts = request.body().split(b"--" + boundary.encode("latin-1"))[1:-1]
    if not 1 <= len(parts) <= _LIMIT:
        return ApiError(400, f"A batch holds 1 to 100 calls, not {len(parts)}.").as_json()
    chunks: list[bytes] = []
    for part in parts:
        outer, _, inner = part.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
        call = _parse_call(inner.lstrip(b"\n"), request)
        response = route(call).run(call)
        content_id = _headers(outer.decode("latin-1")).get("content-id", "").strip("<>")
        chunks.append(
            f"--{_BOUNDARY}\r\nContent-Type: application/http\r\n"
            f"Content-ID: <response-{content_id}>\r\n\r\n".encode()
        )
        chunks += [render_head(response), b"".join(response.chunks), b"\r\n"]
    chunks.append(f"--{_BOUNDARY}--\r\n".encode())
    return Response(200, [("Content-Type", f"multipart/mixed; boundary={_BOUNDARY}")], chunks)


def _parse_call(text: bytes, outer: Request) -> Request:
    head, _, body = text.partition(b"\n\n")
    first, _, rest = head.decode("latin-1").partition("\n")
    method, target = (*first.split(" "), "", "")[:2]
    if target.startswith("http"):
        target = "/" + target.split("/", 3)[-1]
    path, _, query = target.partition("?")
    headers = {"host": outer.headers.get("host", "")} | _headers(rest)
    return Request(
        method, target, path, dict(parse_qsl(query, keep_blank_values=True)), headers, (body.rstrip(b"\n"),)
    )


def _headers(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.split("\n") if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
