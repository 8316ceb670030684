"""Who we are to Google: one token per process and recipe, shared by both engines, refreshed under a lock.

``google.auth`` resolves and refreshes; this module decides where to look, keeps the search for a metadata server
short, and hands out the current token without a lock as long as it is fresh.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import google.auth
import google.auth.exceptions
import urllib3
from google.auth import compute_engine
from google.auth.transport.urllib3 import Request

from crossdock.connectors.gcs.connections import Routed
from crossdock.connectors.gcs.options import GCSOptions
from crossdock.errors import ConfigError, ConnectionLostError, CredentialsError, CrossdockError, Retry
from crossdock.options import Secret

__all__ = ["Tokens"]

# google.auth warns of each step of its search; without this Python prints that where nobody configured logging. What
# matters of it is in the error.
logging.getLogger("google.auth").addHandler(logging.NullHandler())

_METADATA_TIMEOUT_S = 1.0
_METADATA_ATTEMPTS = 2
_EARLY_S = 225.0  # google.auth renews a token this long before it expires
_YOUNG_S = 10.0  # a token refused at this age was never good

_LOOKED_FOR = "looked for GOOGLE_APPLICATION_CREDENTIALS, gcloud's application_default_credentials.json and a metadata server"
_WHAT_TO_DO = (
    "set GOOGLE_APPLICATION_CREDENTIALS or token=..., run `gcloud auth application-default login`, "
    "or pass anon=true for public buckets"
)


class ObstoreCredential(TypedDict):
    """What obstore's credential provider returns."""

    token: str
    expires_at: datetime | None


class Tokens:
    """The access token of one recipe. Thread-safe; nothing is resolved before the first use.

    Args:
        options: Which credentials.
        where: The place errors name.
    """

    def __init__(self, options: GCSOptions, where: str) -> None:
        self._options = options
        self._where = where
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._project: str | None = None
        self._request: Request | None = None
        self._expires: datetime | None = None
        self._minted = 0.0
        # Read without the lock, so replaced as a whole. Seconds on the monotonic clock.
        self._current: tuple[str | None, float] = (None, math.inf if options.anon else -math.inf)

    def bearer(self) -> str | None:
        """The token to send now; ``None`` for anonymous requests. A request to Google only when it must be renewed.

        Raises:
            CredentialsError: There are no credentials, or Google refuses them; says what was looked for.
            ConnectionLostError: The token server does not answer.
        """
        token, fresh_until = self._current
        return token if time.monotonic() < fresh_until else self._renewed()

    def billed_project(self) -> str | None:
        """The project that requester-pays requests are billed to, if they were asked for.

        Raises:
            ConfigError: No project is known.
        """
        options = self._options
        if options.user_project or not options.requester_pays:
            return options.user_project
        if options.project is None:
            self.bearer()
        project = options.project or self._project
        if project is None:
            raise ConfigError(
                "requester_pays needs a project to bill",
                operation="open",
                where=self._where,
                hint="set project",
            )
        return project

    def refused(self, token: str | None) -> bool:
        """Note that the service refused ``token``; true if another one can be had, so that trying again makes sense."""
        with self._lock:
            if token != self._current[0]:
                return True
            refreshable = self._credentials is not None and not isinstance(self._credentials, _Static)
            if not refreshable or time.monotonic() - self._minted < _YOUNG_S:
                return False
            self._current = (token, -math.inf)
            return True

    def for_obstore(self) -> ObstoreCredential:
        """The same token, in the form of obstore's credential provider."""
        token = self.bearer()
        return {"token": token or "", "expires_at": self._expires}

    def _renewed(self) -> str | None:
        with self._lock:
            token, fresh_until = self._current
            if time.monotonic() < fresh_until:  # another thread was here first
                return token
            try:
                self._refresh()
            except google.auth.exceptions.RefreshError as error:
                retry = Retry.LATER if getattr(error, "retryable", False) else Retry.NEVER
                raise self._invalid(
                    f"Google gives no token for these credentials: {_text(error)}", retry
                ) from error
            except google.auth.exceptions.TransportError as error:
                raise ConnectionLostError(
                    f"the token server does not answer: {_text(error)}",
                    operation="authenticate",
                    where=self._where,
                    hint="check the network and HTTPS_PROXY",
                ) from error
            except google.auth.exceptions.DefaultCredentialsError as error:
                raise self._missing(error) from error
            except CrossdockError:
                raise
            except Exception as error:  # a damaged file makes google.auth raise anything, AttributeError too
                raise self._invalid(f"the credentials cannot be used: {_text(error)}") from error
            return self._current[0]

    def _refresh(self) -> None:
        if self._request is None:
            timeout = urllib3.Timeout(
                connect=self._options.connect_timeout_s, read=self._options.no_progress_timeout_s
            )
            self._request = Request(Routed(timeout))  # type: ignore[no-untyped-call]
        if self._credentials is None:
            self._credentials, self._project = self._resolved(self._request)
        if isinstance(self._credentials, _Static):
            self._current = (self._credentials.token, math.inf)
            return
        self._credentials.refresh(self._request)
        self._minted = time.monotonic()
        expiry = self._credentials.expiry  # naive, in UTC
        if expiry is None:
            self._expires, fresh_for_s = None, math.inf
        else:
            self._expires = expiry.replace(tzinfo=UTC)
            left_s = self._expires.timestamp() - time.time()
            # A token that lives shorter than Google's margin is used for half its life.
            fresh_for_s = max(left_s - _EARLY_S, left_s / 2)
        self._current = (str(self._credentials.token), self._minted + fresh_for_s)

    def _resolved(self, request: Request) -> tuple[Any, str | None]:
        """Credentials and the project they belong to."""
        given = self._options.token
        text = given.reveal().strip() if isinstance(given, Secret) else given
        scopes = [self._options.scope]
        if text is None or text == "google_default":
            return google.auth.default(scopes=scopes, request=_Impatient(request))  # type: ignore[arg-type]
        if text == "cloud":
            _Impatient(request).find_metadata_server()
            return compute_engine.Credentials(), None  # type: ignore[no-untyped-call]
        if not isinstance(text, str):
            raise TypeError("GCSOptions turns every other token into text")
        if text.startswith("{"):
            return _from_json(text, scopes, request)
        path = Path(text).expanduser()
        if text.endswith(".json") or text.startswith(("/", "~", ".")) or path.is_file():
            return _from_json(path.read_text(encoding="utf-8"), scopes, request)
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("the token is no access token: it has characters no token has")
        return _Static(text), None

    def _missing(self, error: Exception) -> CredentialsError:
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        default = self._options.token in (None, "google_default")
        found = f"; GOOGLE_APPLICATION_CREDENTIALS names {named}: {_text(error)}" if named else ""
        cause = (
            f"no Google credentials: {_LOOKED_FOR}{found}"
            if default
            else f"no Google credentials: {_text(error)}"
        )
        return CredentialsError(cause, operation="authenticate", where=self._where, hint=_WHAT_TO_DO)

    def _invalid(self, cause: str, retry: Retry = Retry.NEVER) -> CredentialsError:
        return CredentialsError(
            cause, operation="authenticate", where=self._where, hint=_WHAT_TO_DO, retry=retry
        )


class _Static:
    """A raw access token: cannot be renewed."""

    def __init__(self, token: str) -> None:
        self.token = token


class _Impatient:
    """A transport for the search: the metadata server answers within a second, or there is none.

    google.auth would wait three seconds three times with pauses. Once found, all goes at the usual pace.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self._failures = 0

    def __call__(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        if timeout is None:
            return self._request(*args, **kwargs)
        try:
            return self._request(*args, timeout=min(timeout, _METADATA_TIMEOUT_S), **kwargs)
        except google.auth.exceptions.TransportError as error:
            self._failures += 1
            if self._failures >= _METADATA_ATTEMPTS:
                raise google.auth.exceptions.DefaultCredentialsError("no metadata server answers") from error  # type: ignore[no-untyped-call]
            raise

    def find_metadata_server(self) -> None:
        """Raise ``DefaultCredentialsError`` within seconds if this is no machine of Google's."""
        from google.auth.compute_engine import _metadata

        if not _metadata.ping(self):  # type: ignore[no-untyped-call]
            raise google.auth.exceptions.DefaultCredentialsError("no metadata server answers (token=cloud)")  # type: ignore[no-untyped-call]


def _from_json(text: str, scopes: list[str], request: Request) -> tuple[Any, str | None]:
    info = json.loads(text)
    if not isinstance(info, dict):
        raise ValueError("the credentials are no JSON object")  # noqa: TRY004 - a value read from a file
    with warnings.catch_warnings():
        # Google warns of loading any kind of credentials by one call; the user named these.
        warnings.simplefilter("ignore", DeprecationWarning)
        credentials, project = google.auth.load_credentials_from_dict(info, scopes=scopes, request=request)  # type: ignore[no-untyped-call]
    return credentials, project


def _text(error: BaseException) -> str:
    """The first line of a foreign message: JSON decoding errors carry no content of the file."""
    words = str(error.args[0]) if error.args else type(error).__name__
    return words.splitlines()[0][:300] if words else type(error).__name__
