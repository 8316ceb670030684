"""S3's requests and errors in words: which operation a request is, and how S3 says no. Needs no moto."""

from __future__ import annotations

from xml.sax.saxutils import escape

from crossdock.testing.wire import Request, Response

__all__ = ["injected_error", "s3_error", "s3_operation"]

_CODES = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    500: "InternalError",
    503: "SlowDown",
}


def s3_operation(request: Request, bucket: str, key: str) -> str:
    """Name the operation, in the words both embedded servers use."""
    query, method = request.query, request.method
    if not bucket:
        return "bucket.list"
    if key:
        if "uploadId" in query:
            return {
                "PUT": "part.put",
                "POST": "upload.complete",
                "GET": "upload.parts",
                "DELETE": "upload.abort",
            }.get(method, "unknown")
        if "uploads" in query:
            return "upload.begin"
        if "tagging" in query or "acl" in query:
            return "object.patch" if method in {"PUT", "DELETE"} else "object.stat"
        if method == "PUT" and "x-amz-copy-source" in request.headers:
            return "object.copy"
        return {
            "GET": "object.get",
            "HEAD": "object.stat",
            "PUT": "object.insert",
            "POST": "object.insert",
            "DELETE": "object.delete",
        }.get(method, "unknown")
    if method == "POST" and "delete" in query:
        return "objects.delete"
    if method == "GET" and not query.keys() & {
        "location",
        "versioning",
        "policy",
        "acl",
        "tagging",
        "uploads",
    }:
        return "object.list"
    if method == "GET" and "uploads" in query:
        return "upload.list"
    return {"PUT": "bucket.insert", "DELETE": "bucket.delete"}.get(method, "bucket.get")


def s3_error(status: int, code: str, message: str) -> Response:
    """Make S3's error document."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        "<RequestId>crossdock</RequestId></Error>"
    )
    return Response.text(status, body, "application/xml")


def injected_error(status: int) -> Response:
    """Make the error document of a status that a rule injects."""
    return s3_error(
        status, _CODES.get(status, "InternalError"), "Please reduce your request rate or try again."
    )
