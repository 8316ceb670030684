"""An API as a source: ``api("users")`` gives records, ``api.batches("users")`` the same as record batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crossdock.batches import Batches
from crossdock.connectors.cursors import Cursor
from crossdock.connectors.http.addresses import target_of
from crossdock.connectors.http.options import private_headers
from crossdock.connectors.rest.asking import Ask, asked
from crossdock.connectors.rest.auth import Auth, ClientCredentials, QueryKey
from crossdock.connectors.rest.fetching import Fetching
from crossdock.connectors.rest.jsonpath import Path, steps_of
from crossdock.connectors.rest.kept_pages import KeptPages
from crossdock.connectors.rest.options import RESTOptions, client_options
from crossdock.connectors.rest.pages import Record, pages_of
from crossdock.connectors.rest.paging import Paging
from crossdock.connectors.rest.records import Progress, Records, RowBatches
from crossdock.errors import ConfigError
from crossdock.options import Secret, parse_options
from crossdock.tasks import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RESTBatches", "RESTSource", "rest"]


class RESTSource(Task):
    """One API, below one URL. A picklable recipe: connections, tokens and turns belong to the process that asks.

    See ``rest`` for the arguments.

    Attributes:
        batches: The same as a task whose result is record batches.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        params: Mapping[str, Any] | None = None,
        paging: Paging | None = None,
        records: Path = "$",
        options: RESTOptions | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            raise ConfigError(
                "the URL of an API has no query",
                operation="open",
                where=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}",
                hint="give params=, and secrets by auth=QueryKey(...)",
            )
        self._origin = f"{parts.scheme}://{parts.netloc}"
        target_of(self._origin)
        steps_of(records)
        self.url = url.rstrip("/")
        self.auth = auth
        self.paging = paging
        self.records = records
        self.options = options or RESTOptions()
        self._http = client_options(self.options, auth, headers)
        self._params = dict(params or {})
        self.name = f"RESTSource({self.url})"
        self.batches = RESTBatches(self)

    def run(
        self,
        path: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        paging: Paging | None = None,
        records: Path | None = None,
        since: Cursor | None = None,
    ) -> Records:
        """The records of one list, lazily: a page is asked for when its first record is wanted.

        In the server's order. Memory is one page. Requests: one a page, more for failures that may pass, one for a
        cursor. A page that cannot be had fails the whole: never a short list.

        Args:
            path: Below the API's URL.
            params: Query parameters, besides the API's own; a list is sent as several, ``None`` leaves one out.
            paging: How the list is cut into pages, if not as the API's other lists.
            records: Where the records are in a page, likewise.
            since: Read only what is newer, and keep the place: by ``commit()``, or when a combined task succeeds.

        Raises:
            ConfigError: The path or a parameter is wrong. All else is raised by the records.
        """
        pages, progress, name = self._pages(path, params, paging, records, since)
        return Records(pages, progress, name=name)

    def _pages(
        self,
        path: str,
        params: Mapping[str, Any] | None,
        paging: Paging | None,
        records: Path | None,
        since: Cursor | None,
    ) -> tuple[Iterator[list[Record]], Progress, str]:
        ask = asked(self.url, path, {**self._params, **(params or {})})
        where = self._where(records)
        progress = Progress(since, f"{self._origin}{ask.path}")
        fetching = self._fetcher()

        def first() -> Ask:
            return ask.with_params(progress.begin())

        pages = pages_of(fetching, first, paging if paging is not None else self.paging, where)
        return pages, progress, path.partition("?")[0].strip("/") or "records"

    def _where(self, records: Path | None) -> Path:
        if records is None:
            return self.records
        steps_of(records)
        return records

    def _fetcher(self) -> Fetching:
        options = self.options
        cache = None
        if options.cache is not None:
            cache = KeptPages(
                options.cache,
                options.cache_options or {},
                caller=repr(_public(self.auth)),
                limit_bytes=options.max_page_bytes,
            )
        return Fetching(origin=self._origin, options=options, http=self._http, auth=self.auth, kept=cache)

    def __crossdock_fingerprint__(self) -> Any:
        """Which API this is, for the hash of a piece of work: no secret."""
        return self.url, repr(_public(self.auth)), repr(self.paging), repr(self.records), repr(self._params)

    @property
    def preflight_place(self) -> str:
        """Equal for what one question answers."""
        return f"{self._origin} {_public(self.auth)!r}"

    def preflight(self) -> None:
        """Prove here that the credentials resolve; no request. Runners ask on each worker before work starts."""
        private_headers(self._http)
        if isinstance(self.auth, QueryKey) and isinstance(self.auth.key, Secret):
            self.auth.key.reveal()
        if isinstance(self.auth, ClientCredentials) and isinstance(self.auth.client_secret, Secret):
            self.auth.client_secret.reveal()

    def __repr__(self) -> str:
        return self.name


class RESTBatches(Task):
    """Lists of an API as record batches: ``api.batches("users")``."""

    def __init__(self, api: RESTSource) -> None:
        self.api = api
        self.name = f"RESTSource({api.url}).batches"

    def run(
        self,
        path: str = "",
        *,
        schema: pa.Schema | None = None,
        params: Mapping[str, Any] | None = None,
        paging: Paging | None = None,
        records: Path | None = None,
        since: Cursor | None = None,
    ) -> Batches:
        """Records as Arrow, in batches of 8,192; memory is one batch and one page.

        Args:
            path: See ``RESTSource``.
            schema: What they are; text is read as dates and decimals where it says so. Without it the first 8,192 records are
                read at once to find one, which the rest then have to fit; no records then have no columns.
            params: See ``RESTSource``.
            paging: See ``RESTSource``.
            records: See ``RESTSource``.
            since: See ``RESTSource``.

        Raises:
            RowError: A record does not fit; it says which, and the column.
        """
        from crossdock.connectors.rest.rows import batches_of  # pyarrow

        pages, progress, name = self.api._pages(path, params, paging, records, since)  # noqa: SLF001 - its other half
        found, batches = batches_of(_seen(pages, progress), schema, f"{self.api.url}/{path}")
        return RowBatches.following(found, batches, progress, name=name)

    def __crossdock_fingerprint__(self) -> Any:
        """See ``RESTSource``."""
        return "batches", self.api.__crossdock_fingerprint__()

    @property
    def preflight_place(self) -> str:
        """See ``RESTSource``."""
        return self.api.preflight_place

    def preflight(self) -> None:
        """See ``RESTSource``."""
        self.api.preflight()

    def __repr__(self) -> str:
        return self.name


def _seen(pages: Iterator[list[Record]], progress: Progress) -> Iterator[list[Record]]:
    for page in pages:
        progress.see(page)
        yield page
    progress.whole = True


def _public(auth: Auth | None) -> Any:
    """Credentials without what is secret in them, and with what names the caller."""
    if auth is None:
        return None
    return type(auth).__name__, [
        getattr(auth, name) for name in ("user", "name", "client_id", "scope") if hasattr(auth, name)
    ]


def rest(
    url: str,
    *,
    auth: Auth | None = None,
    headers: Mapping[str, str | Secret] | None = None,
    params: Mapping[str, Any] | None = None,
    paging: Paging | None = None,
    records: Path = "$",
    **options: Any,
) -> RESTSource:
    """An API as a source: ``api = xd.rest("https://api.example.com/v1")``, then ``api("users")``. Opens nothing.

    Args:
        url: What all paths are below.
        auth: ``Bearer``, ``Basic``, ``HeaderKey``, ``QueryKey`` or ``ClientCredentials``; goes to this origin only.
        headers: Further headers, for this origin only; values may be secret references (``xd.Secret("env:NAME")``).
        params: Query parameters of every request.
        paging: ``ByPage``, ``ByOffset``, ``ByCursor``, ``ByLink`` or ``ByURL``; ``None`` for lists in one piece.
        records: Where the records are in a page: ``data.items``; ``$`` for the whole.
        options: See ``RESTOptions``.

    Raises:
        ConfigError: The URL, a path or an option is wrong.
    """
    return RESTSource(
        url,
        auth=auth,
        headers=headers,
        params=params,
        paging=paging,
        records=records,
        options=parse_options(RESTOptions, options, where=url),
    )
