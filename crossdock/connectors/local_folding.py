"""Whether a directory tells names apart that differ only by case, or only by how an accent is written.

macOS does not by default, nor do most mounts of SMB, FAT and NTFS, nor a directory of ext4 or F2FS with ``chattr +F``. Nothing
says so but the system, so it is asked: by what it knows, and by looking a name that is there up as another.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from crossdock.connectors.local_names import new_upload_id, upload_name
from crossdock.ports import CASE, NORMALIZATION

__all__ = ["folds_of"]

Lookup = Callable[[Path], os.stat_result]

_NOTHING: frozenset[str] = frozenset()
_CASE_SENSITIVE = 11  # pathconf's _PC_CASE_SENSITIVE, in <unistd.h> of macOS
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS of Linux, 64 bits
_CASEFOLD = 0x40000000  # FS_CASEFOLD_FL: names are compared case-folded and decomposed
_NAMES_LOOKED_AT = 100


@functools.lru_cache(maxsize=256)
def folds_of(root: str) -> frozenset[str]:
    """What a tree below ``root`` folds, as ``Capabilities.folds``; of a root that may still be made, what its parent does.

    Found once a process: a file system does not change its mind. Nothing is written where names that are there tell; otherwise
    one empty file is, for a moment, in the nearest directory there is. What cannot be found out counts as exact.
    """
    place = _nearest(Path(root))
    if place is None:
        return _NOTHING
    if sys.platform == "darwin":  # HFS+ and APFS find a name however its accents are written
        return frozenset({NORMALIZATION}) | _of_macos(place)
    if sys.platform == "linux" and _is_casefold(place):
        return frozenset({CASE, NORMALIZATION})
    return frozenset({CASE}) if finds_other_case(place) else _NOTHING


def finds_other_case(place: Path, lookup: Lookup = os.lstat) -> bool:
    """Whether names in this directory are found under another case too.

    Args:
        place: A directory that exists.
        lookup: Finds a name.
    """
    try:
        device = lookup(place).st_dev
        for here in (place, *place.parents):
            if lookup(here).st_dev != device:
                break  # another file system, with rules of its own
            for name in _cased(here):
                found = _same(here / name, here / name.swapcase(), lookup)
                if found is not None:
                    return found
        return _probed(place, lookup)
    except OSError:
        return False


def _cased(place: Path) -> Iterator[str]:
    """Some names of a directory that have another case; none if it may not be read."""
    with contextlib.suppress(PermissionError), os.scandir(place) as entries:
        for entry in itertools.islice(entries, _NAMES_LOOKED_AT):
            if entry.name != entry.name.swapcase():
                yield entry.name


def _same(one: Path, other: Path, lookup: Lookup) -> bool | None:
    """Whether two names are one entry; ``None`` if that cannot be told: it is gone, or it has two names of its own."""
    try:
        first = lookup(one)
    except FileNotFoundError:
        return None
    try:
        second = lookup(other)
    except FileNotFoundError:
        return False
    if (first.st_dev, first.st_ino) != (second.st_dev, second.st_ino):
        return False
    return True if stat.S_ISDIR(first.st_mode) or first.st_nlink == 1 else None


def _probed(place: Path, lookup: Lookup) -> bool:
    """Look for a file of our own under another case. Its name is one that no listing shows, and that a cleanup finds."""
    name = str(upload_name(new_upload_id(1)))
    os.close(os.open(place / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        return bool(_same(place / name, place / name.swapcase(), lookup))
    finally:
        (place / name).unlink()


def _nearest(path: Path) -> Path | None:
    """The directory itself, or the nearest above it that exists."""
    return next((each for each in (path, *path.parents) if each.is_dir()), None)


def _of_macos(place: Path) -> frozenset[str]:
    try:
        return _NOTHING if os.pathconf(place, _CASE_SENSITIVE) else frozenset({CASE})
    except OSError:
        return frozenset({CASE})  # the system's default


def _is_casefold(place: Path) -> bool:
    """Whether the directory has the flag; a file system without flags has none."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        flags = struct.unpack("@l", fcntl.ioctl(handle, _GET_FLAGS, bytes(struct.calcsize("@l"))))[0]
    except OSError:
        return False
    finally:
        os.close(handle)
    return bool(flags & _CASEFOLD)
