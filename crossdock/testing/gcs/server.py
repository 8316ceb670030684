"""The embedded GCS as a whole: both APIs on one port, the state behind them, and a back door to it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from crossdock.testing.admin import PREFIX, admin_route
from crossdock.testing.gcs.batch import run_batch
from crossdock.testing.gcs.errors import ApiError
from crossdock.testing.gcs.json_api import JsonApi
from crossdock.testing.gcs.json_upload import UploadApi
from crossdock.testing.gcs.objects import Store, StoredObject
from crossdock.testing.gcs.uploads import Uploads
from crossdock.testing.gcs.xml_api import XmlApi
from crossdock.testing.gcs.xml_multipart import MultipartApi
from crossdock.testing.rules import Faults
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route

_JSON_ROOTS = (
    "/storage/v1/",
    "/download/storage/v1/",
    "/upload/storage/v1/",
    "/resumable/upload/storage/v1/",
)


class EmbeddedGCS:
    """Google Cloud Storage in this process, on a free port of 127.0.0.1, in memory, without accounts.

    What is built follows Google's documents and messages; no account was used to check it. Not built: versioning,
    soft delete, retention, IAM and ACLs (any caller may do anything), notifications, hierarchical namespaces, customer
    keys, gRPC.

    Args:
        buckets: Buckets to create.
        faults: What shall go wrong; by default nothing, until rules are added to ``.faults``.
        port: 0 takes a free one.
        rewrite_bytes_per_call: Objects above this need two rewrite calls; None for one whatever the size.

    Example:
        >>> with EmbeddedGCS(buckets=("landing",)) as gcs:
        ...     sorted(gcs.objects("landing"))
        []
    """

    def __init__(
        self,
        buckets: Sequence[str] = ("b",),
        faults: Faults | None = None,
        *,
        port: int = 0,
        rewrite_bytes_per_call: int | None = None,
    ) -> None:
        self.faults = faults if faults is not None else Faults()
        self._store = Store()
        self._uploads = Uploads(self._store)
        self._json = JsonApi(self._store, rewrite_bytes_per_call)
        self._upload = UploadApi(self._store, self._uploads)
        self._xml = XmlApi(self._store, MultipartApi(self._store, self._uploads))
        self._server = LoopbackServer(self, self.faults, port)
        for name in buckets:
            self.create_bucket(name)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, while the server runs."""
        return self._server.url

    def start(self) -> Self:
        """Listen; returns itself."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every connection and wait for the threads. The state stays, and a second start serves it again."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def create_bucket(self, name: str) -> None:
        """Create an empty bucket, not through HTTP."""
        self._store.create_bucket(name)

    def bucket_names(self) -> list[str]:
        """Return the names of all buckets."""
        return [bucket.name for bucket in self._store.buckets()]

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """Return the live objects by key, not through HTTP. They are immutable: a snapshot stays what it was."""
        return self._store.objects(bucket)

    def open_uploads(self, bucket: str) -> dict[str, str]:
        """Return resumable and multipart uploads nobody ended: upload id to key."""
        return self._uploads.open(bucket)

    def summaries(self, bucket: str) -> dict[str, dict[str, Any]]:
        """Return size, generation and CRC32C of each object, for the admin route."""
        return {
            key: {"size": o.size, "generation": o.generation, "crc32c": o.crc32c}
            for key, o in self.objects(bucket).items()
        }

    def route(self, request: Request) -> Route:
        """Find what a request means (the server calls it; see `crossdock.testing.wire.App`)."""
        path = request.path
        if path.startswith(PREFIX):
            return admin_route(request, self)
        if path.startswith("/batch"):
            return Route("batch", lambda r: run_batch(r, self.route))
        is_json = path.startswith(_JSON_ROOTS)
        try:
            if not is_json:
                return self._xml.route(request)
            root, _, rest = path.partition("/storage/v1/")
            api = self._upload if root.endswith("/upload") else self._json
            return api.route(request, rest.split("/"))
        except ApiError as error:
            response = error.as_json() if is_json else error.as_xml()
            return Route("unknown", lambda _: response)

    def error(self, request: Request, status: int) -> Response:
        """Make an error document for an injected status, in the language of the API that was called."""
        error = ApiError(status, "We encountered an internal error. Please try again.")
        return error.as_json() if request.path.startswith((*_JSON_ROOTS, "/batch")) else error.as_xml()
