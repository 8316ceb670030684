"""How to reach GCS and as whom, in gcsfs's vocabulary, with object_store's names as aliases.

Nothing here opens a file or asks a server: values are only brought into one form, so that a recipe built on one
machine means the same on another.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from crossdock.errors import ConfigError
from crossdock.options import Secret, option

__all__ = ["GCSOptions"]

_GOOGLE = "https://storage.googleapis.com"
_EMULATOR = "STORAGE_EMULATOR_HOST"  # read by all of Google's own clients
_WORDS = frozenset({"google_default", "cloud", "anon"})
_NOT_HERE = frozenset({"browser", "cache"})  # gcsfs knows them; both need a person at a screen
_SCOPES = {
    "read_only": "https://www.googleapis.com/auth/devstorage.read_only",
    "read_write": "https://www.googleapis.com/auth/devstorage.read_write",
    "full_control": "https://www.googleapis.com/auth/devstorage.full_control",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GCSOptions:
    """Options of a GCS source or sink.

    Without a token Google's default credentials are used, and their absence is an error: never a silent fall-back to
    anonymous access. The one exception is what every Google client does: with STORAGE_EMULATOR_HOST set, or an
    ``endpoint_url`` on a loopback address, and no token, requests are anonymous (``anon=False`` forbids it).

    Raises:
        ConfigError: A value has no meaning.
    """

    token: Secret | str | dict[str, Any] | None = option(  # noqa: RUF009 - a field, not a call at run time
        "Credentials: google_default, cloud (metadata server), anon, the path of a JSON file, a JSON object, or an "
        "access token.",
        secret=True,
        aliases=(
            "google_service_account",
            "google_service_account_path",
            "service_account",
            "service_account_path",
            "google_service_account_key",
            "service_account_key",
            "google_application_credentials",
            "application_credentials",
            "google_bearer_token",
            "bearer_token",
        ),
    )
    anon: bool | None = option("Send no credentials.", aliases=("google_skip_signature", "skip_signature"))
    access: str = option(
        "What service-account credentials ask for: read_only, read_write or full_control.",
        default="read_write",
    )
    project: str | None = option(
        "Project billed when requester_pays is true; by default the one the credentials belong to.",
        aliases=("project_id",),
    )
    requester_pays: bool = option("Bill the project for requests to requester-pays buckets.", default=False)
    user_project: str | None = option(
        "Project billed for requests to requester-pays buckets, by name.", aliases=("userProject",)
    )
    endpoint_url: str | None = option(
        "Root of the service, without a path; without a scheme it is http, as for STORAGE_EMULATOR_HOST.",
        env=(_EMULATOR,),
        aliases=("google_base_url", "base_url", "endpoint"),
    )
    connect_timeout_s: float = option(
        "How long a connection may take to open.", default=10.0, unit="s", aliases=("connect_timeout",)
    )
    no_progress_timeout_s: float = option(
        "How long an open connection may move no byte.",
        default=60.0,
        unit="s",
        aliases=("read_timeout", "requests_timeout"),
    )

    def __post_init__(self) -> None:
        settle = _Settle(self)
        settle("token", _token(self.token))
        if self.token == "anon":  # noqa: S105 - gcsfs's word for no credentials
            settle("token", None)
            settle("anon", _agreed(self.anon))
        if self.access not in _SCOPES:
            raise ConfigError(f"access is one of {', '.join(_SCOPES)}, not {self.access!r}", operation="open")
        for project in (self.project, self.user_project):
            if project is not None and re.fullmatch(r"[A-Za-z0-9:._-]+", project) is None:
                raise ConfigError(f"{project!r} is no project", operation="open")
        if self.connect_timeout_s <= 0 or self.no_progress_timeout_s <= 0:
            raise ConfigError("a timeout is a positive number of seconds", operation="open")
        if self.endpoint_url is not None:
            settle("endpoint_url", _root(self.endpoint_url))
        if self.anon is None and self.token is None and self.is_emulator:
            settle("anon", value=True)
        if self.anon and self.token is not None:
            raise ConfigError("anon and a token exclude each other", operation="open")

    @property
    def root(self) -> str:
        """Root URL of the service: scheme, host and port."""
        return self.endpoint_url or _GOOGLE

    @property
    def scope(self) -> str:
        """The OAuth scope to ask for."""
        return _SCOPES[self.access]

    @property
    def is_emulator(self) -> bool:
        """Whether the endpoint is on this machine, or is what STORAGE_EMULATOR_HOST names."""
        if self.endpoint_url is None:
            return False
        named = os.environ.get(_EMULATOR)
        return _is_loopback(self.endpoint_url) or (bool(named) and _root(str(named)) == self.endpoint_url)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for recipes that may share one client. A secret counts by its reference: it is not revealed for this."""
        token = self.token
        if isinstance(token, Secret):
            # Of a reference, __reduce__ gives the reference; of a literal it would set an environment variable.
            token = str(token.__reduce__()[1][0]) if token.is_reference else token.reveal()
        return (
            token,
            self.anon,
            self.access,
            self.project,
            self.requester_pays,
            self.user_project,
            self.root,
            self.connect_timeout_s,
            self.no_progress_timeout_s,
        )


class _Settle:
    """Set a field of a frozen record while it is being made."""

    def __init__(self, options: GCSOptions) -> None:
        self._options = options

    def __call__(self, name: str, value: object) -> None:
        object.__setattr__(self._options, name, value)


def _token(token: Secret | str | Mapping[str, Any] | None) -> Secret | str | None:
    """Words and paths as plain text, which travels to any worker; what is secret as ``Secret``."""
    if isinstance(token, Mapping):
        return Secret(json.dumps(dict(token)))
    if isinstance(token, Secret):
        if token.is_reference:
            return token
        text = token.reveal().strip()
    elif token is None:
        return None
    else:
        text = token.strip()
    if not text:
        raise ConfigError("the token is empty", operation="open", hint="leave it out, or name credentials")
    if text in _NOT_HERE:
        raise ConfigError(
            f"token={text} needs a person at a screen",
            operation="open",
            hint="run `gcloud auth application-default login`",
        )
    is_path = text.startswith(("/", "~", "./", "../")) or text.endswith(".json")
    return text if text in _WORDS or is_path else Secret(text)


def _agreed(anon: bool | None) -> bool:
    if anon is False:
        raise ConfigError("token=anon and anon=false contradict each other", operation="open")
    return True


def _root(url: str) -> str:
    """Scheme, host and port of an endpoint.

    Raises:
        ConfigError: It is no such thing.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"endpoint_url: {error}", operation="open") from None
    has_more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or has_more or not url.isascii():
        raise ConfigError(
            "endpoint_url is a root such as https://storage.googleapis.com, without path or user",
            operation="open",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _is_loopback(root: str) -> bool:
    host = urlsplit(root).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
