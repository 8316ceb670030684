"""Who asks: credentials of an API as small frozen values that hold secrets by reference; and tokens, kept a process.

What a value shows (``repr``, a fingerprint) has no secret in it. Secrets are revealed where a request is made.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from crossdock.connectors.http.client import client_for
from crossdock.connectors.http.errors import translated
from crossdock.connectors.http.options import HTTPOptions
from crossdock.connectors.kept import Kept
from crossdock.connectors.layers import attempt
from crossdock.errors import ConfigError, CredentialsError, CrossdockError, Retry
from crossdock.options import Secret

__all__ = ["Auth", "Basic", "Bearer", "ClientCredentials", "HeaderKey", "QueryKey", "tokens_for"]

_TOKEN_LIMIT_BYTES = 1 << 20


def _sealed(value: Any, name: str) -> None:
    text = getattr(value, name)
    if not isinstance(text, str | Secret) or text == "":
        raise ConfigError(
            f"{name} is a secret reference such as env:API_TOKEN, not {type(text).__name__}", operation="open"
        )
    object.__setattr__(value, name, text if isinstance(text, Secret) else Secret(text))


@dataclass(frozen=True, slots=True)
class Bearer:
    """``Authorization: Bearer ...``.

    Args:
        token: ``env:NAME``, ``file:PATH``, ``cmd:COMMAND``; asked for again when the server answers 401.
    """

    token: str | Secret

    def __post_init__(self) -> None:
        _sealed(self, "token")


@dataclass(frozen=True, slots=True)
class Basic:
    """User and password.

    Args:
        user: The name, no secret.
        password: By reference.
    """

    user: str
    password: str | Secret

    def __post_init__(self) -> None:
        _sealed(self, "password")


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """A key in a header of its own, such as ``X-Api-Key``.

    Args:
        name: The header.
        key: By reference.
    """

    name: str
    key: str | Secret

    def __post_init__(self) -> None:
        _sealed(self, "key")


@dataclass(frozen=True, slots=True)
class QueryKey:
    """A key in the query, for APIs that know no better; it is in no error, event or cache entry of ours.

    Servers and proxies write URLs to their logs: take a header if the API has one.

    Args:
        name: The parameter.
        key: By reference.
    """

    name: str
    key: str | Secret

    def __post_init__(self) -> None:
        _sealed(self, "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """OAuth 2 client credentials (RFC 6749, 4.4): a token is fetched, kept a process, and renewed before it expires.

    Args:
        token_url: Where tokens are given out. Redirects are not followed from there.
        client_id: The client's name.
        client_secret: By reference.
        scope: What is asked for, space-separated.
        params: Further fields of the form, such as ``{"audience": "..."}``; no secrets.
        in_body: Send id and secret in the form instead of by basic authentication.
        renew_before_s: How long before its end a token is renewed; half its life, if that is shorter.
    """

    token_url: str
    client_id: str
    client_secret: str | Secret
    scope: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    in_body: bool = False
    renew_before_s: float = 60.0

    def __post_init__(self) -> None:
        _sealed(self, "client_secret")
        if isinstance(self.params, dict):
            object.__setattr__(self, "params", tuple(self.params.items()))
        if not urlsplit(self.token_url).hostname:
            raise ConfigError("token_url names no host", operation="open", where=self.token_url)


Auth = Bearer | Basic | HeaderKey | QueryKey | ClientCredentials


@dataclass(slots=True)
class Tokens:
    """The token of one client of one token server. Thread-safe: of many that need one, one fetches it."""

    auth: ClientCredentials
    ca_bundle: str | None
    clock: Callable[[], float] = time.monotonic
    _token: str | None = None
    _renew_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self, *, instead_of: str | None = None) -> str:
        """A token that is not about to expire; one request if there is none, tried again while failures may pass.

        Args:
            instead_of: One that was refused.

        Raises:
            CredentialsError: The token server gives none.
        """
        with self._lock:
            due = self._renew_at is not None and self.clock() >= self._renew_at
            if self._token is None or due or self._token == instead_of:
                self._token, self._renew_at = attempt(
                    self._fetched, operation="get a token", place=self.auth.token_url
                )
            return self._token

    def _fetched(self) -> tuple[str, float | None]:
        auth = self.auth
        secret = auth.client_secret.reveal() if isinstance(auth.client_secret, Secret) else auth.client_secret
        form = {"grant_type": "client_credentials", **({"scope": auth.scope} if auth.scope else {})}
        form |= dict(auth.params)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.in_body:
            form |= {"client_id": auth.client_id, "client_secret": secret}
        else:
            pair = f"{quote(auth.client_id, safe='')}:{quote(secret, safe='')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        parts = urlsplit(auth.token_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        target = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
        place: dict[str, Any] = {"operation": "get a token", "where": origin, "key": parts.path.lstrip("/")}
        began = self.clock()
        client = client_for(origin, HTTPOptions(ca_bundle=self.ca_bundle))
        response = client.open(
            "get a token",
            "POST",
            target,
            headers,
            follow=False,
            body=urlencode(form).encode(),
            shown=place["key"],
        )
        if response.status != 200:
            error = client.refused(response, "get a token", place["key"])
            raise _no_token(error, response.status, place)
        with translated(**place):
            data = response.read(_TOKEN_LIMIT_BYTES, decode_content=True)
        response.close()
        return self._taken(data, began, place)

    def _taken(self, data: bytes, began: float, place: dict[str, Any]) -> tuple[str, float | None]:
        try:
            answer = json.loads(data)
            token, life = answer["access_token"], answer.get("expires_in")
            life = None if life is None else float(life)
        except (ValueError, KeyError, TypeError, AttributeError):
            token, life = None, None
        if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
            raise CredentialsError("the token server's answer has no access_token", **place)
        if life is None:
            return token, None  # good until the API refuses it
        return token, began + life - min(self.auth.renew_before_s, life / 2)


def _no_token(error: Exception, status: int, place: dict[str, Any]) -> Exception:
    if isinstance(error, CrossdockError) and error.retry is Retry.LATER:
        return error
    return CredentialsError(
        f"the token server refuses ({status})", hint="check client_id, client_secret and scope", **place
    )


_tokens: Kept[Tokens] = Kept()


def tokens_for(auth: ClientCredentials, ca_bundle: str | None) -> Tokens:
    """The process's tokens of a client; a fork fetches its own."""
    return _tokens.get((os.getpid(), auth, ca_bundle), lambda: Tokens(auth, ca_bundle))
