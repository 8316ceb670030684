"""FTP, through the connection that fsspec's filesystem has open: one command per file instead of one per block.

fsspec fetches and stores in blocks of 64 KiB, each a command of its own that is aborted in the middle, and finds one file
by listing its whole directory. Here a file is one RETR or STOR, and ``MLST`` (RFC 3659) asks for one file, where the
server has it.
"""

from __future__ import annotations

import ftplib
from collections.abc import Mapping
from typing import Any

from crossdock.connectors.fsspec_bridge.dialects import Bytes, Dialect
from crossdock.errors import UnsupportedError

__all__ = ["Ftp"]

CHUNK_SIZE_BYTES = 256 * 1024


class Ftp(Dialect):
    """RNFR and RNTO take a file's place in one step on POSIX servers; others answer with an error, and nothing changes."""

    renames = replaces = True

    def info(self, fs: Any, path: str) -> Mapping[str, Any]:
        """One MLST; where the server has none, fsspec's way."""
        if path == "/":
            return {"name": "/", "size": 0, "type": "directory"}
        try:
            answer = fs.ftp.sendcmd(f"MLST {path}")
        except ftplib.error_perm as error:
            if str(error)[:3] == "550":
                raise FileNotFoundError(path) from error
            return super().info(fs, path)  # 500, 502: no such command
        return _facts(answer, path)

    def read(self, fs: Any, path: str, start: int, end: int | None) -> Bytes:  # noqa: ARG002
        """One RETR, from ``start`` on; the reader stops where it has enough."""
        fs.ftp.voidcmd("TYPE I")
        return _Download(fs.ftp, fs.ftp.transfercmd(f"RETR {path}", rest=start or None))

    def write(self, fs: Any, path: str) -> Bytes:
        """One STOR."""
        fs.ftp.voidcmd("TYPE I")
        return _Upload(fs.ftp, fs.ftp.transfercmd(f"STOR {path}"))

    def make_directory(self, fs: Any, path: str) -> None:
        """MKD for each level that is missing; a level another client made meanwhile is fine."""
        for end in [at for at, char in enumerate(f"{path}/") if char == "/" and at]:
            level = path[:end]
            try:
                if self.info(fs, level)["type"] == "directory":
                    continue
            except FileNotFoundError:
                pass
            try:
                fs.ftp.mkd(level)
            except ftplib.error_perm:
                if self.info(fs, level)["type"] != "directory":
                    raise

    def remove(self, fs: Any, path: str) -> None:
        """DELE."""
        try:
            fs.ftp.delete(path)
        except ftplib.error_perm as error:
            if str(error)[:3] == "550":
                self.info(fs, path)  # raises if it is not there
            raise

    def rename(self, fs: Any, old: str, new: str, *, absent: bool) -> None:
        """RNFR and RNTO. FTP cannot be asked to create only."""
        if absent:
            raise UnsupportedError("FTP has no rename that fails if the name is taken")
        fs.ftp.rename(old, new)


class _Download:
    """The data connection of one RETR. ``hung_up`` when it was left before its end: the control connection is then unfit."""

    def __init__(self, ftp: ftplib.FTP, connection: Any) -> None:
        self._ftp = ftp
        self._connection = connection
        self._ended = False
        self.hung_up = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; empty once the server has confirmed the end of the file."""
        if self._ended:
            return b""
        data: bytes = self._connection.recv(min(size, CHUNK_SIZE_BYTES))
        if not data:
            self._connection.close()
            self._ended = True
            self._ftp.voidresp()  # a transfer cut short says so here
        return data

    def write(self, data: Any, /) -> int:
        """Not in this direction."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up, if the end was not reached."""
        self.hung_up = self.hung_up or not self._ended
        self._ended = True
        self._connection.close()


class _Upload:
    """The data connection of one STOR."""

    def __init__(self, ftp: ftplib.FTP, connection: Any) -> None:
        self._ftp = ftp
        self._connection = connection
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Not in this direction."""
        raise NotImplementedError

    def write(self, data: Any, /) -> int:
        """All of it."""
        self._connection.sendall(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Tell the end, and wait until the server says that it has everything. Twice is fine."""
        if self._ended:
            return
        self._ended = True
        try:
            unwrap = getattr(self._connection, "unwrap", None)
            if unwrap is not None:  # TLS: without its own end the server takes the file for cut short
                unwrap()
        finally:
            self._connection.close()
        self._ftp.voidresp()


def _facts(answer: str, path: str) -> dict[str, Any]:
    """The one entry of an MLST answer, in the form of fsspec's listings.

    Raises:
        UnsupportedError: The server answers for another name.
    """
    line = next((each for each in answer.split("\n")[1:-1] if ";" in each), "")
    head, _, name = line.lstrip(" ").partition(" ")
    facts: dict[str, Any] = {}
    for fact in head.rstrip(";").split(";"):
        key, _, value = fact.partition("=")
        facts[key.lower()] = value
    if name.rstrip("/").rpartition("/")[2] != path.rpartition("/")[2]:
        raise UnsupportedError(f"asked for {path!r}, the server answers for {name!r}")
    is_file = facts.get("type", "").lower() == "file"
    facts["type"] = "file" if is_file else "directory"
    facts["size"] = int(facts["size"]) if is_file else 0
    facts["name"] = path
    return facts
