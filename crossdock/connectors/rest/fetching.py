"""One page of an API: asked for within the host's bounds, tried again while that may help, read whole within a limit.

The one place of this connector where requests are made. Connections, redirects, credentials and TLS are the web client's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossdock.connectors.http.addresses import Target, target_of
from crossdock.connectors.http.client import client_for
from crossdock.connectors.http.errors import translated
from crossdock.connectors.http.options import HTTPOptions
from crossdock.connectors.layers import attempt
from crossdock.connectors.rest.asking import Ask
from crossdock.connectors.rest.auth import Auth, ClientCredentials, QueryKey, tokens_for
from crossdock.connectors.rest.gate import Gate, gate_for
from crossdock.connectors.rest.kept_pages import KeptPage, KeptPages, validators
from crossdock.connectors.rest.options import RESTOptions
from crossdock.errors import (
    ConnectionLostError,
    CrossdockError,
    Retry,
    StorageError,
    ThrottledError,
    UnsupportedError,
)
from crossdock.options import Secret

__all__ = ["Answer", "Fetching"]

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """One page as the server gave it; ``body`` is parsed JSON, ``None`` for an answer without one (204)."""

    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How pages of one API are fetched. Thread-safe; what it uses (connections, tokens, turns) is shared in a process."""

    origin: str
    options: RESTOptions
    http: HTTPOptions
    auth: Auth | None
    kept: KeptPages | None
    root: Target = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", target_of(self.origin))

    def page(self, ask: Ask, number: int) -> Answer:
        """Ask for one page; several times if failures may pass, so the list is never short for one.

        Requests: one, more for each failure that may pass (429, 5xx, broken connections; ``attempts`` bounds them), for
        redirects and for tokens. Memory is the page.

        Raises:
            CrossdockError: The page cannot be had, or is no JSON.
        """
        place = self.place(ask, number)
        url = f"{self.origin}{ask.target}"
        kept = self.kept.get(url) if self.kept is not None else None

        def once() -> Answer:
            found = self._once(ask, place, kept)
            answer = Answer(_parsed(found, place), found.headers)
            if self.kept is not None and found is not kept and validators(found.headers):
                self.kept.keep(url, found)
            return answer

        return attempt(
            once, operation="read", place=f"{self.origin}/{place['key']}", attempts=self.options.attempts
        )

    def place(self, ask: Ask, number: int) -> dict[str, Any]:
        """Where an error happened: the path and the page, without the query, which may hold what is nobody's business."""
        return {"operation": "read", "where": self.origin, "key": f"{ask.path[1:]} (page {number})"}

    def _once(self, ask: Ask, place: dict[str, Any], kept: KeptPage | None) -> KeptPage:
        asks = validators(kept.headers) if kept is not None else {}
        tokens = (
            tokens_for(self.auth, self.options.ca_bundle)
            if isinstance(self.auth, ClientCredentials)
            else None
        )
        token = tokens.current() if tokens is not None else None  # before the turn: it may be a request
        status, found = self._sent(ask, place, asks, token)
        if status == 401 and tokens is not None:
            status, found = self._sent(ask, place, asks, tokens.current(instead_of=token))
        if isinstance(found, CrossdockError):
            raise found
        if status == 304:
            if kept is None:
                raise StorageError("the server says that a page has not changed that was never read", **place)
            return kept
        return found

    def _sent(
        self, ask: Ask, place: dict[str, Any], asks: Mapping[str, str], token: str | None
    ) -> tuple[int, KeptPage | CrossdockError]:
        """One request in a turn of its own: status, and the answer or the error that it is."""
        if isinstance(self.auth, QueryKey) and isinstance(self.auth.key, Secret):
            ask = ask.with_params({self.auth.name: self.auth.key.reveal()})
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **asks}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client, gate = client_for(self.origin, self.http), gate_for(self.root.authority)
        with gate.turn(self.options.rate_per_s, self.options.max_in_flight):
            response = client.open("read", "GET", ask.target[1:], headers, shown=place["key"])
            status = int(response.status)
            if status not in (200, 203, 204, 304):
                return status, self._refused(client.refused(response, "read", place["key"]), gate)
            try:
                given = {name.lower(): value for name, value in response.headers.items()}
                body = b"" if status in (204, 304) else self._body(response, given, place)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        return status, KeptPage(headers=given, body=body)

    def _refused(self, error: Exception, gate: Gate) -> CrossdockError:
        if not isinstance(error, CrossdockError):  # pragma: no cover - the client's errors are ours
            raise error
        wait = error.retry_after_s
        if wait is not None and wait > self.options.max_retry_after_s:
            error.retry = Retry.EXHAUSTED
            error.hint = f"the server asks to come again in {wait:.0f} s; max_retry_after_s allows less"
        elif wait is not None and isinstance(error, ThrottledError):
            gate.rest(wait)
        return error

    def _body(self, response: Any, headers: Mapping[str, str], place: dict[str, Any]) -> bytes:
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", "x-gzip", ""):
            raise UnsupportedError(f"the server sends {coding}, which was not asked for", **place)
        inflate = zlib.decompressobj(31) if coding.endswith("gzip") else None
        body, limit = bytearray(), self.options.max_page_bytes
        while True:
            with translated(**place):
                piece = response.read(_PIECE, decode_content=False)
            if not piece:
                break
            try:
                body += inflate.decompress(piece, limit + 1 - len(body)) if inflate is not None else piece
            except zlib.error as error:
                raise ConnectionLostError(
                    f"the page is not the gzip it claims to be ({error})", **place
                ) from error
            if len(body) > limit:
                raise UnsupportedError(
                    f"the page is larger than {limit} bytes",
                    hint="ask for fewer records at a time, or raise max_page_bytes",
                    **place,
                )
        if response.length_remaining or (inflate is not None and not inflate.eof):
            raise ConnectionLostError("the page ended early", **place)
        return bytes(body)


def _parsed(page: KeptPage, place: dict[str, Any]) -> Any:
    """A page's JSON.

    Raises:
        StorageError: It is none; worth another try if the server calls it JSON, since it may have been cut.
    """
    if not page.body.strip():
        return None
    try:
        return json.loads(page.body)
    except (ValueError, RecursionError) as error:
        kind = page.headers.get("content-type", "").partition(";")[0].strip().lower()
        raise StorageError(
            f"the page is no JSON ({'cut short?' if kind.endswith('json') else kind or 'no type is given'})",
            hint="check the path; an API's page for people is not its data",
            retry=Retry.LATER if kind.endswith("json") else Retry.NEVER,
            **place,
        ) from error
