"""How a proxy reads what passes it: requests named in the words rules use, and injected errors in the service's own form.

S3 and GCS are named by the code that the embedded servers use, so the words cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crossdock.testing.wire import Request, Response, decode_key

__all__ = ["DIALECTS", "Named"]


@dataclass(frozen=True, slots=True)
class Named:
    """What a request means."""

    operation: str
    bucket: str = ""
    key: str = ""


Namer = Callable[[Request], Named]
ErrorMaker = Callable[[Request, int], Response]


def _place(path: str) -> tuple[str, str]:
    """First segment and rest of a path, decoded; empty where it is not UTF-8."""
    first, _, rest = path.lstrip("/").partition("/")
    try:
        return decode_key(first), decode_key(rest)
    except ValueError:
        return "", ""


def _s3() -> tuple[Namer, ErrorMaker]:
    from crossdock.testing.s3_words import injected_error, s3_operation

    def named(request: Request) -> Named:
        bucket, key = _place(request.path)
        return Named(s3_operation(request, bucket, key), bucket, key)

    return named, lambda _, status: injected_error(status)


def _gcs() -> tuple[Namer, ErrorMaker]:
    from crossdock.testing.gcs import EmbeddedGCS

    words = EmbeddedGCS()  # never started: it only names

    def named(request: Request) -> Named:
        route = words.route(request)
        return Named(route.operation, route.bucket, route.key)

    return named, words.error


# https://learn.microsoft.com/rest/api/storageservices/operations-on-blobs; by method and the parameter `comp`.
_AZURE: Mapping[tuple[str, str], str] = {
    ("GET", ""): "object.get",
    ("HEAD", ""): "object.stat",
    ("PUT", ""): "object.insert",
    ("DELETE", ""): "object.delete",
    ("PUT", "block"): "part.put",
    ("PUT", "blocklist"): "upload.complete",
    ("GET", "blocklist"): "upload.parts",
    ("PUT", "metadata"): "object.patch",
    ("PUT", "tags"): "object.patch",
    ("GET", "tags"): "object.stat",
    ("PUT", "properties"): "object.patch",
}
_AZURE_CODES = {
    403: "AuthorizationFailure",
    404: "BlobNotFound",
    409: "BlobAlreadyExists",
    412: "ConditionNotMet",
}


def _azure() -> tuple[Namer, ErrorMaker]:
    """Path style, as emulators have it: ``/account/container/key``."""

    def named(request: Request) -> Named:
        container, key = _place("/" + request.path.lstrip("/").partition("/")[2])
        kind = request.query.get("comp", "")
        if kind == "list":
            return Named("object.list" if container else "bucket.list", container)
        if request.query.get("restype") == "container" or not key:
            verb = {"PUT": "insert", "DELETE": "delete"}.get(request.method, "get")
            return Named(f"bucket.{verb}", container)
        if request.method == "PUT" and "x-ms-copy-source" in request.headers:
            return Named("object.copy", container, key)
        return Named(_AZURE.get((request.method, kind), "unknown"), container, key)

    def error(_: Request, status: int) -> Response:
        code = _AZURE_CODES.get(status, "ServerBusy" if status in {429, 503} else "InternalError")
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
        return Response.text(status, body, "application/xml", [("x-ms-error-code", code)])

    return named, error


def _http() -> tuple[Namer, ErrorMaker]:
    def named(request: Request) -> Named:
        return Named(request.method.lower(), key=_place(f"/_{request.path}")[1])

    return named, lambda _, status: Response.text(status, "injected\n", "text/plain")


DIALECTS: Mapping[str, Callable[[], tuple[Namer, ErrorMaker]]] = {
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "http": _http,
}
