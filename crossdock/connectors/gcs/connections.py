"""How connections are made: TLS verified, no hidden retries, and the environment's proxies, as Google's clients do."""

from __future__ import annotations

import urllib.request
from typing import Any
from urllib.parse import urlsplit

import urllib3

__all__ = ["Routed", "manager_for"]


def manager_for(url: str, *, connections: int, timeout: urllib3.Timeout) -> urllib3.PoolManager:
    """Connections to the host of ``url``, through the proxy the environment names for it, if any."""
    settings: dict[str, Any] = {
        "maxsize": connections,
        "timeout": timeout,
        "retries": False,
        "cert_reqs": "CERT_REQUIRED",
    }
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}", **settings)
    return urllib3.PoolManager(**settings)


class Routed:
    """What ``google.auth`` needs of urllib3, with the right route for each host it asks."""

    def __init__(self, timeout: urllib3.Timeout) -> None:
        self._timeout = timeout

    def request(self, method: str, url: str, **settings: Any) -> urllib3.BaseHTTPResponse:
        """Make one request; a token is asked for once an hour, so nothing is kept open."""
        manager = manager_for(url, connections=1, timeout=self._timeout)
        try:
            return manager.request(method, url, **settings)
        finally:
            manager.clear()
