"""HTTP/1.1 as the embedded servers speak it: a request, a response, and the bytes between.

Hand-written because both servers share two cores with the programs they test: `http.server` spends more time in
the e-mail package's header parser than all the rest of a small request costs, and WSGI servers decode the path, while
object keys have to arrive byte for byte. Bodies are received straight into immutable chunks that are
stored as they are, and sent from there again without a copy.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

Chunk = bytes | memoryview
Headers = list[tuple[str, str]]

RECEIVE_BYTES = 1 << 20
"""The largest chunk in which a body is received and kept."""

_HEAD_LIMIT_BYTES = 256 << 10
_PACED_BYTES = 16 << 10
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    308: "Resume Incomplete",
    499: "Client Closed",
}
_SEND_TOGETHER_BYTES = 64 << 10


class BadMessageError(Exception):
    """What arrived is not HTTP/1.1 as we speak it; the connection is of no more use."""


@dataclass(slots=True)
class Request:
    """One request; the head is complete when it is routed, the body when its handler runs.

    Attributes:
        method: In upper case.
        target: The request target as it was sent, query included.
        path: The target's path as it was sent: still percent-encoded, nothing merged or resolved.
        query: Decoded query parameters; of several with one name the last.
        headers: Values by lower-case name, decoded as Latin-1; several with one name are joined by commas.
        chunks: The body.
        is_complete: Whether the whole body arrived before the client went away.
        is_truncated: Whether a fault cut the body; a resumable upload then persists what it has.
    """

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    chunks: tuple[Chunk, ...] = ()
    is_complete: bool = True
    is_truncated: bool = False

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.chunks))

    @property
    def base_url(self) -> str:
        """The server's URL as this client knows it (it may look through a proxy)."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    def body(self) -> bytes:
        """Return the whole body in one piece, without a copy if it arrived in one."""
        if len(self.chunks) == 1 and isinstance(self.chunks[0], bytes):
            return self.chunks[0]
        return b"".join(self.chunks)


@dataclass(slots=True)
class Response:
    """One answer. The server adds Content-Length and Date."""

    status: int
    headers: Headers = field(default_factory=list)
    chunks: Sequence[Chunk] = ()
    declared_length: int | None = None
    """Content-Length without a body, for answers to HEAD."""
    is_chunked: bool = False
    """Send with ``Transfer-Encoding: chunked``, for bodies whose length the service does not tell."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.chunks))

    @classmethod
    def text(cls, status: int, body: str, content_type: str, headers: Headers | None = None) -> Response:
        """Make a response of a text."""
        return cls(status, [("Content-Type", content_type), *(headers or [])], (body.encode(),))


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What a request means, known from its head alone, so that a fault can be chosen before the body is read."""

    operation: str
    run: Handler
    bucket: str = ""
    key: str = ""
    takes_partial: bool = False
    """Whether the handler wants the bytes that arrived of a body that broke off."""


class App(Protocol):
    """What a service is to the server that carries it."""

    def route(self, request: Request) -> Route:
        """Name the operation and the handler of a request of which only the head is known; never raises."""
        ...

    def error(self, request: Request, status: int) -> Response:
        """Make the service's own error document for an injected status."""
        ...


def decode_key(raw: str) -> str:
    """Decode one percent-encoded object key, byte for byte.

    Raises:
        ValueError: The bytes are not UTF-8.
    """
    return unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")


class Wire:
    """The receiving and sending side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""
        # One call fills one chunk: no buffer is zeroed before, no copy is made after. TLS has no such flag.
        self._flags = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL

    def read_head(self) -> Request | None:
        """Read up to the empty line; None if the client closed the connection between two requests.

        Raises:
            BadMessageError: The head is malformed, too long, or broke off.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT_BYTES:
                raise BadMessageError("head too long")
            data = self.sock.recv(64 << 10)
            if not data:
                if self._buffer.strip():
                    raise BadMessageError("head broke off")
                return None
            self._buffer += data
        head = self._buffer[:end].decode("latin-1")
        self._buffer = self._buffer[end + 4 :]
        return _parse_head(head)

    def read_body(
        self, request: Request, *, limit: int | None = None, pace: Callable[[int], None] | None = None
    ) -> None:
        """Receive the body into ``request.chunks``; sets ``is_complete`` to False if it broke off.

        Args:
            request: Its head has been read.
            limit: Receive no more than this of a body with Content-Length; ``is_complete`` is then False.
            pace: Called with the bytes received so far after each small piece; it waits as long as it likes.

        Raises:
            BadMessageError: The framing is malformed.
        """
        if request.headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            self._read_chunked(request)
            return
        try:
            length = int(request.headers.get("content-length") or 0)
        except ValueError:
            raise BadMessageError("Content-Length is not a number") from None
        chunks: list[bytes] = []
        wanted = length if limit is None else min(limit, length)
        if pace is None:
            is_there = self._receive(wanted, chunks)
        else:
            is_there, done = True, 0
            while is_there and done < wanted:
                piece = min(_PACED_BYTES, wanted - done)
                is_there = self._receive(piece, chunks)
                done += piece
                pace(done)
        request.is_complete = is_there and wanted == length
        request.chunks = tuple(chunks)

    def _receive(self, length: int, chunks: list[bytes]) -> bool:
        """Append exactly ``length`` bytes to ``chunks``; False if the client went away before."""
        if self._buffer and length:
            chunks.append(self._buffer[:length])
            self._buffer = self._buffer[length:]
            length -= len(chunks[-1])
        while length:
            wanted = min(length, RECEIVE_BYTES)
            try:
                data = self.sock.recv(wanted, self._flags)
            except ConnectionError:
                return False
            if data:
                chunks.append(data)
            length -= len(data)
            if not data or (self._flags and len(data) < wanted):
                return False
        return True

    def _read_chunked(self, request: Request) -> None:
        chunks: list[bytes] = []
        while True:
            line = self._read_line()
            try:
                length = int(line.split(b";")[0], 16)
            except ValueError:
                if not line:
                    request.is_complete = False
                    break
                raise BadMessageError("chunk size is not a number") from None
            if length == 0:
                while self._read_line().strip():
                    pass
                break
            if not self._receive(length, chunks):
                request.is_complete = False
                break
            self._read_line()
        request.chunks = tuple(chunks)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            data = self.sock.recv(64 << 10)
            if not data:
                return b""
            self._buffer += data
        line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
        return line

    def send(self, head: bytes, chunks: Sequence[Chunk]) -> None:
        """Send a head and a body; small ones in one packet."""
        size = sum(map(len, chunks))
        if size <= _SEND_TOGETHER_BYTES:
            self.sock.sendall(b"".join((head, *chunks)))
            return
        self.sock.sendall(head)
        for chunk in chunks:
            self.sock.sendall(chunk)


def _parse_head(head: str) -> Request:
    lines = head.split("\r\n")
    try:
        method, target, version = lines[0].lstrip().split(" ")
    except ValueError:
        raise BadMessageError(f"not a request line: {lines[0]!r}") from None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadMessageError(f"not a header: {line!r}")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    if target.startswith("http://"):  # absolute form, as a client behind a proxy sends it
        target = "/" + target[7:].partition("/")[2]
    path, _, query = target.partition("?")
    return Request(
        method, target, path, dict(parse_qsl(query, keep_blank_values=True)) if query else {}, headers
    )


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def header_text(value: str) -> str:
    """Prepare a text for a header: its UTF-8 bytes travel as Latin-1, and line ends cannot start another header."""
    return value.replace("\r", " ").replace("\n", " ").encode().decode("latin-1")


def text_of_header(value: str) -> str:
    """Undo `header_text`; bytes that are no UTF-8 are taken for Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value


def render_head(response: Response, *, has_length: bool = True, closes: bool = False) -> bytes:
    """Render status line and headers, up to and including the empty line."""
    status = response.status
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.is_chunked:
        lines.append("Transfer-Encoding: chunked")
    elif has_length and status not in {204, 304}:
        length = response.size if response.declared_length is None else response.declared_length
        lines.append(f"Content-Length: {length}")
    if closes:
        lines.append("Connection: close")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace")
