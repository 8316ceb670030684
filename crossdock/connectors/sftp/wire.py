"""The bytes of SFTP version 3: packets, strings, attributes. Pure functions.

https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02, with OpenSSH's extensions:
https://github.com/openssh/openssh-portable/blob/master/PROTOCOL. Version 3 is what OpenSSH speaks, and so everybody.
"""

from __future__ import annotations

import enum
import stat
import struct
from dataclasses import dataclass

__all__ = [
    "APPENDED",
    "Attributes",
    "Fields",
    "Kind",
    "Open",
    "Status",
    "packet",
    "set_mtime",
    "set_size",
    "text",
]


class Kind(enum.IntEnum):
    """Types of packets."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Open(enum.IntFlag):
    """How a file is opened."""

    READ = 1
    WRITE = 2
    CREATE = 8
    EXCLUSIVE = 32


class Status(enum.IntEnum):
    """What a status packet says; codes above 8 are later versions', which some servers send all the same."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    UNSUPPORTED = 8
    FILE_ALREADY_EXISTS = 11
    WRITE_PROTECT = 12
    NO_SPACE = 14
    QUOTA_EXCEEDED = 15


_SIZE, _OWNER, _MODE, _TIMES, APPENDED = 1, 2, 4, 8, 0x80000000


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server says of a path or handle; ``None``: it does not say."""

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None

    @property
    def is_directory(self) -> bool:
        """A directory, by its mode."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link, by its mode."""
        return self.mode is not None and stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """A regular file; what has no type in its mode counts as one, as it does for OpenSSH."""
        return self.mode is None or stat.S_IFMT(self.mode) in (0, stat.S_IFREG)


def text(value: bytes) -> bytes:
    """A string as the protocol writes it."""
    return struct.pack(">I", len(value)) + value


def packet(kind: Kind, number: int | None, *fields: bytes) -> bytes:
    """One packet, with its length in front."""
    head = b"" if number is None else struct.pack(">I", number)
    size = 1 + len(head) + sum(map(len, fields))
    return b"".join((struct.pack(">IB", size, kind), head, *fields))


def set_mtime(seconds: int) -> bytes:
    """Attributes that set access and modification time."""
    return struct.pack(">III", _TIMES, seconds, seconds)


def set_size(size: int) -> bytes:
    """Attributes that set the size."""
    return struct.pack(">IQ", _SIZE, size)


class Fields:
    """The fields of a packet, read in order. Reading past the end raises ``struct.error``."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        """Four bytes."""
        (value,) = struct.unpack_from(">I", self._data, self._at)
        self._at += 4
        return int(value)

    def long(self) -> int:
        """Eight bytes."""
        (value,) = struct.unpack_from(">Q", self._data, self._at)
        self._at += 8
        return int(value)

    def text(self) -> bytes:
        """A string."""
        size = self.number()
        if self._at + size > len(self._data):
            raise struct.error("a string runs past the end of its packet")
        self._at += size
        return self._data[self._at - size : self._at]

    def attributes(self) -> Attributes:
        """What a server says of a path."""
        flags = self.number()
        size = self.long() if flags & _SIZE else None
        if flags & _OWNER:
            self.long()
        mode = self.number() if flags & _MODE else None
        mtime = None
        if flags & _TIMES:
            self.number()
            mtime = self.number()
        if flags & APPENDED:
            for _ in range(self.number()):
                self.text()
                self.text()
        return Attributes(size, mode, mtime)

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)
