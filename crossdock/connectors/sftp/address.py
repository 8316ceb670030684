"""Where an SFTP store is: user, host, port and directory of a URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossdock.errors import ConfigError

__all__ = ["Address", "address_of"]

_AUTHORITY = re.compile(
    r"(?:(?P<user>[^@/]+)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/]+)(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A directory on a server. ``root`` is absolute, or relative to the user's home; without a slash at its end."""

    user: str | None
    host: str
    port: int
    root: str

    @property
    def url(self) -> str:
        """``sftp://user@host:port/root``, without what is the default; ``~`` is the user's home."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == 22 else f":{self.port}"
        root = self.root if self.root.startswith("/") else f"/~/{self.root}"
        return f"sftp://{user}{host}{port}{root.rstrip('/')}"

    def path(self, *segments: str) -> bytes:
        """The path of something below the root, as the protocol wants it."""
        head = self.root if self.root.endswith("/") or not segments else f"{self.root}/"
        return f"{head}{'/'.join(segments)}".encode()


def address_of(place: str) -> Address:
    """Read ``user@host:port/dir``; ``/~/dir`` is below the user's home.

    Raises:
        ConfigError: It is no such thing, or holds a password.
    """
    place = place.partition("://")[2] or place
    authority, _, path = place.partition("/")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ConfigError(
            "the URL names no host", operation="open", where=f"sftp://{authority.rpartition('@')[2]}"
        )
    user = match["user"]
    if user is not None and ":" in user:
        raise ConfigError(
            "a password in the URL would show in logs and reports",
            operation="open",
            where=f"sftp://{user.partition(':')[0]}@{authority.rpartition('@')[2]}",
            hint="give the option password, or a key",
        )
    port = int(match["port"] or 22)
    if not 0 < port < 65536 or "\0" in path:
        raise ConfigError(
            "the URL names no port or directory there can be", operation="open", where=f"sftp://{authority}"
        )
    root = "/" + path.strip("/") if path.strip("/") else "/"
    if path == "~" or path.startswith("~/"):
        root = path[1:].strip("/") or "."
    return Address(user, match["host"].strip("[]"), port, root)
