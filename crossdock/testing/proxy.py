"""A proxy in front of any HTTP server that does wrong what rules say: `FaultProxy`.

It is a `LoopbackServer` whose service is another server: the same `Rule` that an embedded server obeys means the same in
front of rclone, Azurite or a service of your own, and nothing is built twice. Each request is read whole, sent on with the
headers it came with (the Host too, so that signatures stay valid), and its answer read whole before it goes back:
memory is the largest body times the connections, and the order of requests on a connection is kept.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from crossdock.testing.dialects import DIALECTS
from crossdock.testing.rules import Faults
from crossdock.testing.server import LoopbackServer
from crossdock.testing.wire import Request, Response, Route

__all__ = ["FaultProxy"]

_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"})
_FRAMING = frozenset({"transfer-encoding", "content-length", "connection", "keep-alive", "date"})
_TIMEOUT_S = 120.0


class FaultProxy:
    """Stand on a free port of 127.0.0.1 before the server at ``upstream``. Thread-safe.

    Args:
        upstream: Root URL of the server, such as ``http://127.0.0.1:9000``; plain HTTP.
        faults: What shall go wrong; by default nothing, until rules are added to ``.faults``.
        speaks: How requests are named for rules, and which error documents are injected: ``s3``, ``gcs``, ``azure``, or
            ``http`` for anything else (operations are then methods in small letters, such as ``get``).
        tls: Speak TLS to clients with this certificate, self-signed for instance. Handshakes that the client breaks off
            count in ``.faults.fired`` as ``TLS refused``.
        port: 0 takes a free one.

    Example:
        >>> from crossdock.testing import EmbeddedGCS, FaultProxy, Rule
        >>> with EmbeddedGCS() as gcs, FaultProxy(gcs.url, speaks="gcs") as proxy:
        ...     proxy.faults.add(Rule(operation="object.get", cut_at=-1, cut_with="rst", first=1, name="cut"))
        'cut'
    """

    def __init__(
        self,
        upstream: str,
        faults: Faults | None = None,
        *,
        speaks: str = "http",
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        place = urlsplit(upstream)
        if place.scheme != "http" or place.hostname is None or place.path.strip("/"):
            raise ValueError(f"{upstream!r} is not the root URL of a plain HTTP server")
        if speaks not in DIALECTS:
            raise ValueError(f"speaks is one of {', '.join(sorted(DIALECTS))}, not {speaks!r}")
        self.faults = faults if faults is not None else Faults()
        self._host, self._upstream_port = place.hostname, place.port or 80
        self._named, self._error = DIALECTS[speaks]()
        self._tls, self._port = tls, port
        self._server = self._made(port)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, or ``https``, while the proxy runs; the same after ``refusing``."""
        return self._server.url

    def start(self) -> Self:
        """Listen; returns itself."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, and wait for the threads."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Inside, the port refuses connections and those that stood are cut; afterwards it serves as before."""
        port = urlsplit(self.url).port or 0
        self._server.stop()
        with socket.socket() as holder:  # bound and not listening: refused, and nobody else gets the port
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", port))
            yield
        self._server = self._made(port).start()

    @contextlib.contextmanager
    def unreachable(self) -> Iterator[str]:
        """A URL of the same kind where connections are neither accepted nor refused, as behind a dead firewall.

        A port whose queue is full and never served; Linux drops what comes then.
        """
        with socket.socket() as listener, contextlib.ExitStack() as fillers:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            port = listener.getsockname()[1]
            for _ in range(4):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            yield f"{urlsplit(self.url).scheme}://127.0.0.1:{port}"

    def route(self, request: Request) -> Route:
        """Find what a request means (the server calls it; see `crossdock.testing.wire.App`)."""
        named = self._named(request)
        return Route(named.operation, self._forward, named.bucket, named.key)

    def error(self, request: Request, status: int) -> Response:
        """Make an error document for an injected status, in the language of the service behind."""
        return self._error(request, status)

    def _made(self, port: int) -> LoopbackServer:
        return LoopbackServer(self, self.faults, port, tls=self._tls)

    def _forward(self, request: Request) -> Response:
        """Send the request on, on a connection of its own, and read the answer whole.

        An upstream that is gone is answered with 502 like by any proxy.
        """
        connection = http.client.HTTPConnection(self._host, self._upstream_port, timeout=_TIMEOUT_S)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in _HOP and name not in {"transfer-encoding", "content-length"}:
                    connection.putheader(name, value.encode("latin-1"))
            if request.chunks or request.method in {"PUT", "POST", "PATCH"}:
                connection.putheader("Content-Length", str(request.size))
            connection.endheaders()
            for chunk in request.chunks:
                connection.send(chunk)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Response.text(502, f"upstream: {type(error).__name__}: {error}\n", "text/plain")
        finally:
            connection.close()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _FRAMING]
        length = answer.getheader("content-length")
        return Response(
            answer.status,
            headers,
            (body,) if body else (),
            int(length) if length is not None and request.method == "HEAD" else None,
            is_chunked=answer.chunked and request.method != "HEAD",
        )
