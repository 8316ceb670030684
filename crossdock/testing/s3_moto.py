"""Where moto is bent: one state for each server instead of one for the process, and a request as moto's app wants it.

moto keeps all S3 state in one module-level dictionary, with one namespace of buckets: two servers in one process could not
both have a bucket ``b``. Its two modules that use the dictionary are given a stand-in that leads each thread to the
state of the server it works for; moto's own decorators, outside our threads, go on as before.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import moto.s3.models
import moto.s3.responses
from botocore.exceptions import ClientError
from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY, Request as MotoRequest
from moto.s3.models import FakeKey, S3Backend, S3BackendDict
from moto.s3.responses import S3Response

from crossdock.testing.s3_memory import replace_storage
from crossdock.testing.wire import Headers, Request

_PARTITION = "aws"


class _Backends:
    """Stands where moto keeps its S3 state; `entered` says whose state the calling thread means."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._here = threading.local()

    @property
    def _current(self) -> Any:
        return getattr(self._here, "backends", self._original)

    @contextmanager
    def entered(self, backends: Any) -> Iterator[None]:
        before = self._current
        self._here.backends = backends
        try:
            yield
        finally:
            self._here.backends = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current, name)

    def __getitem__(self, account: str) -> Any:
        return self._current[account]


replace_storage()
_backends = _Backends(moto.s3.models.s3_backends)
moto.s3.models.s3_backends = _backends  # type: ignore[assignment]
moto.s3.responses.s3_backends = _backends  # type: ignore[assignment,attr-defined]


class Home:
    """The S3 state of one server."""

    def __init__(self, account: str, region: str) -> None:
        self._backends: Any = S3BackendDict(
            S3Backend, service_name="s3", use_boto3_regions=False, additional_regions=[_PARTITION]
        )
        self._account = account
        self.region = region

    @property
    def backend(self) -> Any:
        """Moto's backend of the one account there is."""
        return self._backends[self._account][_PARTITION]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the state that moto sees in this thread."""
        with _backends.entered(self._backends):
            yield

    def dispose(self) -> None:
        """Free every value, because moto warns of those that are collected unfreed, and forget everything.

        Not ``backend.reset()``: that would free the values of every other server in this process.
        """
        for bucket in self.backend.buckets.values():
            for name in list(bucket.keys):
                for version in bucket.keys.getlist(name):
                    if isinstance(version, FakeKey):
                        version.dispose()
            for upload in bucket.multiparts.values():
                upload.dispose()
        # moto remembers every record it ever made, for the whole process.
        tracked: list[Any] = FakeKey.instances_tracked  # type: ignore[attr-defined]
        tracked[:] = [record for record in tracked if not _is_disposed(record)]
        self.backend.buckets.clear()
        self._backends.bucket_accounts.clear()


def _is_disposed(record: object) -> bool:
    return bool(getattr(record, "disposed", False))


def call_moto(request: Request, bucket: str, key: str) -> tuple[int, Headers, bytes]:
    """Let moto answer a request; returns status, headers and body.

    Its Flask application is left out: that would cost a third of the time of a small request, and its URL router 404s on
    a newline and redirects on ``//``.
    """
    wrapped = _MotoRequest(_environ(request, bucket, key))
    response = _Response()
    answer = response.key_response if key else response.bucket_response
    try:
        status, headers, body = answer(wrapped, wrapped.raw_url, dict(wrapped.headers))
    except ClientError as error:
        return 400, [], str(error.response["Error"]["Message"]).encode()
    pairs = [(str(n), str(v)) for n, v in headers.items()]
    return int(status), pairs, body.encode() if isinstance(body, str) else bytes(body)


class _MotoRequest(MotoRequest):
    """A request that came through a server: moto then leaves the Date header to us."""

    from_wsgi_server = True


class _Response(S3Response):
    """moto's dispatcher, told once and for all that the bucket is in the path."""

    @staticmethod
    def subdomain_based_buckets(request: Any) -> bool:
        """The bucket is never in the host's name here."""
        del request
        return False


def _environ(request: Request, bucket: str, key: str) -> dict[str, Any]:
    """Make a WSGI environment of a request; moto takes bucket and key from ``RAW_URI``."""
    raw_bucket, _, raw_key = request.path[1:].partition("/")
    # urlparse drops a raw ";" suffix, and some clients leave legal characters unencoded: encode them all.
    raw_path = f"/{raw_bucket}/{quote(raw_key, safe='%/')}" if key else request.path
    _, _, query = request.target.partition("?")
    host = request.headers.get("host", "127.0.0.1")
    name, _, port = host.partition(":")
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body()),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/{bucket}/key" if key else f"/{bucket}" if bucket else "/",
        "QUERY_STRING": query,
        "RAW_URI": f"{raw_path}?{query}" if query else raw_path,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": name,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        PRESERVED_HEADER_NAMES_ENVIRON_KEY: {},
    }
    for header, value in request.headers.items():
        field = header.upper().replace("-", "_")
        if "_" in header and not header.startswith("x-amz-meta-"):
            continue
        if "_" in header:
            environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY][f"HTTP_{field}"] = header
        environ[field if field in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{field}"] = value
    environ["CONTENT_LENGTH"] = str(request.size)
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ
