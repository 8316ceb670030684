"""One request to a web server, its redirects followed within their limits. Nobody retries here.

Every hop is connected to at the address that was judged, the first one too: whether the URL's own host is private is
decided by where its answer really came from.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from urllib3 import exceptions as vendor

import crossdock
from crossdock.connectors.http.addresses import Target, is_private, redirected, resolve, target_of
from crossdock.connectors.http.errors import answered, translated
from crossdock.connectors.http.options import HTTPOptions, private_headers
from crossdock.connectors.http.route import Routes, proxy_of
from crossdock.connectors.kept import Kept
from crossdock.errors import UnsupportedError

__all__ = ["Client", "client_for"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOOKUP_S = 60.0  # how long an answer of the name service is believed; connections are kept by address
_MAX_LOOKUPS = 256


class Client:
    """Requests below one origin. Thread-safe.

    Attributes:
        ranges: Whether the last answer said that ranges are served; ``None`` before the first.
        heads: Whether the server takes HEAD.
    """

    def __init__(self, origin: str, options: HTTPOptions) -> None:
        self.where = origin
        self._root = target_of(origin)
        self._options = options
        self._routes = Routes(options)
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._private: dict[str, str] | None = None
        self.ranges: bool | None = None
        self.heads = True

    def open(
        self,
        operation: str,
        method: str,
        key: str | None,
        headers: Mapping[str, str],
        *,
        follow: bool = True,
        body: bytes | None = None,
        shown: str | None = None,
    ) -> Any:
        """Send one request; the answer, whatever its status, has its body still to be read.

        Requests: one, one more for each redirect, and one more if the server answers 401 and the credentials, asked for
        again, have changed meanwhile.

        Args:
            operation: For errors.
            method: HTTP's.
            key: The request target without its first slash.
            headers: For the URL's own origin only.
            follow: Whether redirects are followed; a request with a body is not to be.
            body: Of the request.
            shown: What errors call the target, where it holds a secret.

        Raises:
            UnsupportedError: A redirect leads where it is not followed to.
            ConnectionLostError: No connection, or it broke.
            StalledError: No progress.
        """
        private = self._credentials(fresh=False)
        place = {"operation": operation, "where": self.where, "key": key if shown is None else shown}

        def sent(private: dict[str, str]) -> Any:
            return self._followed(place, method, key, {**headers, **private}, follow=follow, body=body)

        response = sent(private)
        if response.status == 401 and private:
            renewed = self._credentials(fresh=True)
            if renewed != private:
                response.close()
                response = sent(renewed)
        return response

    def refused(self, response: Any, operation: str, key: str | None) -> Exception:
        """The error that an answer is; its connection is given up."""
        response.close()
        return answered(
            response.status,
            response.headers.get("retry-after"),
            operation=operation,
            where=self.where,
            key=key,
        )

    def _credentials(self, *, fresh: bool) -> dict[str, str]:
        """Revealed once and kept: a reference may be a command."""
        if self._private is None or fresh:
            self._private = private_headers(self._options)
        return self._private

    def _followed(
        self,
        place: dict[str, Any],
        method: str,
        key: str | None,
        headers: dict[str, str],
        *,
        follow: bool,
        body: bytes | None,
    ) -> Any:
        ours = {
            name: value
            for name, value in headers.items()
            if name in ("Range", "If-Match", "If-Unmodified-Since", "If-Range")
        }
        common = {
            "Accept-Encoding": "identity",
            "User-Agent": f"crossdock/{crossdock.__version__}",
            "Accept": "*/*",
        }
        target = Target(self._root.scheme, self._root.host, self._root.port, f"/{key or ''}")
        inside: bool | None = None
        for _ in range(self._options.max_redirects + 1):
            # Credentials, cookies and whatever else the user gave stay with the origin they were given for.
            sent = common | (headers if target.origin == self._root.origin else ours)
            response, address = self._hop(target, method, sent, place, inside=inside, body=body)
            if inside is None:
                inside = self._options.allow_private_redirects or (
                    address is not None and is_private(address)
                )
            if not follow or response.status not in _REDIRECTS:
                return response
            location = response.headers.get("location")
            response.close()
            target = redirected(target, location, **place)
        raise UnsupportedError(
            f"the server redirects more than {self._options.max_redirects} times",
            hint="name the final URL, or raise max_redirects",
            **place,
        )

    def _hop(
        self,
        target: Target,
        method: str,
        headers: dict[str, str],
        place: dict[str, Any],
        *,
        inside: bool | None,
        body: bytes | None,
    ) -> tuple[Any, str | None]:
        """One hop; ``inside`` is ``None`` for the first, else whether private addresses may be asked."""
        if proxy_of(target) is not None:
            self._demand_public_name(target, place, inside=inside)
            with translated(place["operation"], place["where"], place["key"]):
                return self._routes.send(target, method, headers, address=None, body=body), None
        addresses = self._addresses(target, place)
        if inside is False and any(is_private(address) for address in addresses):
            raise _private_redirect(target, place)
        with translated(place["operation"], place["where"], place["key"]):
            for number, address in enumerate(addresses, start=1):
                try:
                    return self._routes.send(target, method, headers, address=address, body=body), address
                except (vendor.NewConnectionError, vendor.ConnectTimeoutError):
                    if number == len(addresses):
                        self._forget(target)
                        raise
        raise AssertionError("unreachable: a look-up gives an address or raises")

    def _demand_public_name(self, target: Target, place: dict[str, Any], *, inside: bool | None) -> None:
        """Through a proxy the proxy looks names up; what is private by its very name is refused all the same."""
        name = target.host.lower().rstrip(".")
        if inside is not False:
            return
        try:
            private = is_private(name)
        except ValueError:
            private = name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
        if private:
            raise _private_redirect(target, place)

    def _addresses(self, target: Target, place: dict[str, Any]) -> list[str]:
        name, now = (target.host.lower(), target.port), time.monotonic()
        with self._lock:
            known = self._lookups.get(name)
        if known is not None and now - known[0] < _LOOKUP_S:
            return known[1]
        found = resolve(target.host, target.port, **place)
        with self._lock:
            if len(self._lookups) >= _MAX_LOOKUPS:
                self._lookups.clear()
            self._lookups[name] = (now, found)
        return found

    def _forget(self, target: Target) -> None:
        with self._lock:
            self._lookups.pop((target.host.lower(), target.port), None)


def _private_redirect(target: Target, place: dict[str, Any]) -> UnsupportedError:
    return UnsupportedError(
        f"the server redirects to {target.host}, which is a private address",
        hint="if you trust the server, set allow_private_redirects=true",
        **place,
    )


_clients: Kept[Client] = Kept()


def client_for(origin: str, options: HTTPOptions) -> Client:
    """The process's client of an origin with these options; a fork opens its own."""
    key = (os.getpid(), origin, options)
    return _clients.get(key, lambda: Client(origin, options))
