"""What an HTTP error answer of an object service means: one table over status and error code.

S3, GCS's XML API, Azure Blob Storage and everything that imitates them answer with a status and a ``<Code>``; the code
says more than the status, so it is asked first. Used by the obstore engine (which hands both over as text) and by the signed HTTP route.
Pure functions; no SDK.
"""

from __future__ import annotations

import re
from typing import Any

from crossdock.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    CrossdockError,
    DeniedError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RangeError,
    Retry,
    StorageError,
    ThrottledError,
    UnsupportedError,
)

__all__ = ["code_and_message", "error_of", "retry_after_s"]

_CREDENTIALS = (CredentialsError, "check the key, the secret and the clock of this machine")
_EXPIRED = (CredentialsError, "the credentials have expired: renew them and run the same command again")
_NO_BUCKET = (NotFoundError, "check the bucket's name, the endpoint and the account")
_INTEGRITY = (IntegrityError, "")
_STATE = (PreconditionError, "list again: the object changed meanwhile")
_LATER = (ConnectionLostError, "")
_SLOW = (ThrottledError, "")
_NO_CONTAINER = (NotFoundError, "check the container's name and the account")
_NOT_ALLOWED = (
    DeniedError,
    "the credentials are valid but not allowed to do this: check roles, SAS and network rules",
)
_ARCHIVED = (UnsupportedError, "the object is archived: restore it first, or exclude it")

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://cloud.google.com/storage/docs/xml-api/reference-status
_BY_CODE: dict[str, tuple[type[CrossdockError], str]] = {
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "AuthorizationHeaderMalformed": _CREDENTIALS,
    "AuthenticationRequired": _CREDENTIALS,
    "InvalidSecurity": _CREDENTIALS,
    "RequestTimeTooSkewed": _CREDENTIALS,
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": _CREDENTIALS,
    "AccessDenied": (DeniedError, "the credentials are valid but not allowed to do this"),
    "AllAccessDisabled": (DeniedError, ""),
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": (NotFoundError, ""),
    "NoSuchVersion": (NotFoundError, ""),
    "NoSuchUpload": (NotFoundError, ""),
    "PreconditionFailed": _STATE,
    "ConditionalRequestConflict": _STATE,
    "InvalidObjectState": _ARCHIVED,
    "BadDigest": _INTEGRITY,
    "InvalidDigest": _INTEGRITY,
    "XAmzContentSHA256Mismatch": _INTEGRITY,
    "XAmzContentChecksumMismatch": _INTEGRITY,
    "IncompleteBody": _LATER,
    "InvalidPart": _INTEGRITY,
    "InvalidRange": (RangeError, ""),
    "SlowDown": _SLOW,
    "Throttling": _SLOW,
    "ThrottlingException": _SLOW,
    "RequestLimitExceeded": _SLOW,
    "TooManyRequests": _SLOW,
    "ServiceUnavailable": _SLOW,
    "RequestTimeout": _LATER,
    "InternalError": _LATER,
    "OperationAborted": _LATER,
    "NotImplemented": (UnsupportedError, "this endpoint cannot do it"),
    "MetadataTooLarge": (UnsupportedError, "the store takes less metadata than the object carries"),
    "KeyTooLongError": (UnsupportedError, "the store takes shorter keys"),
    "EntityTooLarge": (UnsupportedError, "the store takes smaller objects"),
    # Azure: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
    "AuthenticationFailed": _CREDENTIALS,
    "InvalidAuthenticationInfo": _CREDENTIALS,
    "NoAuthenticationInformation": _CREDENTIALS,
    "AuthorizationFailure": _NOT_ALLOWED,
    "AuthorizationPermissionMismatch": _NOT_ALLOWED,
    "AuthorizationProtocolMismatch": _NOT_ALLOWED,
    "AuthorizationResourceTypeMismatch": _NOT_ALLOWED,
    "AuthorizationServiceMismatch": _NOT_ALLOWED,
    "AuthorizationSourceIPMismatch": _NOT_ALLOWED,
    "InsufficientAccountPermissions": _NOT_ALLOWED,
    "AccountIsDisabled": _NOT_ALLOWED,
    "PublicAccessNotPermitted": (DeniedError, "the account has no public access: give credentials"),
    "KeyBasedAuthenticationNotPermitted": (
        DeniedError,
        "the account takes Microsoft Entra only: leave keys and SAS out",
    ),
    "BlobImmutableDueToPolicy": (DeniedError, "the container keeps its objects unchanged by policy"),
    "LeaseIdMissing": (DeniedError, "somebody holds a lease on the object: break it, or wait"),
    "SnapshotsPresent": (UnsupportedError, "the object has snapshots: remove them first"),
    "ContainerNotFound": _NO_CONTAINER,
    "ContainerBeingDeleted": _NO_CONTAINER,
    "ContainerDisabled": _NOT_ALLOWED,
    "ResourceNotFound": _NO_CONTAINER,
    "BlobNotFound": (NotFoundError, ""),
    "BlobAlreadyExists": _STATE,
    "ConditionNotMet": _STATE,
    "TargetConditionNotMet": _STATE,
    "SourceConditionNotMet": _STATE,
    "BlobArchived": _ARCHIVED,
    "BlobBeingRehydrated": _ARCHIVED,
    "InvalidBlobTier": _ARCHIVED,
    "InvalidBlobType": (UnsupportedError, "there is a page or append blob: delete it first"),
    "PathConflict": (UnsupportedError, "with a hierarchical namespace a key cannot be below another one"),
    "ResourceTypeMismatch": (
        UnsupportedError,
        "with a hierarchical namespace a key cannot be below another one",
    ),
    "Md5Mismatch": _INTEGRITY,
    "InvalidMd5": _INTEGRITY,
    "Crc64Mismatch": _INTEGRITY,
    "InvalidMetadata": (UnsupportedError, "the store cannot hold this metadata"),
    "EmptyMetadataKey": (UnsupportedError, "the store cannot hold this metadata"),
    "InvalidResourceName": (UnsupportedError, "the store cannot hold this key"),
    "OutOfRangeInput": (UnsupportedError, "the store cannot hold this key"),
    "RequestBodyTooLarge": (UnsupportedError, "the store takes smaller objects"),
    "BlockCountExceedsLimit": (
        UnsupportedError,
        "too many parts that were never completed: wait a week, or write the key anew",
    ),
    "InvalidBlobOrBlock": (
        UnsupportedError,
        "another writer's open blocks are in the way: try again, or wait a week",
    ),
    "PendingCopyOperation": _LATER,
    "AccountBeingCreated": _LATER,
    "OperationTimedOut": _LATER,
    "ServerBusy": _SLOW,
}

_BY_STATUS: dict[int, tuple[type[CrossdockError], str]] = {
    401: _CREDENTIALS,
    403: (DeniedError, "check the credentials and what they are allowed to do"),
    404: (NotFoundError, ""),
    408: _LATER,
    409: _STATE,
    412: _STATE,
    416: (RangeError, ""),
    429: _SLOW,
    501: (UnsupportedError, "this endpoint cannot do it"),
    503: _SLOW,
}

_REGION_CODES = ("PermanentRedirect", "IllegalLocationConstraintException", "TemporaryRedirect")
_PLACES = ("ContainerNotFound", "ContainerBeingDeleted", "ResourceNotFound")
_CODE = re.compile(r"<Code>\s*([^<]{1,100}?)\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*([^<]{1,500}?)\s*</Message>", re.DOTALL)
_REGION = re.compile(r"<(?:Region|Endpoint)>\s*([^<]{1,200}?)\s*<|expecting '([^']{1,60})'")


def code_and_message(body: str) -> tuple[str, str]:
    """The ``<Code>`` and ``<Message>`` of an error body; empty where it has none (HEAD, proxies, HTML)."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    return code[1] if code else "", " ".join(message[1].split()) if message else ""


def retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header; its date form and nonsense are ``None``."""
    return float(text) if text and text.isascii() and text.isdigit() else None


def error_of(
    status: int,
    body: str = "",
    *,
    code: str | None = None,
    region: str | None = None,
    retry_after: str | None = None,
    **place: Any,
) -> CrossdockError:
    """The error that an answer of ``status`` with ``body`` is.

    Args:
        status: The HTTP status; 200 with an error body (S3's CompleteMultipartUpload and CopyObject) is fine.
        body: The answer's body as text, whole or cut.
        code: What a header said, for an answer without a body.
        region: What ``x-amz-bucket-region`` said.
        retry_after: What ``Retry-After`` said.
        **place: ``operation``, ``where`` and ``key`` of the error.
    """
    written, message = code_and_message(body)
    code = written or code or ""
    cause = ": ".join(part for part in (code, message) if part) or f"HTTP status {status}"
    if (
        status in (301, 307, 308)
        or code in _REGION_CODES
        or (code == "AuthorizationHeaderMalformed" and "expecting" in body)
    ):
        return _wrong_region(cause, body, region, place)
    kind, hint = _kind_of(status, code, message)
    if (
        kind is NotFoundError
        and not code.endswith(("Bucket", "Upload", *_PLACES))
        and place.get("key") is not None
    ):
        cause = "there is no such object"
    retry = Retry.LATER if kind is StorageError and status == 200 else None
    error: CrossdockError = kind(
        cause, hint=hint, retry=retry, retry_after_s=retry_after_s(retry_after), **place
    )
    return error


def _kind_of(status: int, code: str, message: str) -> tuple[type[CrossdockError], str]:
    if status == 400 and code and "checksum" in f"{code} {message}".lower():
        return _INTEGRITY
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or (_LATER if status >= 500 else (StorageError, ""))


def _wrong_region(cause: str, body: str, region: str | None, place: dict[str, Any]) -> CrossdockError:
    found = _REGION.search(body)
    right = region or (found and (found[1] or found[2]))
    hint = (
        f"set the option region={right}"
        if right and "." not in right
        else "set the option region to the bucket's own"
    )
    if right and "." in right:
        hint = f"the bucket answers at {right}: set endpoint_url or region"
    return ConfigError(f"the bucket is elsewhere: {cause}", hint=hint, **place)
