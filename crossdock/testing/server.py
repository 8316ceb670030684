"""The threaded server under every embedded service, and the place where faults happen.

One thread for each connection, kept alive between requests, on 127.0.0.1 only. A fault is decided when the head
of a request has been read, and applied here, outside the service: the service never knows. Stopping closes
every connection and waits for every thread, also for those that sleep in a delay.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from crossdock.testing.rules import Fault, Faults
from crossdock.testing.wire import (
    App,
    BadMessageError,
    Chunk,
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
    """

    def __init__(self, app: App, faults: Faults, port: int = 0) -> None:
        self._app = app
        self._faults = faults
        self._wanted_port = port
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
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

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
            )
        if fault is None:
            wire.read_body(request)
            if not request.is_complete and not route.takes_partial:
                return False
            self._send(wire, request, route.run(request))
            return request.is_complete and request.headers.get("connection", "").lower() != "close"
        return self._answer_with_fault(wire, request, route, fault)

    def _answer_with_fault(self, wire: Wire, request: Request, route: Route, fault: Fault) -> bool:
        if (delay_s := fault.take("delay_s")) is not None:
            self._stopping.wait(delay_s)
        if fault.take("reset"):
            _reset(wire.sock)
            return False
        wire.read_body(request)
        if not request.is_complete and not route.takes_partial:
            return False
        if fault.get("status") is not None and not fault.get("lose_ack"):
            self._send(wire, request, self._injected(request, fault))
            return True
        _damage_upload(request, fault)
        if fault.get("ignore_range") and "range" in request.headers:
            fault.take("ignore_range")
            del request.headers["range"]
        response = route.run(request)
        if fault.take("twice"):
            response = route.run(request)
        if fault.take("lose_ack"):
            if fault.get("status") is not None:
                self._send(wire, request, self._injected(request, fault))
                return True
            _reset(wire.sock)
            return False
        return self._send_damaged(wire, request, response, fault)

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

    def _send_damaged(self, wire: Wire, request: Request, response: Response, fault: Fault) -> bool:
        size = response.size
        if size and request.method != "HEAD" and (bit := fault.get("flip_bit")) is not None:
            fault.take("flip_bit")
            response.chunks = _flip(b"".join(response.chunks), bit)
        has_length = not (size and fault.take("no_length"))
        cut_at = fault.get("cut_at")
        rate = fault.get("rate_bytes_per_s") if size else None
        if has_length and rate is None and (cut_at is None or cut_at >= size):
            self._send(wire, request, response)
            return True
        head = render_head(replace(response, is_chunked=False), has_length=has_length, closes=not has_length)
        body = b"".join(response.chunks)
        cuts = cut_at is not None and cut_at < size
        if cuts:
            fault.take("cut_at")
            body = body[:cut_at]
        if rate is None:
            wire.send(head, (body,))
        else:
            fault.take("rate_bytes_per_s")
            wire.send(head, ())
            self._trickle(wire, body, rate)
        rule = fault.rule("cut_at")
        if cuts and rule is not None and rule.cut_with == "rst":
            _reset(wire.sock)
        return has_length and not cuts

    def _trickle(self, wire: Wire, body: bytes, rate_bytes_per_s: float) -> None:
        """Send in about fifty pieces a second; the schedule is absolute, so that late wake-ups do not add up."""
        piece = max(1, int(rate_bytes_per_s / 50))
        began = time.monotonic()
        for start in range(0, len(body), piece):
            due = began + min(start + piece, len(body)) / rate_bytes_per_s
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            wire.sock.sendall(body[start : start + piece])


def _reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN: with a linger time of 0 the kernel throws away what is unsent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _flip(body: bytes, bit: int) -> tuple[Chunk, ...]:
    """Return the body with one bit inverted, as one chunk."""
    damaged = bytearray(body)
    damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    return (bytes(damaged),)


def _damage_upload(request: Request, fault: Fault) -> None:
    """Truncate the body that arrived, or invert a bit of it; an empty body stays whole and nothing is counted."""
    limit = fault.get("truncate_upload_at")
    if limit is not None and limit < request.size:
        fault.take("truncate_upload_at")
        request.chunks = (request.body()[:limit],) if limit else ()
        request.is_truncated = True
    if request.size and (bit := fault.get("flip_upload_bit")) is not None:
        fault.take("flip_upload_bit")
        request.chunks = _flip(request.body(), bit)
