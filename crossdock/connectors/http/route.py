"""Connections to web servers: TLS verified, request targets sent as written, the environment's proxies, no retries.

A hop that was judged by its address is connected to at that address, with the host's name in the Host header, in SNI
and in the check of the certificate.
"""

from __future__ import annotations

import ssl
import threading
import urllib.request
from collections import OrderedDict
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from crossdock.connectors.http.addresses import Target
from crossdock.connectors.http.options import HTTPOptions
from crossdock.errors import ConfigError

__all__ = ["Routes", "proxy_of"]

_POOL_SIZE = 64
_MAX_POOLS = 16  # a redirect may lead to a host of its own for each object
_RAW = "x-crossdock-target"  # carries the target past urllib3, which would normalise its percent escapes


class _Exact:
    """A connection that sends the target it was given, and may be as slow in sending as in receiving."""

    send_timeout_s: float = 60.0

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> None:
        sent = dict(headers or {})
        super().request(method, sent.pop(_RAW, url), body=body, headers=sent, **more)  # type: ignore[misc]


class _Plain(_Exact, HTTPConnection):
    pass


class _Secure(_Exact, HTTPSConnection):
    pass


def proxy_of(target: Target) -> str | None:
    """The proxy that the environment names for a target, as curl and the clouds' clients read it."""
    proxy = urllib.request.getproxies().get(target.scheme)
    if not proxy or urllib.request.proxy_bypass(target.authority):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class Routes:
    """Pools of connections by origin and address, the least recently used forgotten first. Thread-safe."""

    def __init__(self, options: HTTPOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._pools: OrderedDict[Any, urllib3.HTTPConnectionPool] = OrderedDict()
        self._context: ssl.SSLContext | None = None

    def send(
        self,
        target: Target,
        method: str,
        headers: dict[str, str],
        *,
        address: str | None,
        body: bytes | None = None,
    ) -> Any:
        """One request; the answer's body is still to be read. Raises what urllib3 raises.

        Args:
            target: Where to.
            method: HTTP's.
            headers: Without Host.
            address: Connect here instead of looking the host up; ``None`` for the first hop and through proxies.
            body: Of the request.
        """
        proxy = proxy_of(target)
        absolute = proxy is not None and target.scheme == "http"
        sent = {"Host": target.authority, **headers, _RAW: target.url if absolute else target.path}
        return self._pool(target, address, proxy).urlopen(
            method,
            "/",
            body=body,
            headers=sent,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            assert_same_host=False,
        )

    def _pool(self, target: Target, address: str | None, proxy: str | None) -> urllib3.HTTPConnectionPool:
        name = (target.origin, address, proxy)
        with self._lock:
            pool = self._pools.get(name)
            if pool is None:
                pool = self._pools[name] = self._made(target, address, proxy)
            self._pools.move_to_end(name)
            while len(self._pools) > _MAX_POOLS:
                self._pools.popitem(last=False)  # connections in use are closed when they are given back
            return pool

    def _made(self, target: Target, address: str | None, proxy: str | None) -> urllib3.HTTPConnectionPool:
        settings: dict[str, Any] = {
            "maxsize": _POOL_SIZE,
            "retries": False,
            "timeout": urllib3.Timeout(
                connect=self._options.connect_timeout_s, read=self._options.no_progress_timeout_s
            ),
        }
        secure = target.scheme == "https"
        if secure:
            settings["ssl_context"] = self._tls()
        pool: urllib3.HTTPConnectionPool
        if proxy is not None:
            manager = urllib3.ProxyManager(proxy, 1, **settings)
            pool = manager.connection_from_host(target.host, target.port, target.scheme)
        elif secure:
            pool = urllib3.HTTPSConnectionPool(
                address or target.host,
                target.port,
                server_hostname=target.host,
                assert_hostname=target.host,
                **settings,
            )
        else:
            pool = urllib3.HTTPConnectionPool(address or target.host, target.port, **settings)
        pool.ConnectionCls = _Secure if secure else _Plain
        return pool

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=self._options.ca_bundle)
            except OSError as error:
                raise ConfigError(
                    f"ca_bundle cannot be used: {error.strerror or error}",
                    operation="open",
                    where="https://",
                    hint="check the option ca_bundle",
                ) from error
        return self._context
