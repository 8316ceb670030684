"""The threaded server under every embedded service, and the place where faults happen.

One thread for each connection, kept alive between requests, on 127.0.0.1 only. A fault is decided when the head
of a request has been read, and applied here and in `crossdock.testing.damage`, outside the service: the service never knows. Stopping closes
every connection and waits for every thread, also for those that sleep in a delay.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from crossdock.testing.damage import (
    damage_request,
    damage_response,
    read_damaged_body,
    reset,
    send_damaged,
    wait_for_client,
)
from crossdock.testing.rules import Fault, Faults
from crossdock.testing.wire import (
    App,
    BadMessageError,
    Request,
    Response,
    Route,
    Wire,
    render_head,
)

_STOP_TIMEOUT_S = 10.0


class LoopbackServer:
    """Carry one `App` on a port of 127.0.0.1.

    Args:
        app: The service.
        faults: What shall go wrong; shared with the test.
        port: 0 takes a free one.
        tls: Speak TLS with this certificate; handshakes that the client breaks off count as ``TLS refused``.
    """

    def __init__(self, app: App, faults: Faults, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._app = app
        self._faults = faults
        self._wanted_port = port
        self._tls = tls
        self._last_answers: dict[str, Response] = {}
        self._listener: socket.socket | None = None
        self._threads: set[threading.Thread] = set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, while the server runs."""
        if self._listener is None:
            raise RuntimeError("the server is not running: call start() or enter it with `with`")
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> Self:
        """Listen and serve in threads of this process; returns itself."""
        if self._listener is not None:
            return self
        self._stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", self._wanted_port), backlog=1024)
        self._spawn(self._accept, "accept")
        return self

    def stop(self) -> None:
        """Close the port and every connection, and wait until all threads have ended; harmless if not running."""
        if self._listener is None:
            return
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, target: Callable[..., None], name: str, *args: Any) -> None:
        def run() -> None:
            try:
                target(*args)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"{type(self._app).__name__} {name}", daemon=True)
        with self._lock:  # stop() joins what is in the set, so it must have started
            self._threads.add(thread)
            thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and not self._stopping.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._stopping.is_set():
                    sock.close()
                    return
                self._sockets.add(sock)
            self._spawn(self._serve, "connection", sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._shaken(sock, self._tls)
        except OSError:  # an SSLError is one
            self._faults.count_fired("TLS refused")
            self._forget(sock)
            return
        wire = Wire(sock)
        try:
            while not self._stopping.is_set():
                request = wire.read_head()
                if request is None or not self._answer(wire, request):
                    break
        except BadMessageError as error:
            response = Response.text(400, f"{error}\n", "text/plain")
            with contextlib.suppress(OSError):
                wire.send(render_head(response, closes=True), response.chunks)
        except OSError:
            pass  # the client went away, or stop() closed the connection
        finally:
            self._forget(sock)

    def _shaken(self, sock: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        """The socket after the handshake; the plain one is of no more use."""
        secure = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._sockets.discard(sock)
            self._sockets.add(secure)
        try:
            secure.do_handshake()
        except OSError:
            self._forget(secure)
            raise
        return secure

    def _forget(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

    def _answer(self, wire: Wire, request: Request) -> bool:
        """Serve one request; False if the connection is of no more use."""
        route = self._app.route(request)
        fault = None
        if not route.operation.startswith("admin."):
            fault = self._faults.decide(
                operation=route.operation,
                method=request.method,
                target=request.target,
                bucket=route.bucket,
                key=route.key,
                headers=request.headers,
            )
        if fault is None:
            wire.read_body(request)
            if not request.is_complete and not route.takes_partial:
                return False
            self._send(wire, request, self._run(request, route))
            return request.is_complete and request.headers.get("connection", "").lower() != "close"
        try:
            return self._answer_with_fault(wire, request, route, fault)
        finally:
            fault.ended()

    def _answer_with_fault(self, wire: Wire, request: Request, route: Route, fault: Fault) -> bool:
        if (delay_s := fault.take("delay_s")) is not None:
            self._stopping.wait(delay_s)
        if fault.take("reset"):
            reset(wire.sock)
            return False
        is_whole = read_damaged_body(wire, request, fault, self._stopping)
        if not request.is_complete:
            if route.takes_partial and request.chunks:
                route.run(request)  # a resumable upload keeps what arrived; there is nobody to tell
            if not is_whole and getattr(fault.rule("cut_upload_at"), "cut_with", "") == "rst":
                reset(wire.sock)
            return False
        if fault.take("black_hole"):
            wait_for_client(wire.sock, self._stopping, math.inf)
            return False
        if (act := fault.take("act")) is not None:
            act()
        if fault.get("status") is not None and not fault.get("lose_ack"):
            self._send(wire, request, self._injected(request, fault))
            return True
        response = self._served(request, route, fault)
        if fault.take("lose_ack"):
            if fault.get("status") is not None:
                self._send(wire, request, self._injected(request, fault))
                return True
            reset(wire.sock)
            return False
        damage_response(request, response, fault)
        is_of_use = send_damaged(wire, request, response, fault, self._stopping)
        if is_of_use is None:
            self._send(wire, request, response)
            return True
        return is_of_use

    def _served(self, request: Request, route: Route, fault: Fault) -> Response:
        """What the service answers to a request that may be damaged before, or be served twice, or not at all."""
        with self._lock:
            before = self._last_answers.get(route.operation)
        if before is not None and fault.take("replay"):
            return replace(before, headers=[*before.headers])
        damage_request(request, fault)
        response = self._run(request, route)
        if fault.take("twice"):
            response = self._run(request, route)
        return response

    def _run(self, request: Request, route: Route) -> Response:
        response = route.run(request)
        if self._faults.replays(route.operation):
            with self._lock:
                self._last_answers[route.operation] = replace(response, headers=[*response.headers])
        return response

    def _injected(self, request: Request, fault: Fault) -> Response:
        rule = fault.rule("status")
        assert rule is not None
        assert rule.status is not None
        fault.take("status")
        response = self._app.error(request, rule.status)
        if rule.body is not None:
            response = Response.text(rule.status, rule.body, "text/plain")
        response.headers += rule.headers
        if rule.retry_after_s is not None:
            response.headers.append(("Retry-After", str(rule.retry_after_s)))
        return response

    @staticmethod
    def _send(wire: Wire, request: Request, response: Response) -> None:
        if request.method == "HEAD":
            if response.declared_length is None:
                response.declared_length = response.size
            response.chunks = ()
        chunks = list(response.chunks)
        if response.is_chunked and request.method != "HEAD":
            chunks = [
                *(piece for chunk in chunks if chunk for piece in (b"%x\r\n" % len(chunk), chunk, b"\r\n")),
                b"0\r\n\r\n",
            ]
        closes = request.headers.get("connection", "").lower() == "close"
        wire.send(render_head(response, closes=closes), chunks)
