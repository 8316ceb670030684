"""One SFTP connection, shared by threads: requests go out as they come, answers find who asked.

A thread of its own takes what the server sends, so nobody who is slow in using an answer keeps others from theirs, and
a sender cannot wait for a receiver that waits for it. Memory: the answers that were asked for and not yet taken.
"""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress

import paramiko

from crossdock.connectors.sftp.errors import StatusError
from crossdock.connectors.sftp.wire import Fields, Kind, Status, packet, text
from crossdock.errors import ConnectionLostError, CrossdockError, StalledError
from crossdock.model import KIB

__all__ = ["Pending", "Session"]

_VERSION = 3
_SENT_AT_ONCE = 32 * KIB - 64  # what fits one SSH packet, whose limit everybody keeps at 32 KiB
_SAFE_LENGTH = 32 * KIB  # what every server reads or writes at once
_MOST_LENGTH = 128 * KIB
_PACKET_LIMIT = 4 * 1024 * KIB


class Pending:
    """An answer to come."""

    __slots__ = ("_arrived", "_error", "_kind", "_payload", "_session", "sent_at")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._arrived = threading.Lock()
        self._arrived.acquire()
        self._kind, self._payload = 0, b""
        self._error: CrossdockError | None = None
        self.sent_at = time.monotonic()

    def deliver(self, kind: int, payload: bytes) -> None:
        """The receiver's: here it is."""
        self._kind, self._payload = kind, payload
        self._arrived.release()

    def fail(self, error: CrossdockError) -> None:
        """The receiver's: it will not come."""
        self._error = error
        self._arrived.release()

    def result(self, expected: Kind) -> Fields:
        """Wait for the answer, as long as the server says anything at all now and then.

        Raises:
            StatusError: The server said something else than ``expected``.
            ConnectionLostError: The connection broke.
            StalledError: The server is silent.
        """
        while not self._arrived.acquire(timeout=self._session.patience(self.sent_at)):
            self._session.demand_progress(self.sent_at)
        if self._error is not None:
            raise type(self._error)(self._error.cause, hint=self._error.hint) from self._error.__cause__
        fields = Fields(self._payload)
        if self._kind == expected == Kind.STATUS:
            code = fields.number()
            if code != Status.OK:
                raise StatusError(code, _message(fields))
            return fields
        if self._kind == Kind.STATUS:
            raise StatusError(fields.number(), _message(fields))
        if self._kind != expected:
            raise ConnectionLostError(f"the server answered with a packet of type {self._kind}")
        return fields


def _message(fields: Fields) -> str:
    return fields.text().decode("utf-8", "replace") if fields.more else ""


class Session:
    """A started ``sftp`` subsystem. Thread-safe. Once broken it stays broken, and every waiting request fails.

    Attributes:
        extensions: What the server offers beyond version 3, by name.
        read_length: Bytes to ask for in one read.
        write_length: Bytes to send in one write.
    """

    def __init__(
        self, transport: paramiko.Transport, channel: paramiko.Channel, *, no_progress_s: float
    ) -> None:
        self._transport, self._channel = transport, channel
        self._no_progress_s = no_progress_s
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._pending: dict[int, Pending] = {}
        self._number = 0
        self._heard_at = time.monotonic()
        self._broken: CrossdockError | None = None
        self._greeted = False
        self.users = 0  # the pool's
        self.extensions: dict[bytes, bytes] = {}
        self.read_length = self.write_length = _SAFE_LENGTH
        channel.settimeout(no_progress_s)
        try:
            self._greet()
            threading.Thread(target=self._receive, name="crossdock sftp", daemon=True).start()
            self._ask_limits()
        except BaseException:
            self.close()
            raise

    @property
    def is_broken(self) -> bool:
        """Whether it is of no more use."""
        return self._broken is not None

    def request(self, kind: Kind, *fields: bytes) -> Pending:
        """Send one request; its answer is waited for by ``result``.

        Raises:
            ConnectionLostError: The connection is broken, or breaks.
            StalledError: The server takes nothing.
        """
        pending = Pending(self)
        with self._lock:
            if self._broken is not None:
                raise type(self._broken)(self._broken.cause, hint=self._broken.hint)
            self._number = number = (self._number + 1) & 0xFFFFFFFF
            self._pending[number] = pending
        data = memoryview(packet(kind, number, *fields))
        try:
            with self._sending:
                for start in range(0, len(data), _SENT_AT_ONCE):
                    self._channel.sendall(bytes(data[start : start + _SENT_AT_ONCE]))
        except TimeoutError as error:
            raise self._fail(_stalled(self._no_progress_s), error) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._fail(
                ConnectionLostError(f"the connection broke ({str(error) or 'closed'})"), error
            ) from error
        return pending

    def extended(self, name: bytes, *fields: bytes) -> Pending:
        """A request of an extension."""
        return self.request(Kind.EXTENDED, text(name), *fields)

    def patience(self, sent_at: float) -> float:
        """Seconds for which silence is still no failure."""
        return max(0.05, max(self._heard_at, sent_at) + self._no_progress_s - time.monotonic())

    def demand_progress(self, sent_at: float) -> None:
        """Break the connection if the server has been silent for too long."""
        if time.monotonic() - max(self._heard_at, sent_at) >= self._no_progress_s:
            self._fail(_stalled(self._no_progress_s), None)

    def close(self) -> None:
        """End the connection; whoever waits hears of it. Twice is fine."""
        self._fail(ConnectionLostError("the connection was closed"), None)

    def _greet(self) -> None:
        self._channel.sendall(packet(Kind.INIT, None, struct.pack(">I", _VERSION)))
        kind, payload = self._packet()
        fields = Fields(payload)
        if kind != Kind.VERSION or fields.number() < _VERSION:
            raise ConnectionLostError("the server does not speak SFTP version 3")
        while fields.more:
            name = fields.text()
            self.extensions[name] = fields.text()
        self._greeted = True

    def _ask_limits(self) -> None:
        if b"limits@openssh.com" not in self.extensions:
            return
        with suppress(StatusError):
            limits = self.extended(b"limits@openssh.com").result(Kind.EXTENDED_REPLY)
            limits.long()
            reads, writes = limits.long(), limits.long()
            self.read_length = min(reads or _SAFE_LENGTH, _MOST_LENGTH)
            self.write_length = min(writes or _SAFE_LENGTH, _MOST_LENGTH)

    def _receive(self) -> None:
        """The receiver's whole life."""
        try:
            while True:
                kind, payload = self._packet()
                self._heard_at = time.monotonic()
                (number,) = struct.unpack_from(">I", payload)
                with self._lock:
                    pending = self._pending.pop(number, None)
                if pending is not None:
                    pending.deliver(kind, payload[4:])
        except (OSError, EOFError, struct.error, paramiko.SSHException) as error:
            words = str(error) or "the server closed it"
            self._fail(ConnectionLostError(f"the connection broke ({words})"), error)

    def _packet(self) -> tuple[int, bytes]:
        size, kind = struct.unpack(">IB", self._exactly(5))
        if not 1 <= size <= _PACKET_LIMIT:
            raise struct.error(f"a packet of {size} bytes")
        return kind, self._exactly(size - 1)

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            try:
                piece = self._channel.recv(min(size, 256 * KIB))
            except TimeoutError:
                if self._broken is not None or not self._greeted:
                    raise
                with self._lock:
                    oldest = min((pending.sent_at for pending in self._pending.values()), default=None)
                if oldest is not None:  # else nothing was asked for a while
                    self.demand_progress(oldest)
                continue
            if not piece:
                raise EOFError
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _fail(self, error: CrossdockError, cause: BaseException | None) -> CrossdockError:
        """Once: mark as broken, wake whoever waits, let go of the sockets. Returns what it broke of."""
        error.__cause__ = cause
        with self._lock:
            first = self._broken is None
            if first:
                self._broken = error
            waiting = [*self._pending.values()]
            self._pending.clear()
        for pending in waiting:
            pending.fail(error)
        if first:
            with suppress(Exception):  # what a dying transport says is of no use to anybody
                self._transport.close()
        return error


def _stalled(seconds: float) -> StalledError:
    return StalledError(f"the server was silent for {seconds:g} s", hint="see no_progress_timeout_s")
