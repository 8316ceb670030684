"""What a fault does to one exchange: the request before the service sees it, the response before the client does.

Called by the server for requests that a rule hits, on the connection's own thread; the service knows nothing of it.
Each action counts its rule only when it had an effect.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase

from crossdock.testing.rules import Fault
from crossdock.testing.wire import Chunk, Request, Response, Wire, render_head

__all__ = [
    "damage_request",
    "damage_response",
    "place_in",
    "read_damaged_body",
    "reset",
    "send_damaged",
    "wait_for_client",
]

_LOOK_S = 0.02  # how often a wait looks whether the client is still there
_NARROW_BYTES = 16 << 10


def place_in(size: int, at: int) -> int:
    """An index into a body of ``size`` bytes; a negative one counts from the end."""
    return at if at >= 0 else max(0, size + at)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN: with a linger time of 0 the kernel throws away what is unsent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_for_client(sock: socket.socket, stopping: threading.Event, seconds: float) -> bool:
    """Do nothing for so long; False as soon as the client has gone away or the server stops."""
    until = time.monotonic() + seconds
    waiting = select.poll()  # not select(), which takes no descriptor above 1023
    try:
        waiting.register(sock, select.POLLIN)
    except (OSError, ValueError):  # it is closed already
        return False
    while (left := until - time.monotonic()) > 0:
        if stopping.wait(min(left, _LOOK_S)):
            return False
        if isinstance(sock, ssl.SSLSocket):  # cannot be looked into
            continue
        try:
            if waiting.poll(0) and not sock.recv(1, socket.MSG_PEEK):
                return False
        except OSError:
            return False
    return True


def read_damaged_body(wire: Wire, request: Request, fault: Fault, stopping: threading.Event) -> bool:
    """Receive the request's body, slowly or only in part; False if that was the end of the connection."""
    pace: Callable[[int], None] | None = None
    rate = fault.get("upload_rate_bytes_per_s")
    if rate is not None:
        fault.take("upload_rate_bytes_per_s")
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BYTES)
        began = time.monotonic()

        def pace(received: int) -> None:
            stopping.wait(max(0.0, began + received / rate - time.monotonic()))

    limit = fault.get("cut_upload_at")
    length = request.headers.get("content-length", "")
    if limit is None or not length.isdigit() or place_in(int(length), limit) >= int(length):
        wire.read_body(request, pace=pace)
        return True
    wire.read_body(request, limit=place_in(int(length), limit), pace=pace)
    fault.take("cut_upload_at")
    return False


def damage_request(request: Request, fault: Fault) -> None:
    """Hide headers, truncate the body that arrived or invert a bit of it; an empty body stays whole."""
    patterns = fault.get("hide_headers") or ()
    hidden = [name for name in request.headers if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if hidden:
        fault.take("hide_headers")
    if fault.get("ignore_range") and "range" in request.headers:
        fault.take("ignore_range")
        hidden.append("range")
    for name in hidden:
        request.headers.pop(name, None)
    limit = fault.get("truncate_upload_at")
    if limit is not None and (end := place_in(request.size, limit)) < request.size:
        fault.take("truncate_upload_at")
        request.chunks = (request.body()[:end],) if end else ()
        request.is_truncated = True
    if request.size and (bit := fault.get("flip_upload_bit")) is not None:
        fault.take("flip_upload_bit")
        request.chunks = _flip(request.body(), bit)


def damage_response(request: Request, response: Response, fault: Fault) -> None:
    """Truncate the body, invert a bit of it, change headers."""
    has_body = bool(response.size) and request.method != "HEAD"
    limit = fault.get("truncate_at")
    if has_body and limit is not None and (end := place_in(response.size, limit)) < response.size:
        fault.take("truncate_at")
        response.chunks = (b"".join(response.chunks)[:end],)
    if has_body and response.size and (bit := fault.get("flip_bit")) is not None:
        fault.take("flip_bit")
        response.chunks = _flip(b"".join(response.chunks), bit)
    for name, value in fault.get("answer_headers") or ():
        kept = [pair for pair in response.headers if pair[0].lower() != name.lower()]
        changed = [*kept, (name, value)] if value else kept
        if changed != response.headers:
            fault.take("answer_headers")
            response.headers = changed


def send_damaged(
    wire: Wire, request: Request, response: Response, fault: Fault, stopping: threading.Event
) -> bool | None:
    """Send a response cut, slowly, with a pause or without its length.

    Returns:
        Whether the connection is still of use; None if none of these applies, and nothing was sent.
    """
    size = 0 if request.method == "HEAD" else response.size
    rate = fault.get("rate_bytes_per_s") if size else None
    cut, stall = (_within(size, fault.get(action)) for action in ("cut_at", "stall_at"))
    has_length = not (size and fault.take("no_length"))
    if has_length and rate is None and cut is None and stall is None:
        return None
    head = render_head(replace(response, is_chunked=False), has_length=has_length, closes=not has_length)
    body = b"".join(response.chunks)
    if cut is not None:
        fault.take("cut_at")
        body = body[:cut]
    if rate is not None:
        fault.take("rate_bytes_per_s")
    is_stalled = stall is not None and stall <= len(body)
    pieces = [body[:stall], body[stall:]] if is_stalled else [body]
    for number, piece in enumerate(pieces):
        if number:
            rule = fault.rule("stall_at")
            fault.take("stall_at")
            if rule is None or not wait_for_client(wire.sock, stopping, rule.stall_s):
                return False
        if rate is None:
            wire.send(b"" if number else head, (piece,))
        else:
            wire.send(b"" if number else head, ())
            _trickle(wire, piece, rate, stopping)
    if cut is not None and getattr(fault.rule("cut_at"), "cut_with", "") == "rst":
        reset(wire.sock)
    return has_length and cut is None


def _within(size: int, at: int | None) -> int | None:
    """A place before the end of a body of ``size`` bytes, or None: behind it nothing can happen."""
    if at is None:
        return None
    place = place_in(size, at)
    return place if place < size else None


def _trickle(wire: Wire, body: bytes, rate_bytes_per_s: float, stopping: threading.Event) -> None:
    """Send in about fifty pieces a second; the schedule is absolute, so that late wake-ups do not add up."""
    piece = max(1, int(rate_bytes_per_s / 50))
    began = time.monotonic()
    for start in range(0, len(body), piece):
        due = began + min(start + piece, len(body)) / rate_bytes_per_s
        if stopping.wait(max(0.0, due - time.monotonic())):
            return
        wire.sock.sendall(body[start : start + piece])


def _flip(body: bytes, bit: int) -> tuple[Chunk, ...]:
    """Return the body with one bit inverted, as one chunk."""
    damaged = bytearray(body)
    damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    return (bytes(damaged),)
