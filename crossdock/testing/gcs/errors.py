"""How the embedded GCS says no: one error, rendered as JSON, XML or text by the API that was asked.

Reasons and codes are Google's:
https://docs.cloud.google.com/storage/docs/json_api/v1/status-codes and
https://docs.cloud.google.com/storage/docs/xml-api/reference-status
"""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from crossdock.testing.wire import Response

_REASONS = {
    304: ("notModified", "NotModified"),
    400: ("invalid", "InvalidArgument"),
    401: ("authError", "AuthenticationRequired"),
    403: ("forbidden", "AccessDenied"),
    404: ("notFound", "NoSuchKey"),
    405: ("methodNotAllowed", "MethodNotAllowed"),
    408: ("requestTimeout", "RequestTimeout"),
    409: ("conflict", "BucketAlreadyOwnedByYou"),
    410: ("gone", "Gone"),
    411: ("lengthRequired", "MissingContentLength"),
    412: ("conditionNotMet", "PreconditionFailed"),
    416: ("requestedRangeNotSatisfiable", "InvalidRange"),
    429: ("rateLimitExceeded", "SlowDown"),
    500: ("backendError", "InternalError"),
    503: ("backendError", "ServiceUnavailable"),
}


class ApiError(Exception):
    """A request that GCS would answer with an error.

    Args:
        status: HTTP status.
        message: For people.
        reason: ``reason`` of the JSON API; by default the usual one of the status.
        code: ``Code`` of the XML API; by default the usual one of the status.
    """

    def __init__(self, status: int, message: str, *, reason: str = "", code: str = "") -> None:
        super().__init__(message)
        usual_reason, usual_code = _REASONS.get(status, ("backendError", "InternalError"))
        self.status = status
        self.message = message
        self.reason = reason or usual_reason
        self.code = code or usual_code

    def as_json(self) -> Response:
        """Render as the JSON API does."""
        if self.status == 304:
            return Response(304)
        error = {
            "code": self.status,
            "message": self.message,
            "errors": [{"message": self.message, "domain": "global", "reason": self.reason}],
        }
        return Response.text(self.status, json.dumps({"error": error}), "application/json; charset=UTF-8")

    def as_text(self) -> Response:
        """Render as downloads and uploads of the JSON API do: the bare message."""
        if self.status == 304:
            return Response(304)
        return Response.text(self.status, self.message, "text/html; charset=UTF-8")

    def as_xml(self) -> Response:
        """Render as the XML API does."""
        if self.status == 304:
            return Response(304)
        body = (
            f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{self.code}</Code>"
            f"<Message>{escape(self.message)}</Message></Error>"
        )
        return Response.text(self.status, body, "application/xml; charset=UTF-8")


def no_such_bucket(bucket: str) -> ApiError:
    """The bucket does not exist."""
    return ApiError(404, f"The specified bucket does not exist: {bucket}.", code="NoSuchBucket")


def no_such_object(bucket: str, key: str) -> ApiError:
    """The object, or the generation of it that was asked for, does not exist."""
    return ApiError(404, f"No such object: {bucket}/{key}")


def precondition_failed() -> ApiError:
    """A condition on generation or metageneration does not hold."""
    return ApiError(412, "At least one of the pre-conditions you specified did not hold.")
