"""A real FTP server on loopback, in a thread: what the tests of FTP read from and write to."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it uses asyncore while Python still has it
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "alice", "canary-password-0123456789"


class FaultyFiles:
    """What goes wrong with the server's files, and how often it did."""

    def __init__(self) -> None:
        self.read_limit: int | None = None  # bytes after which a read ends
        self.read_fails = False  # and does so with an error
        self.only_once = False
        self.drop_written = 0  # bytes of each file's end that are not written
        self.flip_written = False  # one bit of each file
        self.fired = 0

    def opened(self, file: BinaryIO) -> BinaryIO:
        """The file, or something that behaves worse."""
        return _FaultyFile(file, self) if self._any() else file  # type: ignore[return-value]

    def _any(self) -> bool:
        return self.read_limit is not None or self.drop_written > 0 or self.flip_written


class _FaultyFile:
    def __init__(self, file: BinaryIO, faults: FaultyFiles) -> None:
        self._file = file
        self._faults = faults
        self._left = faults.read_limit
        self._kept = b""

    def read(self, size: int) -> bytes:
        if self._left is None:
            return self._file.read(size)
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        if not data:
            self._faults.fired += 1
            if self._faults.only_once:
                self._faults.read_limit = None
            if self._faults.read_fails:
                raise OSError("the disk is gone")
        return data

    def write(self, data: bytes) -> int:
        if self._faults.flip_written and self._file.tell() == 0:
            self._faults.fired += 1
            data = bytes([data[0] ^ 1]) + data[1:]
        drop = self._faults.drop_written
        self._kept += data
        if drop:
            self._faults.fired += 1
            self._file.write(self._kept[:-drop])
            self._kept = self._kept[-drop:]
        else:
            self._file.write(data)
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@contextmanager
def ftp_server(directory: Path, faults: FaultyFiles | None = None) -> Iterator[tuple[str, type[FTPHandler]]]:
    """Serve ``directory``; yields the URL without a password, and the handler class to set faults on."""

    class Files(AbstractedFS):
        def open(self, filename: str, mode: str) -> BinaryIO:
            file = super().open(filename, mode)
            return file if faults is None else faults.opened(file)

    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(directory), perm="elradfmwMT")
    handler = type(
        "Handler",
        (FTPHandler,),
        {"authorizer": authorizer, "abstracted_fs": Files, "use_sendfile": faults is None},
    )
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=IOLoop())
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.ioloop.loop(timeout=0.02, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, name="ftp server")
    thread.start()
    try:
        yield f"ftp://{USER}@127.0.0.1:{server.address[1]}", handler
    finally:
        stop.set()
        thread.join()
