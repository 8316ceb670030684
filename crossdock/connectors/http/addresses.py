"""Where a request goes, and where a redirect may lead: pure decisions, and one look-up of a name.

A redirect is how a server outside makes a client inside ask for something inside (a metadata service, an intranet).
So a redirect from a public host to a private, loopback or link-local address is refused; the answer of the look-up that
was judged is the address that is connected to, or a name that answers twice differently would defeat the judgement.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from crossdock.errors import ConfigError, ConnectionLostError, UnsupportedError

__all__ = ["Target", "is_private", "redirected", "resolve", "target_of"]

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Target:
    """One place to ask: origin and request target, the latter byte for byte as it is sent."""

    scheme: str
    host: str  # as the URL names it, IPv6 without brackets
    port: int
    path: str  # with the query, never normalised

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials and cookies are bound to."""
        return self.scheme, self.host.lower(), self.port

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole, as one URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


def target_of(url: str, path: str = "/") -> Target:
    """The target of ``path`` below an origin such as ``https://host:8443``.

    Raises:
        ConfigError: The URL is no origin, or names a user.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise _bad(url, "its port is not a number below 65,536") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _bad(url, "it names no host")
    if "@" in parts.netloc:
        raise ConfigError(
            "a user or password in the URL would show in logs and reports",
            operation="open",
            where=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
            hint="give the options user and password",
        )
    if not parts.netloc.isascii() or not parts.netloc.isprintable() or " " in parts.netloc:
        raise _bad(url, "its host is not plain ASCII")
    return Target(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def _bad(url: str, why: str) -> ConfigError:
    return ConfigError(f"the URL leads nowhere: {why}", operation="open", where=url)


def redirected(now: Target, location: str | None, **place: Any) -> Target:
    """Where a redirect leads. An absolute Location is taken as written; a relative one is resolved as RFC 3986 says.

    Raises:
        UnsupportedError: It leads from https to http, to another scheme, nowhere, or carries a user name.
    """
    if not location:
        raise UnsupportedError("the server redirects without saying where", **place)
    # Headers are bytes, read as Latin-1; what is no URL character is escaped, as browsers do.
    text = quote(location.strip().encode("latin-1", "replace"), safe=_PRINTABLE).partition("#")[0]
    if text.startswith("//"):
        text = f"{now.scheme}:{text}"
    whole = text if _SCHEME.match(text) else urljoin(now.url, text)
    scheme, _, rest = whole.partition("://")
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise UnsupportedError(f"the server redirects to a {scheme}: URL", **place)
    if now.scheme == "https" and scheme == "http":
        raise UnsupportedError(
            "the server redirects from https to http, which is not followed",
            hint="name the http:// URL if you trust the way there",
            **place,
        )
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    try:
        return target_of(f"{scheme}://{authority}", path if path.startswith("/") else f"/{path}")
    except ConfigError as error:
        raise UnsupportedError(
            f"the server redirects to a URL that is refused: {error.cause}", **place
        ) from None


def resolve(host: str, port: int, **place: Any) -> list[str]:
    """The addresses of a host, in the system's order of preference; one look-up.

    Raises:
        ConnectionLostError: The name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectionLostError(
            f"the host {host} cannot be found ({error})", hint="check the URL", **place
        ) from error
    return [*dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)]


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet, or hides one that is not.

    IPv4 addresses inside IPv6 ones (mapped, 6to4, Teredo, NAT64) count as what they lead to.
    """
    ip = ipaddress.ip_address(address)
    inner: list[ipaddress.IPv4Address | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip.ipv4_mapped is not None:
            return is_private(str(ip.ipv4_mapped))
    hidden = any(other is not None and is_private(str(other)) for other in inner)
    return hidden or not ip.is_global or ip.is_multicast
