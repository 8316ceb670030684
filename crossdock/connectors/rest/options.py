"""The options of a REST source, and how credentials become the web client's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossdock.connectors.http.options import HTTPOptions
from crossdock.connectors.rest.auth import Auth, Basic, Bearer, ClientCredentials, HeaderKey, QueryKey
from crossdock.errors import ConfigError
from crossdock.options import Secret, option, sealed

__all__ = ["RESTOptions", "client_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RESTOptions:
    """How an API is asked, besides what is asked."""

    rate_per_s: float | None = option(
        "Most requests per second to the host, counting all of this process; no limit by default.", unit="1/s"
    )
    max_in_flight: int = option(
        "Most requests to the host at a time, counting all of this process.", default=8
    )
    attempts: int = option("How often a page is asked for before the list fails.", default=8)
    max_retry_after_s: float = option(
        "Longest wait that a server may ask for (Retry-After); a longer one fails at once.",
        default=300.0,
        unit="s",
    )
    max_page_bytes: int = option(
        "Largest page, uncompressed; a larger one fails.", default=64 * 2**20, unit="bytes"
    )
    cache: str | None = option(
        "URL below which pages with an ETag or Last-Modified are kept, to be asked for only if they changed."
    )
    cache_options: Mapping[str, Any] | None = option("Options of that URL's store.", nested=True)
    max_redirects: int = option("Redirects followed for one request.", default=5)
    allow_private_redirects: bool = option(
        "Follow redirects from a public server to private, loopback and link-local addresses.", default=False
    )
    connect_timeout_s: float = option("Longest wait for a connection.", default=10.0, unit="s")
    no_progress_timeout_s: float = option("Longest silence of a connection.", default=60.0, unit="s")
    ca_bundle: str | None = option(
        "File of certificates (PEM) to trust instead of the system's; TLS is always verified.",
        env=("SSL_CERT_FILE",),
    )

    def __post_init__(self) -> None:
        if self.rate_per_s is not None and self.rate_per_s <= 0:
            raise ConfigError("rate_per_s is more than 0", operation="open")
        if min(self.max_in_flight, self.attempts, self.max_page_bytes) < 1:
            raise ConfigError("max_in_flight, attempts and max_page_bytes are at least 1", operation="open")
        if self.cache_options is not None:
            object.__setattr__(self, "cache_options", sealed(dict(self.cache_options)))


def client_options(
    options: RESTOptions, auth: Auth | None, headers: Mapping[str, str | Secret] | None
) -> HTTPOptions:
    """The web client's options: its rules about credentials, redirects and TLS hold here too.

    Raises:
        ConfigError: A header is no header, or one that is crossdock's own to set.
    """
    given: dict[str, str | Secret] = dict(headers or {})
    if isinstance(auth, HeaderKey):
        given[auth.name] = auth.key
    elif auth is not None and not isinstance(auth, Bearer | Basic | QueryKey | ClientCredentials):
        raise ConfigError(
            f"auth is one of crossdock's values, not {type(auth).__name__}",
            operation="open",
            hint="give Bearer, Basic, HeaderKey, QueryKey or ClientCredentials",
        )
    if isinstance(auth, Bearer | Basic | ClientCredentials):
        clash = [name for name in given if name.lower() == "authorization"]
        if clash:
            raise ConfigError("auth and a header Authorization exclude each other", operation="open")
    return HTTPOptions(
        headers=given or None,
        user=auth.user if isinstance(auth, Basic) else None,
        password=auth.password if isinstance(auth, Basic) else None,  # type: ignore[arg-type] # sealed by Basic
        token=auth.token if isinstance(auth, Bearer) else None,  # type: ignore[arg-type] # sealed by Bearer
        max_redirects=options.max_redirects,
        allow_private_redirects=options.allow_private_redirects,
        connect_timeout_s=options.connect_timeout_s,
        no_progress_timeout_s=options.no_progress_timeout_s,
        ca_bundle=options.ca_bundle,
    )
