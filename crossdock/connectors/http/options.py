"""The options of HTTP sources, and what of them becomes request headers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from crossdock.errors import ConfigError, CredentialsError
from crossdock.options import Secret, option

__all__ = ["HTTPOptions", "private_headers"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Those that decide what is read, or how a message is framed, are ours.
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPOptions:
    """How a web server is read.

    Nothing that is given here as a header or credential is ever sent to another origin than the URL's own.
    """

    headers: Mapping[str, Any] | Secret | None = option(  # noqa: RUF009 - as every option; it is settled below
        "Headers to send to the URL's own origin, as a JSON object; values may be secret references.",
        secret=True,
    )
    user: str | None = option("User name of basic authentication.", aliases=("username",))
    password: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Password of basic authentication.", secret=True
    )
    token: Secret | None = option(  # noqa: RUF009 - as every option; only the immutable types pass unasked
        "Bearer token.", secret=True, aliases=("bearer_token",)
    )
    ranges: bool = option(
        "Whether parts of an object may be asked for; false for a server whose ranges cannot be trusted.",
        default=True,
        aliases=("allow_ranges",),
    )
    max_redirects: int = option("Redirects followed for one request.", default=10)
    allow_private_redirects: bool = option(
        "Follow redirects from a public server to private, loopback and link-local addresses.", default=False
    )
    connect_timeout_s: float = option(
        "Longest wait for a connection.", default=10.0, unit="s", aliases=("connect_timeout",)
    )
    no_progress_timeout_s: float = option(
        "Longest silence of a connection; there is no limit on total time.",
        default=60.0,
        unit="s",
        aliases=("read_timeout", "timeout"),
    )
    ca_bundle: str | None = option(
        "File of certificates (PEM) to trust instead of the system's; TLS is always verified.",
        env=("SSL_CERT_FILE",),
    )

    def __post_init__(self) -> None:
        if isinstance(self.headers, Mapping):
            settled = _Headers(_checked(self.headers))
            object.__setattr__(self, "headers", settled)
        if (self.user is None) != (self.password is None):
            _refuse("user and password belong together: give both or neither")
        if self.token is not None and self.user is not None:
            _refuse("token and user exclude each other")
        if self.max_redirects < 0:
            _refuse("max_redirects is not negative")
        if min(self.connect_timeout_s, self.no_progress_timeout_s) <= 0:
            _refuse("a timeout is more than 0 s")


class _Headers(dict[str, Secret]):
    """Header values, each a secret; hashable, because options are the name under which connections are kept."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Headers, (dict(self),)


def private_headers(options: HTTPOptions) -> dict[str, str]:
    """Headers that only the URL's own origin may see, their secrets revealed.

    Raises:
        CredentialsError: A secret reference leads nowhere, or what it leads to is no header.
    """
    given = options.headers
    if isinstance(given, Secret):
        given = _parsed(given.reveal())
    headers = {name: value.reveal() for name, value in (given or {}).items()}
    if options.token is not None:
        headers["Authorization"] = f"Bearer {options.token.reveal()}"
    if options.user is not None and options.password is not None:
        pair = f"{options.user}:{options.password.reveal()}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    for name, value in headers.items():
        if not value.isprintable() or not value.isascii():
            raise CredentialsError(
                f"the value of the header {name} has characters that no header carries",
                operation="open",
                where="https://",
                hint="check the options headers, token, user and password",
            )
    return headers


def _parsed(text: str) -> dict[str, Secret]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, Mapping):
        _refuse('headers is a JSON object such as {"X-Api-Key": "env:API_KEY"}')
    return _checked(value)


def _checked(given: Mapping[Any, Any]) -> dict[str, Secret]:
    headers = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            _refuse(f"{name!r} is no name of a header")
        if name.lower() in _OURS:
            _refuse(f"the header {name} is crossdock's own to set")
        if not isinstance(value, str | Secret):
            _refuse(f"the value of the header {name} is text, not {type(value).__name__}")
        headers[name] = value if isinstance(value, Secret) else Secret(value)
    return headers


def _refuse(cause: str) -> NoReturn:
    raise ConfigError(cause, operation="open", where="https://")
