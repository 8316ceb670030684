"""The connections of a process to one server: few, shared by threads, opened when those there are have work.

A connection that broke is forgotten; the next request opens another. At the end of the process all are closed.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crossdock.connectors.sftp.address import Address
from crossdock.connectors.sftp.login import open_session
from crossdock.connectors.sftp.options import SFTPOptions
from crossdock.connectors.sftp.session import Session
from crossdock.errors import CrossdockError

__all__ = ["Pool", "pool_for"]


class Pool:
    """Sessions to one server. Thread-safe.

    Attributes:
        links: Whether the server offers ``hardlink@openssh.com``; ``None`` before the first connection.
    """

    def __init__(self, address: Address, options: SFTPOptions, *, where: str) -> None:
        self._address, self._options, self._where = address, options, where
        self._limit = options.connections
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._sessions: list[Session] = []
        self.links: bool | None = None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """The session with the least to do, counted as used in the block."""
        session = self.take()
        try:
            yield session
        finally:
            self.give_back(session)

    def take(self) -> Session:
        """The same without a block; ``give_back`` ends it.

        Raises:
            CrossdockError: There is no connection, and none can be made.
        """
        found = self._least()
        if found is not None and (found.users <= 1 or self._full()):
            return found
        # One at a time: a server that is asked for many connections at once drops some (OpenSSH's MaxStartups).
        if found is not None and not self._opening.acquire(blocking=False):
            return found
        if found is None:
            self._opening.acquire()
        try:
            if found is None:
                found = self._least()  # whoever held the lock may have made one
                if found is not None:
                    return found
            return self._opened(found)
        finally:
            self._opening.release()

    def _opened(self, instead: Session | None) -> Session:
        try:
            session = open_session(self._address, self._options, where=self._where)
        except CrossdockError:
            if instead is None or instead.is_broken:
                if instead is not None:
                    self.give_back(instead)
                raise
            with self._lock:  # the server allows no more of them
                self._limit = max(1, len(self._sessions))
            return instead
        with self._lock:
            self.links = b"hardlink@openssh.com" in session.extensions
            self._sessions.append(session)
            session.users += 1
            if instead is not None:
                instead.users -= 1
        return session

    def give_back(self, session: Session) -> None:
        """One user less."""
        with self._lock:
            session.users -= 1

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def _full(self) -> bool:
        with self._lock:
            return len(self._sessions) >= self._limit

    def _least(self) -> Session | None:
        with self._lock:
            self._sessions = [session for session in self._sessions if not session.is_broken]
            found = min(self._sessions, key=lambda session: session.users, default=None)
            if found is not None:
                found.users += 1
            return found


_pools: dict[object, Pool] = {}
_lock = threading.Lock()


def pool_for(address: Address, options: SFTPOptions, *, where: str) -> Pool:
    """The process's pool of a server and these options; a fork opens its own."""
    key = (os.getpid(), address.user, address.host, address.port, options)
    with _lock:
        if key not in _pools:
            _pools[key] = Pool(address, options, where=where)
        return _pools[key]


@atexit.register
def _close_all() -> None:
    """Before the interpreter goes: paramiko's threads do not like to be stopped by it."""
    for pool in list(_pools.values()):
        if pool.pid == os.getpid():
            pool.close()
